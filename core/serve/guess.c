/*
 * guess.c - guesses by the model's own multi-token-prediction block
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "serve/guess.h"

#include "serve/engine.h"

#include <string.h>

enum { LEAST_TRIED = 16 };      /* before a request goes without */

void guess_start(struct guess *g, int n_computed)
{
    g->n_done = n_computed;
    g->next = -1;
}

/* Rows of the block for what a request computed in this step; *n_logits grows where a guess is wanted. */
static void add_rows(struct engine *e, const struct share *share, struct step_row *to, int *n, int *n_logits)
{
    struct request *r = share->request;
    const struct step_row *rows = e->step.rows + share->first;
    size_t d = (size_t) e->model->shape.n_embd;
    int end = r->n_computed < r->n_tokens ? r->n_computed + 1 : r->n_tokens, room = r->seq.n_pages * KV_PAGE;
    bool wanted = request_answering(r) && r->finish == DSR1_FINISH_NONE && !r->guess.off &&
                  r->n_tokens < r->n_limit - 1 && *n_logits < e->step.max_logits;
    for (int q = r->guess.n_done; q < end && q < room && *n < e->step.max_rows; q++) {
        int row = q - 1 - rows[0].position;
        const float *before = row >= 0 && row < share->n ? e->step.x + (size_t) (share->first + row) * d : NULL;
        int logits = wanted && q == r->n_tokens - 1 ? (*n_logits)++ : -1;
        to[(*n)++] = (struct step_row){.token = r->tokens[q], .position = q, .seq = &r->seq, .logits = logits,
                                       .before = before};
    }
    r->guess.n_done = end;
}

/* Only those whose keys the cache does not keep for others stay without. */
static bool takes_part(const struct share *share)
{
    const struct request *r = share->request;
    return share->n > 0 && r->score.n_texts == 0 && !r->lora && !r->guess.off && r->finish == DSR1_FINISH_NONE &&
           r->n_limit > r->n_prompt;
}

void guess_run(struct engine *e)
{
    int n = 0, n_logits = 0;
    for (int i = 0; i < e->n_running; i++) {
        e->running[i].request->guess.next = -1;
        if (takes_part(&e->running[i]))
            add_rows(e, &e->running[i], e->nextn_rows, &n, &n_logits);
    }
    if (n == 0)
        return;
    memcpy(e->step.rows, e->nextn_rows, (size_t) n * sizeof *e->nextn_rows);
    e->step.n_rows = n;
    e->step.keeps = false;
    step_run_nextn(&e->step);
    for (int i = 0, row = 0; i < e->n_running; i++) {
        struct request *r = e->running[i].request;
        for (; row < n && e->step.rows[row].seq == &r->seq; row++)
            if (e->step.rows[row].logits >= 0)
                r->guess.next = step_best(&e->step, e->step.rows[row].logits);
    }
}

int32_t guess_take(struct guess *g, const struct draft_cost *cost, int n_rows)
{
    double without = draft_cost_of(cost, n_rows), with = draft_cost_of(cost, n_rows + 1);
    if (g->next < 0 || g->off)
        return -1;
    if (g->n_tried >= LEAST_TRIED && without > 0 && with > 0 && (n_rows + (double) g->accepted) / with <= n_rows / without) {
        g->off = true;
        return -1;
    }
    return g->next;
}

void guess_learn(struct guess *g, bool right)
{
    g->accepted += 0.1f * ((float) right - g->accepted);
    g->n_tried++;
}
