/*
 * polish.h - from what a model wrote to what is worth showing
 *
 * A list of small steps, each of which may shorten the text and counts how
 * often it did. Their order matters and is that of the list in polish.c.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_POLISH_H
#define LSP_POLISH_H

#include "base/buffer.h"
#include "dsr1.h"
#include "surroundings.h"

#include <stdatomic.h>

struct draft_token {
    size_t end;             /* bytes of text after it */
    int32_t id;             /* -1: not a token of the model in use */
    float logprob;
};

/* What the model wrote. */
struct draft {
    struct buffer text;
    struct draft_token *tokens;
    size_t n_tokens, capacity;
    bool finished;          /* it ended by itself or was long enough; false: stopped in the middle */
};

/* False when memory is short. */
bool draft_append(struct draft *draft, const char *text, size_t size, int32_t id, float logprob);
void draft_free(struct draft *draft);

struct polish {
    const struct surroundings *around;
    bool line_only;         /* one line, or a block? */
    bool keep_first_line;   /* asked for by hand: low confidence does not drop the first line */
    bool any_indent, any_brackets;  /* leave out the steps that keep to the block and to open brackets */
    double min_token_prob, min_line_prob;
    bool finished;          /* copied from the draft */
    /* results */
    struct buffer text;
    size_t replaced;        /* bytes of the rest of the line that the text contains */
    unsigned hits;          /* bit i: step i changed something */
};

enum polish_limits { POLISH_STEPS = 12 };

/* Names of the steps, in order, and how often each changed a text in this process. */
extern const char *const polish_names[POLISH_STEPS];
extern atomic_ullong polish_counts[POLISH_STEPS];

/*
 * The first part: what depends on the model alone (stop strings, whole characters,
 * confidence). Its result can be kept and used again when the user types along.
 */
void polish_draft(struct polish *polish, const struct draft *draft);

/* The second part: what depends on the place. polish->text holds the text before and after. */
void polish_place(struct polish *polish);

/* Is a suggestion complete, so that the model can stop? line_only as above. */
bool polish_complete(const struct surroundings *around, bool line_only, const char *text, size_t size);

#endif
