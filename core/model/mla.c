/*
 * mla.c - multi-head latent attention
 *
 * DeepSeek-V2, section 2.1 (arXiv:2405.04434). The cache keeps one latent row
 * per token, shared by all heads. In the absorbed form a query is carried into
 * the latent's space (k_b), attends there as one big head, and the attended
 * latent is carried back per head (v_b). Old files have a single kv_b: there
 * keys and values are expanded per head and cached like any others.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/step.h"

#include <string.h>

/* The low-rank query and the latent of each row: split, normed, rotated. */
static void compress_row(struct worker *w, int layer, int r)
{
    struct step *s = w->step;
    const struct kernels *k = s->kernels;
    const struct model_shape *m = &s->model->shape;
    const struct layer *l = &s->model->weights.layers[layer];
    float *c = s->k + (size_t) r * s->k_stride;
    if (l->q_a.n_mats > 0) {
        float *q = act_row(&s->q_lora, r);
        k->rms_norm(q, l->q_a_norm, m->n_q_lora, m->norm_eps, q);
        act_quantize(k, &s->q_lora, r);
    }
    k->rope(c + m->n_kv_lora, m->rope.n_rot, m->rope.neox, s->cos_sin + (size_t) r * (size_t) m->rope.n_rot);
    k->rms_norm(c, l->kv_a_norm, m->n_kv_lora, m->norm_eps, c);
    if (m->attention == ATTENTION_MLA) {
        int page = s->rows[r].seq->pages[s->rows[r].position / KV_PAGE], at = s->rows[r].position % KV_PAGE;
        k->kv_store(s->cache->shape.type, c, m->n_k,
                    kv_k_rows(s->cache, page, layer, 0) + (size_t) at * s->cache->k_row);
        step_copy_row(s, layer, r);
        return;
    }
    float *latent = act_row(&s->latent, r);
    memcpy(latent, c, (size_t) m->n_kv_lora * sizeof *latent);
    act_quantize(k, &s->latent, r);
}

/* q = (q_nope | q_pe) per head: the first part waits for k_b, the second is rotated into place. */
static void split_query(struct worker *w, int r)
{
    struct step *s = w->step;
    const struct model_shape *m = &s->model->shape;
    const float *cos_sin = s->cos_sin + (size_t) r * (size_t) m->rope.n_rot;
    for (int h = 0; h < m->n_heads; h++) {
        const float *q = s->q + (size_t) r * s->q_stride + (size_t) h * (size_t) (m->n_nope + m->rope.n_rot);
        int row = r * m->n_heads + h;
        float *nope = act_row(&s->q_nope, row);
        float *pe = s->q_absorbed + (size_t) r * s->absorbed_stride + (size_t) h * (size_t) m->n_k + m->n_kv_lora;
        memcpy(nope, q, (size_t) m->n_nope * sizeof *nope);
        memcpy(pe, q + m->n_nope, (size_t) m->rope.n_rot * sizeof *pe);
        s->kernels->rope(pe, m->rope.n_rot, m->rope.neox, cos_sin);
        act_quantize(s->kernels, &s->q_nope, row);
    }
}

static void compress_rows(struct worker *w, const void *argument, int first, int last)
{
    const struct layer *l = &w->step->model->weights.layers[w->layer];
    for (int r = first; r < last; r++) {
        compress_row(w, w->layer, r);
        if (l->q_a.n_mats == 0 && w->step->model->shape.attention == ATTENTION_MLA)
            split_query(w, r);
    }
}

static void split_rows(struct worker *w, const void *argument, int first, int last)
{
    for (int r = first; r < last; r++)
        split_query(w, r);
}

/* Queries and latents of all rows; in the expanded form queries still wait for their rotation. */
static void project(struct worker *w, int layer)
{
    struct step *s = w->step;
    const struct layer *l = &s->model->weights.layers[layer];
    int n = s->n_rows;
    bool low_rank = l->q_a.n_mats > 0;
    const struct weight *q = low_rank ? &l->q_a : &l->q;
    struct product in[] = {{q, 0, act_input(&s->h, q, 0), n, low_rank ? s->q_lora.f : s->q,
                            low_rank ? (size_t) s->q_lora.n : s->q_stride},
                           {&l->kv_a, 0, act_input(&s->h, &l->kv_a, 0), n, s->k, s->k_stride}};
    worker_products(w, in, 2);
    size_t d = (size_t) s->model->shape.n_embd;
    struct lora_use lora[] = {{low_rank ? LORA_Q_A : LORA_Q, 0, s->h.f, d, in[0].y, in[0].y_stride},
                              {LORA_KV_A, 0, s->h.f, d, s->k, s->k_stride}};
    lora_add(w, lora, 2);
    worker_sync_rows(w, 8, compress_rows, NULL, NULL);
    if (!low_rank)
        return;
    struct product up = {&l->q_b, 0, act_input(&s->q_lora, &l->q_b, 0), n, s->q, s->q_stride};
    worker_products(w, &up, 1);
    struct lora_use lora_up = {LORA_Q_B, 0, s->q_lora.f, (size_t) s->q_lora.n, s->q, s->q_stride};
    lora_add(w, &lora_up, 1);
    if (s->model->shape.attention == ATTENTION_MLA)
        worker_sync_rows(w, 8, split_rows, NULL, NULL);
    else
        worker_sync(w);
}

