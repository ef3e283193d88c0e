/*
 * guess.h - guesses by the model's own multi-token-prediction block
 *
 * DeepSeek-V3, section 2.2 (arXiv:2412.19437): from a token and the state that
 * predicted it the block predicts the token behind. It runs once after every
 * step, on what the step computed, and its guess is judged with the next one
 * as any draft is: the answer is the same to the bit. Its keys and values
 * stand in the cache beside those of the layers; where a prompt came from the
 * cache the first of them lacks its state, which costs the guess some of its
 * chances and nothing else. A request whose guesses do not pay goes without.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_GUESS_H
#define SERVE_GUESS_H

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct request;
struct draft_cost;

/* One request's block. */
struct guess {
    bool off;
    int n_done;             /* positions that the block has seen */
    int32_t next;           /* the token behind the last known one, or -1 */
    int n_tried;
    float accepted;         /* share of guesses that were right, a moving mean */
};

/* The request begins at a position, new or anew. */
void guess_start(struct guess *guess, int n_computed);

/* Behind answer_take for all: runs the block on the rows of the step. The step's rows and logits are gone then. */
void guess_run(struct engine *engine);

/* The guess at the token number n of all, or -1; n_rows as in draft_guess. */
int32_t guess_take(struct guess *guess, const struct draft_cost *cost, int n_rows);

/* Was it right? */
void guess_learn(struct guess *guess, bool right);

#endif
