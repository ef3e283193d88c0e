/*
 * attention.c - grouped-query attention over the paged cache
 *
 * GQA (arXiv:2305.13245): query head h reads KV head h / (H / Hk). Queries that
 * read the same KV head attend together, so that a page is unpacked once for
 * all of them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/step.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ */
/* softmax(q k) v                                                      */
/* ------------------------------------------------------------------ */

enum { MAX_QUERIES = 64 };

/* One item: the rows of a tile and some heads of one KV head's group. */
struct item {
    int layer, kv_head, head0, n_heads;
    const struct tile *tile;
    int n_q;
    const void *q[MAX_QUERIES];
    float *acc[MAX_QUERIES];
    struct attend_state state[MAX_QUERIES];
    int position[MAX_QUERIES];
};

/* Queries stand row by row, heads inside: neighbours share their range. */
static void start_item(struct worker *w, struct item *it, const float *q, size_t q_stride)
{
    struct step *s = w->step;
    const struct model_shape *m = &s->model->shape;
    const float *sinks = s->model->weights.layers[it->layer].sinks;
    it->n_q = 0;
    for (int r = it->tile->first; r < it->tile->first + it->tile->n; r++)
        for (int h = it->head0; h < it->head0 + it->n_heads; h++) {
            int i = it->n_q++;
            void *query = arena_take(&w->scratch, kv_query_size((size_t) m->n_k), 1);
            s->kernels->load_query(s->cache->shape.type, m->attention_scale,
                                   q + (size_t) r * q_stride + (size_t) h * (size_t) m->n_k, m->n_k, query);
            it->q[i] = query;
            it->acc[i] = arena_take(&w->scratch, (size_t) m->n_v, sizeof(float));
            memset(it->acc[i], 0, (size_t) m->n_v * sizeof(float));
            /* A sink is one more logit in the softmax, with no value. */
            it->state[i] = sinks ? (struct attend_state){sinks[h], 1} : (struct attend_state){-INFINITY, 0};
            it->position[i] = s->rows[r].position;
        }
}

static void walk_pages(struct worker *w, struct item *it)
{
    struct step *s = w->step;
    const struct model_shape *m = &s->model->shape;
    const struct kv_cache *cache = s->cache;
    const struct kv_seq *seq = s->rows[it->tile->first].seq;
    int window = model_shape_has_window(m, it->layer) ? m->window : 0;
    int from[MAX_QUERIES], to[MAX_QUERIES];
    int begin = window ? it->position[0] - window + 1 : 0, end = it->position[it->n_q - 1];
    struct attend_piece piece = {.type = cache->shape.type, .n_k = m->n_k, .n_v = m->n_v, .k_stride = cache->k_row,
                                 .v_stride = kv_v_stride(cache), .n_q = it->n_q, .q = it->q, .from = from, .to = to,
                                 .state = it->state, .acc = it->acc};
    for (int page = begin > 0 ? begin / KV_PAGE : 0; page <= end / KV_PAGE; page++) {
        for (int i = 0; i < it->n_q; i++) {
            int low = window ? it->position[i] - window + 1 - page * KV_PAGE : 0;
            int high = it->position[i] + 1 - page * KV_PAGE;
            from[i] = low > 0 ? low : 0;
            to[i] = high < KV_PAGE ? high : KV_PAGE;
            if (to[i] < from[i])
                from[i] = to[i] = 0;
        }
        piece.k = kv_k_rows(cache, seq->pages[page], it->layer, it->kv_head);
        piece.v = kv_v_rows(cache, seq->pages[page], it->layer, it->kv_head);
        s->kernels->attend(&piece);
    }
}

/* Divides by the sum, and quantises a head at once where neither blocks nor groups straddle heads. */
static void finish_item(struct worker *w, const struct item *it, struct act *out, bool per_head)
{
    struct step *s = w->step;
    const struct model_shape *m = &s->model->shape;
    bool divides = act_divides(out, m->n_v);
    int i = 0;
    for (int r = it->tile->first; r < it->tile->first + it->tile->n; r++)
        for (int h = it->head0; h < it->head0 + it->n_heads; h++, i++) {
            int row = per_head ? r * m->n_heads + h : r, first = per_head ? 0 : h * m->n_v;
            float *o = act_row(out, row) + first;
            s->kernels->scale(1 / it->state[i].sum, it->acc[i], m->n_v, o);
            for (enum act_form form = ACT_BLOCKS; divides && form < ACT_FORMS; form++)
                if (out->wants[form])
                    act_quantize_part(s->kernels, out, form, row, first, m->n_v, o);
        }
}

/* Heads of an item: fewer where threads would have none else, but as many as the kernels take at once. */
static int item_heads(const struct worker *w, int group)
{
    enum { TOGETHER = 4 };
    const struct step *s = w->step;
    int heads = s->tile_heads, tiles = s->n_tiles * s->model->shape.n_kv_heads;
    while (heads > TOGETHER && tiles * ((group + heads - 1) / heads) < w->n_threads)
        heads = (heads / 2 + TOGETHER - 1) / TOGETHER * TOGETHER;
    return heads;
}

