/*
 * draft.h - guessing the next tokens from what stands before
 *
 * Prompt lookup (Saxena 2023): where the last three tokens occurred earlier in
 * the prompt or the answer, what followed them there is likely to follow again.
 * The guess is computed together with the next token and checked against what
 * the sampler would have chosen anyway: the answer is the same to the bit, and
 * several tokens cost one step where the guess is right. Output that copies its
 * input (extraction, edits of code) gains; other output must not lose, so
 * guesses grow with success, pause after failure, and are left out where the
 * measured time of larger steps says that they do not pay.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_DRAFT_H
#define SERVE_DRAFT_H

#include <stdbool.h>
#include <stdint.h>

enum { DRAFT_MAX = 16, DRAFT_GRAM = 3, DRAFT_BUCKETS = 12 };

/* One request's guesses. */
struct draft {
    bool off;
    int *last;              /* hash of DRAFT_GRAM tokens -> one behind where they ended last; 0: nowhere */
    int n_slots;            /* a power of two */
    int n_indexed;          /* tokens whose grams are in `last` */
    int length;             /* how many to guess next time */
    int pause;              /* tokens to wait before guessing again */
    int misses;             /* in a row */
    float accepted;         /* share of guessed tokens that were right, a moving mean */
    int n;                  /* of this step */
    int32_t tokens[DRAFT_MAX];
};

/* What steps of about so many rows took, moving means: bucket b holds 2^(b-1) < rows <= 2^b. */
struct draft_cost {
    double rows[DRAFT_BUCKETS], seconds[DRAFT_BUCKETS];     /* 0: not measured */
};

void draft_open(struct draft *draft, bool off);
void draft_close(struct draft *draft);

/*
 * Guesses at most `most` tokens that follow tokens[0 .. n-1] into draft->tokens
 * and sets draft->n. n_rows: how many rows the step has without them. n_limit:
 * how many tokens there may ever be.
 */
void draft_guess(struct draft *draft, const struct draft_cost *cost, const int32_t *tokens, int n, int n_limit,
                 int n_rows, int most);

/* So many of draft->n were right. */
void draft_learn(struct draft *draft, int n_right);

/* A step that held no prompt took so long. */
void draft_cost_learn(struct draft_cost *cost, int n_rows, double seconds);

/* Seconds that a step of n_rows takes, between the sizes that were measured; 0: nothing is known of larger ones. */
double draft_cost_of(const struct draft_cost *cost, int n_rows);

#endif
