/*
 * score.h - how likely given continuations of one prompt are
 *
 * The prompt is computed once. Each continuation is a branch that shares the
 * prompt's pages and writes its own tokens behind them: one runs in the
 * request's own sequence, which has room for the longest, so that scoring can
 * always go on; more run beside it where the cache has pages to spare. All
 * tokens are known, so whole branches join the step that ends the prompt while
 * it has room: a choice among short labels then takes one step.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_SCORE_H
#define SERVE_SCORE_H

#include "kv/kv_cache.h"

enum { SCORE_BRANCHES = 8 };    /* computed at once */

struct score_text {
    int32_t *tokens;
    int n;
    double sum;                 /* log-likelihood of those taken so far */
};

struct score_branch {
    int text;                   /* index of the continuation; -1: idle */
    int n_done;                 /* of its tokens, computed */
    struct kv_seq fork;         /* unused by branch 0 */
};

struct score {
    struct score_text *texts;
    int n_texts;                /* 0: the request scores nothing */
    int n_started, n_finished;
    int longest;                /* tokens */
    struct score_branch branches[SCORE_BRANCHES];
    int also[SCORE_BRANCHES];   /* pages of forks that the end of the prompt is written to as well, in this step */
    int n_also;
};

struct engine;
struct request;
struct share;

dsr1_status score_open(struct score *score, const dsr1_request *from, int n_vocab, dsr1_error *err);
void score_close(struct score *score);

/* Gives back the pages of branches. */
void score_release(struct score *score, struct kv_cache *cache);

/* Is there anything left to compute once the prompt is done? */
static inline bool score_pending(const struct score *score)
{
    return score->n_finished < score->n_texts;
}

/* The prompt is computed: the first token of every continuation is judged by row `row` of the logits. */
void score_begin(struct engine *engine, struct request *request, int row);

/*
 * The share's rows end the prompt: adds whole branches behind them, at most n_rows rows and n_logits of logits.
 * Returns how many rows these are; each has logits.
 */
int score_join(struct engine *engine, struct share *share, int n_rows, int *n_logits, int most_logits);

/* Adds rows of branches to the step while there is room; at most n_rows, and *n_logits grows. */
void score_plan(struct engine *engine, struct share *share, int n_rows, int *n_logits);

/* Takes the logits of the last n rows of the share, which score_join or score_plan added. */
void score_take(struct engine *engine, const struct share *share, int n);

#endif
