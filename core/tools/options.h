/*
 * options.h - command lines as tables
 *
 * A subcommand lists its options once; parsing, ranges, --help and the one
 * line of complaint follow from the list.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct int_list {
    int32_t *items;
    size_t n;
};

struct string_list {
    const char **items;     /* point into argv */
    size_t n;
};

enum option_type {
    OPTION_FLAG,            /* bool: true when given */
    OPTION_STRING,          /* const char *: points into argv */
    OPTION_STRINGS,         /* struct string_list: may be given often */
    OPTION_INT,             /* int, in min .. max */
    OPTION_FLOAT,           /* float, in min .. max */
    OPTION_SEED,            /* uint64_t */
    OPTION_INTS             /* struct int_list: 1,2,3, each in min .. max */
};

/* A table ends with a row whose name is NULL. */
struct option_row {
    char letter;            /* short form, 0 for none */
    const char *name;       /* long form without the dashes */
    enum option_type type;
    void *value;            /* preset to the default by the caller */
    const char *argument;   /* what the help calls it; NULL for flags */
    const char *help;
    double min, max;        /* numbers only; equal means any */
};

struct command_line {
    const char *command;    /* "dsr1 run" */
    const char *synopsis;   /* "[-m MODEL] [-p TEXT | -f FILE] ..." */
    const char *about;      /* a paragraph for --help */
    const struct option_row *rows;
    int max_arguments;      /* how many words that are no options it takes */
};

enum { OPTIONS_GO = -1 };

/*
 * Reads argv (argv[0] is the subcommand). Returns OPTIONS_GO with the words
 * that are no options moved to argv[*first] .. argv[argc - 1]; otherwise the
 * exit status of the program: 0 after --help, 2 after one line about what is
 * wrong on stderr.
 */
int options_parse(const struct command_line *line, int argc, char **argv, int *first);

/* Prints "COMMAND: REASON" and where the help is on stderr; returns 2. */
int options_wrong(const struct command_line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "1,2,3" to a new list. False, and nothing to free, when it is not one. */
bool options_read_ints(const char *text, double min, double max, struct int_list *list);

void int_list_free(struct int_list *list);
void string_list_free(struct string_list *list);

#endif
