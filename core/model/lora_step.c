/*
 * lora_step.c - adapters of a batch's rows
 *
 * Rows are gathered by adapter, at most CHUNK of them at a time, whatever stands between them: A and B are read once
 * for all of a chunk. What is added to a row depends on that row and its adapter alone. Nothing here runs, and no
 * thread waits, where no row has an adapter.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/step.h"

enum { CHUNK = 8, PIECE = 8 /* panels of B at a time */ };

/* ------------------------------------------------------------------ */
/* Chunks                                                              */
/* ------------------------------------------------------------------ */

/* Appends the items (rows or pairs first .. first + n - 1) to order, by adapter in order of appearance. */
static void gather(struct step *s, int mat, int first, int n, const int *row_of, struct lora_chunk *chunks,
                   int *n_chunks, int *order, int *n_order)
{
    for (int i = first; i < first + n; i++) {
        const struct lora *lora = s->rows[row_of ? row_of[i] : i].lora;
        bool seen = lora == NULL;
        for (int j = first; j < i && !seen; j++)
            seen = s->rows[row_of ? row_of[j] : j].lora == lora;
        if (seen)
            continue;
        struct lora_chunk *c = NULL;
        for (int j = i; j < first + n; j++) {
            if (s->rows[row_of ? row_of[j] : j].lora != lora)
                continue;
            if (!c || c->n == CHUNK) {
                c = &chunks[(*n_chunks)++];
                *c = (struct lora_chunk){.lora = lora, .mat = mat, .first = *n_order};
            }
            order[(*n_order)++] = j;
            c->n++;
        }
    }
}

void lora_plan(struct step *s)
{
    struct lora_buffers *b = &s->lora;
    int n_order = 0;
    b->n_chunks = b->rank = 0;
    for (int r = 0; r < s->n_rows; r++)
        if (s->rows[r].lora && s->rows[r].lora->max_rank > b->rank)
            b->rank = s->rows[r].lora->max_rank;
    if (b->rank > 0)
        gather(s, 0, 0, s->n_rows, NULL, b->chunks, &b->n_chunks, b->order, &n_order);
}

void lora_plan_pairs(struct step *s)
{
    struct lora_buffers *b = &s->lora;
    int n_order = 0;
    b->n_pair_chunks = 0;
    for (int i = 0; i < s->moe.n_groups && b->n_chunks > 0; i++) {
        const struct expert_group *g = &s->moe.groups[i];
        if (g->hidden == &s->moe.hidden)
            gather(s, g->mat, g->first, g->n, s->moe.pair_row, b->pair_chunks, &b->n_pair_chunks, b->pair_order,
                   &n_order);
    }
}

/* ------------------------------------------------------------------ */
/* Products                                                            */
/* ------------------------------------------------------------------ */

static const struct lora_pair *pair_of(const struct worker *w, const struct lora *lora, enum lora_slot slot)
{
    return &lora->layers[w->layer].pairs[slot];
}

/* Does an adapter of the step change one of these slots? All threads see the same. */
static bool touches(const struct worker *w, const enum lora_slot *slots, int n)
{
    const struct lora_buffers *b = &w->step->lora;
    for (int i = 0; i < b->n_chunks; i++)
        for (int j = 0; j < n; j++)
            if (pair_of(w, b->chunks[i].lora, slots[j])->rank > 0)
                return true;
    return false;
}

static float *row_u(const struct step *s, int which, int r)
{
    return s->lora.u + ((size_t) which * (size_t) s->max_rows + (size_t) r) * (size_t) s->lora.rank;
}

static float *pair_u(const struct step *s, int which, int pair)
{
    size_t all = (size_t) s->max_rows * (size_t) s->n_used;
    return s->lora.pair_u + ((size_t) which * all + (size_t) pair) * (size_t) s->lora.rank;
}

static void shrink(struct worker *w, const struct lora_pair *pair, int mat, const void *const *x, int n, float *const *u)
{
    matmul_panels(w->step->kernels, &pair->a, mat, 0, weight_panels(&pair->a), x, n, u, NULL, NULL);
}

