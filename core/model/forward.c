/*
 * forward.c - tokens in, logits out: the order of the layers
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/step.h"

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
    while (worker_take(w, s->n_rows, worker_grain(w, s->n_rows, 16), &first, &last))
        for (int r = first; r < last; r++) {
            float *x = s->x + (size_t) r * (size_t) m->n_embd;
            dequantize_row(e->type, e->data + (size_t) s->rows[r].token * e->row_size, m->n_embd, x);
            for (int i = 0; m->embedding_scale != 1 && i < m->n_embd; i++)
                x[i] *= m->embedding_scale;
            rope_angles(&s->model->rope, s->rows[r].position, s->cos_sin + (size_t) r * (size_t) m->rope.n_rot);
        }
    worker_sync(w);
}

/* The last norm for the rows that want logits or the state itself: most of a prompt does not. */
static int gather_logits(struct worker *w, const float *y)
{
    struct step *s = w->step;
    const struct kernels *k = s->kernels;
    int d = s->model->shape.n_embd, n = 0, first, last;
    for (int r = 0; r < s->n_rows; r++)
        n += s->rows[r].logits >= 0;
    while (worker_take(w, s->n_rows, worker_grain(w, s->n_rows, 16), &first, &last))
        for (int r = first; r < last; r++) {
            int to = s->rows[r].logits;
            float *hidden = s->rows[r].hidden;
            if (to < 0 && !hidden)
                continue;
            float *x = s->x + (size_t) r * (size_t) d;
            k->add_scaled(x, s->model->shape.residual_scale, y + (size_t) r * (size_t) d, d);
            if (hidden)
                k->rms_norm(x, s->model->weights.output_norm, d, s->model->shape.norm_eps, hidden);
            if (to < 0)
                continue;
            k->rms_norm(x, s->model->weights.output_norm, d, s->model->shape.norm_eps, act_row(&s->logits_in, to));
            if (s->logits_in.record)
                k->quantize_row(act_row(&s->logits_in, to), d, s->logits_in.q + (size_t) to * s->logits_in.record);
        }
    worker_sync(w);
    return n;
}

static void output_logits(struct worker *w, int n)
{
    struct step *s = w->step;
    const struct weight *o = &s->model->weights.output;
    const struct model_shape *m = &s->model->shape;
    struct product p = {o, 0, act_input(&s->logits_in, o, 0), n, s->logits, (size_t) m->n_vocab};
    if (n > 0)
        worker_products(w, &p, 1);
    worker_sync(w);
    int first, last;
    while (m->logit_scale != 1 && worker_take(w, n, 1, &first, &last))
        for (int i = 0; i < m->n_vocab; i++)
            s->logits[(size_t) first * (size_t) m->n_vocab + (size_t) i] /= m->logit_scale;
}

static void forward(void *context, int thread, int n_threads)
{
    struct step *s = context;
    struct worker *w = &s->workers[thread];
    const struct model_shape *m = &s->model->shape;
    w->phase = 0;
    w->n_threads = n_threads;
    embed(w);
    for (int i = 0; i < m->n_layers; i++) {
        const struct layer *l = &s->model->weights.layers[i];
        w->layer = i;
        worker_add_norm(w, i > 0 ? s->y : NULL, NULL, l->attn_norm);
        worker_sync(w);
        if (m->attention == ATTENTION_GQA)
            attention_gqa(w, i);
        else
            attention_mla(w, i);
        worker_add_norm(w, s->y, l->o_bias, l->ffn_norm);
        worker_sync(w);
        if (l->router.n_mats > 0)
            ffn_moe(w, i);
        else
            ffn_dense(w, i);
    }
    output_logits(w, gather_logits(w, s->y));
    arena_reset(&w->scratch);
}

void step_run(struct step *step)
{
    make_tiles(step);
    lora_plan(step);
    for (int i = 0; i < 3; i++)
        atomic_store(&step->counters[i], 0);
    if (step->alone)
        forward(step, 0, 1);
    else
        thread_pool_run(step->pool, forward, step);
}
