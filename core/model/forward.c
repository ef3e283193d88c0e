/*
 * forward.c - tokens in, logits out: the order of the layers
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/ops.h"
#include "model/step.h"

#include <math.h>
#include <string.h>

/* Rows of one sequence, cut into tiles that attend together. */
static void make_tiles(struct step *s)
{
    s->n_tiles = 0;
    for (int r = 0; r < s->n_rows; r++) {
        struct tile *last = s->n_tiles ? &s->tiles[s->n_tiles - 1] : NULL;
        if (last && s->rows[r].seq == s->rows[last->first].seq && last->n < s->tile_rows)
            last->n++;
        else
            s->tiles[s->n_tiles++] = (struct tile){r, 1};
    }
}

static void embed(struct worker *w)
{
    struct step *s = w->step;
    const struct weight *e = &s->model->weights.token_embd;
    const struct model_shape *m = &s->model->shape;
    int first, last;
    while (worker_take(w, s->n_rows, 16, &first, &last))
        for (int r = first; r < last; r++) {
            float *x = s->x + (size_t) r * (size_t) m->n_embd;
            dequantize_row(e->type, e->data + (size_t) s->rows[r].token * e->row_size, m->n_embd, x);
            for (int i = 0; m->embedding_scale != 1 && i < m->n_embd; i++)
                x[i] *= m->embedding_scale;
            rope_angles(&s->model->rope, s->rows[r].position, s->cos_sin + (size_t) r * (size_t) m->rope.n_rot);
        }
}

/* The last norm for the rows that want logits or the state itself: most of a prompt does not. */
static void finish_rows(struct worker *w, const void *norm, int first, int last)
{
    struct step *s = w->step;
    const struct kernels *k = s->kernels;
    int d = s->model->shape.n_embd;
    for (int r = first; r < last; r++) {
        int to = s->rows[r].logits;
        float *hidden = s->rows[r].hidden;
        if (to < 0 && !hidden && !s->keeps)
            continue;
        float *x = s->x + (size_t) r * (size_t) d;
        k->add_scaled(x, s->model->shape.residual_scale, s->y + (size_t) r * s->y_stride, d);
        if (hidden)
            k->rms_norm(x, norm, d, s->model->shape.norm_eps, hidden);
        if (to < 0)
            continue;
        k->rms_norm(x, norm, d, s->model->shape.norm_eps, act_row(&s->logits_in, to));
        act_quantize(k, &s->logits_in, to);
    }
}

/* One piece of a row; those behind n_choices stay empty. */
static void sum_up(struct worker *w, int row, int piece)
{
    struct step *s = w->step;
    int from = piece * LOGITS_PIECE, left = s->n_choices - from, n = left < LOGITS_PIECE ? left : LOGITS_PIECE;
    struct logits_piece *to = &s->pieces[(size_t) row * (size_t) s->n_pieces + (size_t) piece];
    const float *x = s->logits + (size_t) row * (size_t) s->model->shape.n_vocab + from;
    float *exps = s->exps + (size_t) w->thread * LOGITS_PIECE;
    *to = (struct logits_piece){0, -INFINITY, 0};
    if (n <= 0)
        return;
    to->best = from + ops_argmax(x, n);
    to->max = x[to->best - from];
    memcpy(exps, x, (size_t) n * sizeof *exps);
    to->sum = s->kernels->softmax_exp(exps, n);
}

int step_best(const struct step *s, int row)
{
    const struct logits_piece *p = s->pieces + (size_t) row * (size_t) s->n_pieces, *best = p;
    for (int i = 1; i < s->n_pieces; i++)
        if (p[i].max > best->max)
            best = &p[i];
    return best->best;
}

double step_log_total(const struct step *s, int row)
{
    const struct logits_piece *p = s->pieces + (size_t) row * (size_t) s->n_pieces;
    double max = (double) s->logits[(size_t) row * (size_t) s->model->shape.n_vocab + (size_t) step_best(s, row)], sum = 0;
    for (int i = 0; i < s->n_pieces; i++)
        sum += p[i].sum > 0 ? p[i].sum * exp((double) p[i].max - max) : 0;
    return max + log(sum);
}

