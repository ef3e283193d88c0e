/*
 * wire_grpo.h - the options of a run of GRPO, as SQL and the command line have them
 *
 * dsr1_grpo() hands most of its options on to the trainer's command line: names and ranges are written here once, for
 * the side that checks them before a run is made and for the one that reads them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef WIRE_GRPO_H
#define WIRE_GRPO_H

enum wire_grpo_kind {
    WIRE_GRPO_INT,
    WIRE_GRPO_NUMBER,
    WIRE_GRPO_BOOL,             /* a flag without a value */
    WIRE_GRPO_WORD,             /* one of words */
    WIRE_GRPO_WORDS,            /* some of them, separated by commas */
    WIRE_GRPO_TEXT
};

struct wire_grpo_option {
    const char *name;           /* in SQL */
    const char *flag;           /* of dsr1 grpo, without dashes; NULL: it is for SQL alone */
    enum wire_grpo_kind kind;
    double least, most;
    const char *words;          /* separated by |; or NULL */
};

/* Ends with one whose name is NULL. */
extern const struct wire_grpo_option wire_grpo_options[];

/* That with the flag; NULL where there is none. */
const struct wire_grpo_option *wire_grpo_flag(const char *flag);

#endif