/* y[i] += scale[i] B u[i] for output rows of panels from .. to - 1. y[i] points to row 0. */
static void grow(struct worker *w, const struct lora_pair *pair, int mat, int from, int to, const void *const *u, int n,
                 const float *scale, float *const *y)
{
    float out[CHUNK][PIECE * PANEL_ROWS], *rows[CHUNK] = {NULL};
    for (int p = from; p < to; p += PIECE) {
        int last = p + PIECE < to ? p + PIECE : to, first = p * PANEL_ROWS;
        int end = last * PANEL_ROWS < pair->b.n_out ? last * PANEL_ROWS : pair->b.n_out;
        for (int i = 0; i < n; i++)
            rows[i] = out[i] - first;
        matmul_panels(w->step->kernels, &pair->b, mat, p, last, u, n, rows, NULL, NULL);
        for (int i = 0; i < n; i++)
            w->step->kernels->add_scaled(y[i] + first, scale[i], out[i], end - first);
    }
}

static void shrink_use(struct worker *w, const struct lora_use *use, int which, const struct lora_chunk *c)
{
    struct step *s = w->step;
    const struct lora_pair *pair = pair_of(w, c->lora, use->slot);
    const void *x[CHUNK];
    float *u[CHUNK];
    if (pair->rank == 0)
        return;
    for (int i = 0; i < c->n; i++) {
        int r = s->lora.order[c->first + i];
        x[i] = use->x + (size_t) r * use->x_stride;
        u[i] = row_u(s, which, r);
    }
    shrink(w, pair, use->mat, x, c->n, u);
}

static void grow_use(struct worker *w, const struct lora_use *use, int which, const struct lora_chunk *c)
{
    struct step *s = w->step;
    const struct lora_pair *pair = pair_of(w, c->lora, use->slot);
    const void *u[CHUNK];
    float *y[CHUNK], scale[CHUNK];
    if (pair->rank == 0)
        return;
    for (int i = 0; i < c->n; i++) {
        int r = s->lora.order[c->first + i];
        u[i] = row_u(s, which, r);
        y[i] = use->y + (size_t) r * use->y_stride;
        scale[i] = pair->scale;
    }
    grow(w, pair, use->mat, 0, weight_panels(&pair->b), u, c->n, scale, y);
}

void lora_add(struct worker *w, const struct lora_use *uses, int n)
{
    const struct lora_buffers *b = &w->step->lora;
    enum lora_slot slots[LORA_USES];
    int first, last;
    for (int i = 0; i < n; i++)
        slots[i] = uses[i].slot;
    if (!touches(w, slots, n))
        return;
    worker_sync(w);
    while (worker_take(w, n * b->n_chunks, 1, &first, &last))
        shrink_use(w, &uses[first % n], first % n, &b->chunks[first / n]);
    worker_sync(w);
    while (worker_take(w, n * b->n_chunks, 1, &first, &last))
        grow_use(w, &uses[first % n], first % n, &b->chunks[first / n]);
}

void lora_add_heads(struct worker *w, enum lora_slot slot, const struct act *in, float *out, size_t head_stride,
                    size_t row_stride)
{
    struct step *s = w->step;
    int n_heads = s->model->shape.n_heads;
    for (int h = 0; h < n_heads; h += LORA_USES) {
        struct lora_use uses[LORA_USES];
        int n = n_heads - h < LORA_USES ? n_heads - h : LORA_USES;
        for (int i = 0; i < n; i++)
            uses[i] = (struct lora_use){slot, h + i, act_row(in, h + i), (size_t) n_heads * (size_t) in->n,
                                        out + (size_t) (h + i) * head_stride, row_stride};
        lora_add(w, uses, n);
    }
}

/* ------------------------------------------------------------------ */
/* Feed-forward layers                                                 */
/* ------------------------------------------------------------------ */

static void shrink_pairs(struct worker *w, enum lora_slot slot, int which, const struct lora_chunk *c)
{
    struct step *s = w->step;
    const struct lora_pair *pair = pair_of(w, c->lora, slot);
    const void *x[CHUNK];
    float *u[CHUNK];
    if (pair->rank == 0)
        return;
    for (int i = 0; i < c->n; i++) {
        int p = s->lora.pair_order[c->first + i];
        x[i] = slot == LORA_DOWN ? act_row(&s->moe.hidden, p) : s->moe.pair_input[ACT_FLOATS][p];
        u[i] = pair_u(s, which, p);
    }
    shrink(w, pair, c->mat, x, c->n, u);
}