/* One matrix per head: rows of in at (row * H + h), rows of out likewise. */
static void per_head_products(struct worker *w, const struct weight *m, const struct act *in, float *out,
                              size_t head_stride, size_t row_stride)
{
    struct step *s = w->step;
    int n_heads = s->model->shape.n_heads, panels = weight_panels(m), first, last;
    while (worker_take(w, n_heads * panels, panels, &first, &last))
        for (int i = first; i < last;) {
            int h = i / panels, from = i % panels, to = last - h * panels < panels ? last - h * panels : panels;
            size_t mark = w->scratch.used;
            const void **x = arena_take(&w->scratch, (size_t) s->n_rows, sizeof *x);
            float **y = worker_outputs(w, out + (size_t) h * head_stride, row_stride, s->n_rows);
            void *unpack = arena_take(&w->scratch, matmul_scratch_size(m), 1);
            const void *const *rows = act_input(in, m, h);
            for (int r = 0; r < s->n_rows; r++)
                x[r] = rows[(size_t) r * (size_t) n_heads];
            matmul_panels(s->kernels, m, h, from, to, x, s->n_rows, y, NULL, unpack);
            w->scratch.used = mark;
            i = h * panels + to;
        }
}

static void attend_absorbed(struct worker *w, int layer)
{
    struct step *s = w->step;
    const struct model_shape *m = &s->model->shape;
    const struct layer *l = &s->model->weights.layers[layer];
    size_t absorbed = s->absorbed_stride;
    per_head_products(w, &l->k_b, &s->q_nope, s->q_absorbed, (size_t) m->n_k, absorbed);
    lora_add_heads(w, LORA_K_B, &s->q_nope, s->q_absorbed, (size_t) m->n_k, absorbed);
    worker_sync(w);
    attention_attend(w, layer, s->q_absorbed, absorbed, &s->attended, true);
    worker_sync(w);
    if (!act_divides(&s->attended, m->n_v)) {
        int first, last, n = s->n_rows * m->n_heads;
        while (worker_take(w, n, 16, &first, &last))
            quantize_rows(w, &s->attended, first, last);
        worker_sync(w);
    }
    per_head_products(w, &l->v_b, &s->attended, s->heads.f, (size_t) m->n_v_head, (size_t) s->heads.n);
    lora_add_heads(w, LORA_V_B, &s->attended, s->heads.f, (size_t) m->n_v_head, (size_t) s->heads.n);
    worker_sync_rows(w, 16, quantize_rows, &s->heads, NULL);
}

/* Keys (nope | k_pe) and values of every head from kv_b's rows, into the cache. */
static void expand_row(struct worker *w, int layer, int r)
{
    struct step *s = w->step;
    const struct kernels *k = s->kernels;
    const struct model_shape *m = &s->model->shape;
    const float *cos_sin = s->cos_sin + (size_t) r * (size_t) m->rope.n_rot;
    const float *pe = s->k + (size_t) r * s->k_stride + m->n_kv_lora;
    int page = s->rows[r].seq->pages[s->rows[r].position / KV_PAGE], at = s->rows[r].position % KV_PAGE;
    float key[576];
    for (int h = 0; h < m->n_heads; h++) {
        const float *kv = s->v + (size_t) r * s->v_stride + (size_t) h * (size_t) (m->n_nope + m->n_v_head);
        memcpy(key, kv, (size_t) m->n_nope * sizeof *key);
        memcpy(key + m->n_nope, pe, (size_t) m->rope.n_rot * sizeof *key);
        k->kv_store(s->cache->shape.type, key, m->n_k,
                    kv_k_rows(s->cache, page, layer, h) + (size_t) at * s->cache->k_row);
        k->kv_store(s->cache->shape.type, kv + m->n_nope, m->n_v,
                    kv_v_rows(s->cache, page, layer, h) + (size_t) at * s->cache->v_row);
        k->rope(s->q + (size_t) r * s->q_stride + (size_t) h * (size_t) m->n_k + m->n_nope, m->rope.n_rot,
                m->rope.neox, cos_sin);
    }
    step_copy_row(s, layer, r);
}

static void expand_rows(struct worker *w, const void *argument, int first, int last)
{
    for (int r = first; r < last; r++)
        expand_row(w, w->layer, r);
}

static void attend_expanded(struct worker *w, int layer)
{
    struct step *s = w->step;
    const struct layer *l = &s->model->weights.layers[layer];
    struct product kv = {&l->kv_b, 0, act_input(&s->latent, &l->kv_b, 0), s->n_rows, s->v, s->v_stride};
    worker_products(w, &kv, 1);
    struct lora_use lora = {LORA_KV_B, 0, s->latent.f, (size_t) s->latent.n, s->v, s->v_stride};
    lora_add(w, &lora, 1);
    worker_sync_rows(w, 8, expand_rows, NULL, NULL);
    attention_attend(w, layer, s->q, s->q_stride, &s->heads, false);
    if (!act_divides(&s->heads, s->model->shape.n_v))
        worker_sync_rows(w, 16, quantize_rows, &s->heads, NULL);
    else
        worker_sync(w);
}

void attention_mla(struct worker *w, int layer)
{
    struct step *s = w->step;
    const struct layer *l = &s->model->weights.layers[layer];
    project(w, layer);
    if (s->model->shape.attention == ATTENTION_MLA)
        attend_absorbed(w, layer);
    else
        attend_expanded(w, layer);
    struct product o = {&l->o, 0, act_input(&s->heads, &l->o, 0), s->n_rows, s->y, s->y_stride};
    worker_products(w, &o, 1);
    struct lora_use lora = {LORA_O, 0, s->heads.f, (size_t) s->heads.n, s->y, s->y_stride};
    lora_add(w, &lora, 1);
}