static void output_logits(struct worker *w, const float *norm, const struct weight *o)
{
    struct step *s = w->step;
    const struct model_shape *m = &s->model->shape;
    int n = 0;
    for (int r = 0; r < s->n_rows; r++)
        n += s->rows[r].logits >= 0;
    worker_sync_rows(w, 16, finish_rows, norm, NULL);
    struct product p = {o, 0, act_input(&s->logits_in, o, 0), n, s->logits, (size_t) m->n_vocab};
    if (n > 0)
        worker_products(w, &p, 1);
    worker_sync(w);
    int first, last;
    while (m->logit_scale != 1 && worker_take(w, n, 1, &first, &last))
        for (int i = 0; i < m->n_vocab; i++)
            s->logits[(size_t) first * (size_t) m->n_vocab + (size_t) i] /= m->logit_scale;
    if (m->logit_scale != 1)
        worker_sync(w);
    while (worker_take(w, n * s->n_pieces, 1, &first, &last))
        sum_up(w, first / s->n_pieces, first % s->n_pieces);
}

static void one_layer(struct worker *w, int i, const float *y)
{
    struct step *s = w->step;
    const struct layer *l = &s->model->weights.layers[i];
    struct add_norm before = {y, NULL, l->attn_norm}, between = {s->y, l->o_bias, l->ffn_norm};
    w->layer = i;
    worker_sync_rows(w, 16, add_norm_rows, &before, NULL);
    if (s->model->shape.attention == ATTENTION_GQA)
        attention_gqa(w, i);
    else
        attention_mla(w, i);
    if (l->router.n_mats > 0) {
        ffn_moe(w, i, &between);
        return;
    }
    worker_sync_rows(w, 16, add_norm_rows, &between, NULL);
    ffn_dense(w, i);
}

static void forward(void *context, int thread, int n_threads)
{
    struct step *s = context;
    struct worker *w = &s->workers[thread];
    w->phase = 0;
    w->n_threads = n_threads;
    embed(w);
    for (int i = 0; i < s->model->shape.n_layers; i++)
        one_layer(w, i, i > 0 ? s->y : NULL);
    output_logits(w, s->model->weights.output_norm, &s->model->weights.output);
    arena_reset(&w->scratch);
}

static void run(struct step *s, void (*work)(void *, int, int))
{
    make_tiles(s);
    lora_plan(s);
    for (int i = 0; i < MOST_SHARES; i++)
        for (int j = 0; j < 3; j++)
            atomic_store(&s->shares[i].taken[j], 0);
    if (s->alone)
        work(s, 0, 1);
    else
        thread_pool_run(s->pool, work, s);
}

void step_run(struct step *step)
{
    run(step, forward);
}

/* ------------------------------------------------------------------ */
/* One token further                                                   */
/* ------------------------------------------------------------------ */

/* (norm(embedding) | norm(state before)): DeepSeek-V3, section 2.2, in the order of the published weights. */
static void join_row(struct worker *w, int r)
{
    struct step *s = w->step;
    const struct kernels *k = s->kernels;
    const struct nextn_weights *n = &s->model->weights.nextn;
    const struct weight *e = &n->token_embd;
    int d = s->model->shape.n_embd;
    float *in = act_row(&s->nextn_in, r), eps = s->model->shape.norm_eps;
    dequantize_row(e->type, e->data + (size_t) s->rows[r].token * e->row_size, d, in);
    k->rms_norm(in, n->embd_norm, d, eps, in);
    if (s->rows[r].before)
        k->rms_norm(s->rows[r].before, n->hidden_norm, d, eps, in + d);
    else
        memset(in + d, 0, (size_t) d * sizeof *in);
    act_quantize(k, &s->nextn_in, r);
    rope_angles(&s->model->rope, s->rows[r].position, s->cos_sin + (size_t) r * (size_t) s->model->shape.rope.n_rot);
}

static void forward_nextn(void *context, int thread, int n_threads)
{
    struct step *s = context;
    struct worker *w = &s->workers[thread];
    const struct weights *all = &s->model->weights;
    const struct weight *project = &all->nextn.project;
    int first, last;
    w->phase = 0;
    w->n_threads = n_threads;
    while (worker_take(w, s->n_rows, 16, &first, &last))
        for (int r = first; r < last; r++)
            join_row(w, r);
    worker_sync(w);
    struct product in = {project, 0, act_input(&s->nextn_in, project, 0), s->n_rows, s->x,
                         (size_t) s->model->shape.n_embd};
    worker_products(w, &in, 1);
    one_layer(w, s->model->shape.n_layers, NULL);
    output_logits(w, all->nextn.head_norm,
                  all->nextn.output.n_mats > 0 ? &all->nextn.output : &all->output);
    arena_reset(&w->scratch);
}

void step_run_nextn(struct step *step)
{
    run(step, forward_nextn);
}