void lora_before_hidden(struct worker *w, bool routed)
{
    struct step *s = w->step;
    struct lora_buffers *b = &s->lora;
    const enum lora_slot slots[] = {LORA_GATE, LORA_UP, LORA_SHARED_GATE, LORA_SHARED_UP};
    enum lora_slot gate = routed ? LORA_SHARED_GATE : LORA_GATE, up = routed ? LORA_SHARED_UP : LORA_UP;
    size_t d = (size_t) s->model->shape.n_embd;
    int n_pairs = routed ? 2 * b->n_pair_chunks : 0, first, last;
    if (!touches(w, slots, 4))
        return;
    while (worker_take(w, n_pairs + 2 * b->n_chunks, 1, &first, &last)) {
        int which = first % 2;
        if (first < n_pairs) {
            shrink_pairs(w, which ? LORA_UP : LORA_GATE, which, &b->pair_chunks[first / 2]);
        } else {
            struct lora_use use = {.slot = which ? up : gate, .x = s->h.f, .x_stride = d};
            shrink_use(w, &use, which, &b->chunks[(first - n_pairs) / 2]);
        }
    }
    worker_sync(w);
}

void lora_hidden(struct worker *w, const struct expert_group *g, bool up, int from, int to, int first, int n,
                 float *const *y)
{
    struct step *s = w->step;
    bool routed = g->hidden == &s->moe.hidden;
    enum lora_slot slot = g->hidden == &s->moe.hidden_shared ? (up ? LORA_SHARED_UP : LORA_SHARED_GATE)
                                                             : (up ? LORA_UP : LORA_GATE);
    if (s->lora.n_chunks == 0)
        return;
    for (int i = 0; i < n;) {
        const void *u[CHUNK];
        float scale[CHUNK];
        const struct lora *lora = s->rows[routed ? s->moe.pair_row[first + i] : first + i].lora;
        int end = i;
        for (; end < n && end - i < CHUNK; end++) {
            if (s->rows[routed ? s->moe.pair_row[first + end] : first + end].lora != lora)
                break;
            u[end - i] = routed ? pair_u(s, up, first + end) : row_u(s, up, first + end);
            scale[end - i] = lora ? pair_of(w, lora, slot)->scale : 0;
        }
        if (lora && pair_of(w, lora, slot)->rank > 0)
            grow(w, pair_of(w, lora, slot), routed ? g->mat : 0, from, to, u, end - i, scale, y + i);
        i = end;
    }
}

void lora_before_combine(struct worker *w)
{
    struct step *s = w->step;
    struct lora_buffers *b = &s->lora;
    const enum lora_slot slots[] = {LORA_DOWN, LORA_SHARED_DOWN};
    int first, last;
    if (!touches(w, slots, 2))
        return;
    while (worker_take(w, b->n_pair_chunks + b->n_chunks, 1, &first, &last)) {
        struct lora_use use = {.slot = LORA_SHARED_DOWN, .x = s->moe.hidden_shared.f,
                               .x_stride = (size_t) s->moe.hidden_shared.n};
        if (first < b->n_pair_chunks)
            shrink_pairs(w, LORA_DOWN, 0, &b->pair_chunks[first]);
        else
            shrink_use(w, &use, 0, &b->chunks[first - b->n_pair_chunks]);
    }
    worker_sync(w);
}

/* One chunk's part of y. The hidden rows have their expert's weight in them. */
static void combine_chunk(struct worker *w, enum lora_slot slot, const struct lora_chunk *c, int from, int to)
{
    struct step *s = w->step;
    const struct lora_pair *pair = pair_of(w, c->lora, slot);
    bool routed = slot == LORA_DOWN;
    const void *u[CHUNK];
    float *y[CHUNK], scale[CHUNK];
    if (pair->rank == 0)
        return;
    for (int i = 0; i < c->n; i++) {
        int p = routed ? s->lora.pair_order[c->first + i] : 0;
        int r = routed ? s->moe.pair_row[p] : s->lora.order[c->first + i];
        u[i] = routed ? pair_u(s, 0, p) : row_u(s, 0, r);
        y[i] = s->y + (size_t) r * s->y_stride;
        scale[i] = pair->scale;
    }
    grow(w, pair, c->mat, from, to, u, c->n, scale, y);
}

void lora_combine(struct worker *w, int from, int to)
{
    const struct lora_buffers *b = &w->step->lora;
    if (b->n_chunks == 0)
        return;
    for (int i = 0; i < b->n_pair_chunks; i++)
        combine_chunk(w, LORA_DOWN, &b->pair_chunks[i], from, to);
    for (int i = 0; i < b->n_chunks; i++)
        combine_chunk(w, LORA_SHARED_DOWN, &b->chunks[i], from, to);
}