void attention_attend(struct worker *w, int layer, const float *q, size_t q_stride, struct act *out, bool per_head)
{
    struct step *s = w->step;
    const struct model_shape *m = &s->model->shape;
    int group = m->n_heads / m->n_kv_heads, heads = item_heads(w, group), parts = (group + heads - 1) / heads;
    int n_items = s->n_tiles * m->n_kv_heads * parts, first, last;
    /* From the end: the last rows of a prompt see the most, and what is taken last should be short. */
    while (worker_take(w, n_items, 1, &first, &last)) {
        struct item it = {.layer = layer};
        int part = first % parts, rest = first / parts;
        it.kv_head = rest % m->n_kv_heads;
        it.tile = &s->tiles[s->n_tiles - 1 - rest / m->n_kv_heads];
        it.head0 = it.kv_head * group + part * heads;
        it.n_heads = group - part * heads < heads ? group - part * heads : heads;
        start_item(w, &it, q, q_stride);
        walk_pages(w, &it);
        finish_item(w, &it, out, per_head);
        arena_reset(&w->scratch);
    }
}

/* ------------------------------------------------------------------ */
/* The layer                                                           */
/* ------------------------------------------------------------------ */

static void norm_heads(struct worker *w, float *x, const float *norm, int n_heads)
{
    const struct model_shape *m = &w->step->model->shape;
    int parts = m->qk_norm == QK_NORM_HEAD ? n_heads : 1, n = n_heads * m->n_k / parts;
    for (int i = 0; i < parts; i++)
        w->step->kernels->rms_norm(x + i * n, norm, n, m->norm_eps, x + i * n);
}

/* Bias, norm and rotation of a row's queries and keys; keys and values go to the cache. */
static void finish_row(struct worker *w, int layer, int r)
{
    struct step *s = w->step;
    const struct kernels *k = s->kernels;
    const struct model_shape *m = &s->model->shape;
    const struct layer *l = &s->model->weights.layers[layer];
    float *q = s->q + (size_t) r * s->q_stride, *key = s->k + (size_t) r * s->k_stride;
    float *v = s->v + (size_t) r * s->v_stride;
    const float *cos_sin = s->cos_sin + (size_t) r * (size_t) m->rope.n_rot;
    if (l->q_bias)
        k->add_scaled(q, 1, l->q_bias, l->q.n_out);
    if (l->k_bias)
        k->add_scaled(key, 1, l->k_bias, l->k.n_out);
    if (l->v_bias)
        k->add_scaled(v, 1, l->v_bias, l->v.n_out);
    if (l->q_norm) {
        norm_heads(w, q, l->q_norm, m->n_heads);
        norm_heads(w, key, l->k_norm, m->n_kv_heads);
    }
    for (int h = 0; h < m->n_heads; h++)
        k->rope(q + h * m->n_k, m->rope.n_rot, m->rope.neox, cos_sin);

    int page = s->rows[r].seq->pages[s->rows[r].position / KV_PAGE], at = s->rows[r].position % KV_PAGE;
    for (int h = 0; h < m->n_kv_heads; h++) {
        k->rope(key + h * m->n_k, m->rope.n_rot, m->rope.neox, cos_sin);
        k->kv_store(s->cache->shape.type, key + h * m->n_k, m->n_k,
                    kv_k_rows(s->cache, page, layer, h) + (size_t) at * s->cache->k_row);
        k->kv_store(s->cache->shape.type, v + h * m->n_v, m->n_v,
                    kv_v_rows(s->cache, page, layer, h) + (size_t) at * s->cache->v_row);
    }
    step_copy_row(s, layer, r);
}

static void finish_rows(struct worker *w, const void *argument, int first, int last)
{
    for (int r = first; r < last; r++)
        finish_row(w, w->layer, r);
}

void attention_gqa(struct worker *w, int layer)
{
    struct step *s = w->step;
    const struct layer *l = &s->model->weights.layers[layer];
    int n = s->n_rows, d = s->model->shape.n_embd;
    struct product qkv[] = {{&l->q, 0, act_input(&s->h, &l->q, 0), n, s->q, s->q_stride},
                            {&l->k, 0, act_input(&s->h, &l->k, 0), n, s->k, s->k_stride},
                            {&l->v, 0, act_input(&s->h, &l->v, 0), n, s->v, s->v_stride}};
    worker_products(w, qkv, 3);
    struct lora_use lora[] = {{LORA_Q, 0, s->h.f, (size_t) d, s->q, s->q_stride},
                              {LORA_K, 0, s->h.f, (size_t) d, s->k, s->k_stride},
                              {LORA_V, 0, s->h.f, (size_t) d, s->v, s->v_stride}};
    lora_add(w, lora, 3);
    worker_sync_rows(w, 8, finish_rows, NULL, NULL);
    attention_attend(w, layer, s->q, s->q_stride, &s->heads, false);
    if (!act_divides(&s->heads, s->model->shape.n_v))
        worker_sync_rows(w, 1, quantize_rows, &s->heads, NULL);
    else
        worker_sync(w);
    struct product o = {&l->o, 0, act_input(&s->heads, &l->o, 0), n, s->y, s->y_stride};
    worker_products(w, &o, 1);
    struct lora_use lora_o = {LORA_O, 0, s->heads.f, (size_t) s->heads.n, s->y, s->y_stride};
    lora_add(w, &lora_o, 1);
}
