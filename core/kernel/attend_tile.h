/*
 * attend_tile.h - how the vector kernels walk over a piece of cache
 *
 * Included once by each attend_LEVEL.c, which says before
 *
 *   ATTEND_GROUP    queries that share the registers of one inner loop
 *
 * and defines behind it what depends on the vector width:
 *
 *   tile_keys()     cached keys in the form in which all queries read them
 *   tile_values()   the same for values
 *   group_scores()  dot products of a group with a range of positions
 *   weigh()         one query's scores to weights, its state updated
 *   group_values()  weighted values added to the results of a group
 *
 * Up to ATTEND_DIRECT queries read the cache itself: turning f16 into floats again
 * for every group costs less than waiting for a tile to fill (measured from memory,
 * 16 queries of 128 columns: 68 against 61 Gflop/s). For more, keys are turned into
 * floats 16 positions at a time and values 64 columns at a time, once for all, in
 * tiles that stay in the L1 cache. Both ways run the same inner loops on the same
 * floats, and attend_scalar.c gives their order, so a query's bits do not depend
 * on the way taken.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef KERNEL_ATTEND_TILE_H
#define KERNEL_ATTEND_TILE_H

#include "kernel/ops.h"

#include <string.h>

enum {
    ATTEND_QUERIES = 128, /* at a time */
    ATTEND_DIRECT = 16,   /* up to here without tiles */
    ATTEND_K_MAX = 1024,  /* longer keys are left to attend_scalar */
    K_TILE_ROWS = 16,
    V_TILE_COLUMNS = 64, /* a multiple of 32, the block of q8_0 */
    SCORE_STRIDE = 80    /* group_scores may write a few floats past its range */
};

/* What rows hold: values of the cache, floats of a tile, or what a tile of bf16's values holds. */
enum form { FORM_F16 = KV_F16, FORM_F32 = KV_F32, FORM_Q8_0 = KV_Q8_0, FORM_BF16 = KV_BF16, FORM_BF16_TILE };

/* Rows of keys, or of some columns of values, position 0's first. */
struct rows {
    enum form form;
    const uint8_t *first;
    size_t stride;
    size_t fetch; /* bytes of a row of values to fetch ahead; none where it has been read */
};

/* A query that sees something of this piece. */
struct attend_query {
    const void *q;
    float *acc;
    struct attend_state *state;
    int from, to;
    float scale; /* what acc is multiplied with before values are added */
};

struct attend_tile {
    struct attend_query query[ATTEND_QUERIES];
    float scores[ATTEND_QUERIES * SCORE_STRIDE] __attribute__((aligned(64)));
    union {
        float k[K_TILE_ROWS * ATTEND_K_MAX];
        float v[ATTEND_PIECE * V_TILE_COLUMNS];
    } __attribute__((aligned(64)));
};

/* Keys of positions from .. to - 1, at most K_TILE_ROWS of them, by way of tile or as they are. */
static struct rows tile_keys(const struct attend_piece *a, int from, int to, float *tile);

/* Values of positions from .. to - 1, n columns from column on, a multiple of 32. */
static struct rows tile_values(const struct attend_piece *a, int column, int n, int from, int to, float *tile);

/* scores[i * SCORE_STRIDE + p] = q[i] . row p, for from <= p < to and i < n <= ATTEND_GROUP. */
static void group_scores(struct rows k, const struct attend_query *query, int n, int n_k, int from, int to,
                         float *scores);

/*
 * scores[p] becomes the weight of position p, 0 outside the query's range. False when all scores are -INFINITY.
 * Only group_values of the same level reads weights, so that they may have any form.
 */
static bool weigh(enum kv_type type, struct attend_query *query, float *scores);

/*
 * acc[i][column + j] = acc * scale + sum of weight * value, for j < n_columns; v begins
 * at that column. All n queries see exactly the positions from .. to - 1.
 */
static void group_values(struct rows v, const struct attend_query *query, int n, const float *weights, int column,
                         int n_columns, int from, int to);

static inline int attend_min(int a, int b)
{
    return a < b ? a : b;
}

static inline int attend_max(int a, int b)
{
    return a > b ? a : b;
}

/* Runs body with a form of the cache as a constant. */
#define FOR_FORM(form, body)                \
    switch ((int) (form)) {                 \
    case FORM_F16: body(FORM_F16); break;   \
    case FORM_BF16: body(FORM_BF16); break; \
    case FORM_Q8_0: body(FORM_Q8_0); break; \
    default: body(FORM_F32); break;         \
    }

/*
 * With the first columns, so that rows come whole and in order: processors do not follow pairs that begin with the odd
 * one (AVX2, one query, heads of 128: 22 GB/s instead of 15).
 */
static inline void fetch_pair(struct rows v, int at)
{
    enum { AHEAD = 12 };
    for (size_t row = 0; row < 2; row++)
        for (size_t byte = 0; byte < v.fetch; byte += 64)
            __builtin_prefetch(v.first + ((size_t) (at + AHEAD) + row) * v.stride + byte);
}

/* Values of bf16 are added in pairs of positions. */
static inline bool has_pairs(enum form form)
{
    return form == FORM_BF16 || form == FORM_BF16_TILE;
}

/* The smallest range that holds those of n queries. */
static void union_of(const struct attend_query *query, int n, int *from, int *to)
{
    *from = ATTEND_PIECE;
    *to = 0;
    for (int i = 0; i < n; i++) {
        *from = attend_min(*from, query[i].from);
        *to = attend_max(*to, query[i].to);
    }
}

/* Collects up to ATTEND_QUERIES queries with a range, from *next on. */
static int take_queries(const struct attend_piece *a, int *next, struct attend_query *query)
{
    int n = 0;
    for (; *next < a->n_q && n < ATTEND_QUERIES; ++*next) {
        int i = *next;
        if (a->from[i] < a->to[i])
            query[n++] = (struct attend_query){a->q[i], a->acc[i], &a->state[i], a->from[i], a->to[i], 1.0f};
    }
    return n;
}

/* Scores of all groups at the positions p .. end - 1, the rows of k. */
static void block_scores(struct attend_tile *tile, int n, struct rows k, int n_k, int p, int end)
{
    for (int i = 0; i < n; i += ATTEND_GROUP) {
        int m = attend_min(ATTEND_GROUP, n - i), first, last;
        union_of(tile->query + i, m, &first, &last);
        first = attend_max(first, p) - p;
        last = attend_min(last, end) - p;
        if (first < last)
            group_scores(k, tile->query + i, m, n_k, first, last, tile->scores + i * SCORE_STRIDE + p);
    }
}

static void all_scores(const struct attend_piece *a, struct attend_tile *tile, int n)
{
    int from, to, n_k = a->type == KV_BF16 ? kv_bf16_columns(a->n_k) : a->n_k;
    union_of(tile->query, n, &from, &to);
    for (int p = from; p < to; p += K_TILE_ROWS) {
        int end = attend_min(p + K_TILE_ROWS, to);
        struct rows k = {(enum form) a->type, a->k + (size_t) p * a->k_stride, a->k_stride, 0};
        if (n > ATTEND_DIRECT)
            k = tile_keys(a, p, end, tile->k);
        block_scores(tile, n, k, n_k, p, end);
    }
}

/* Scores to weights; queries without any are dropped. Returns how many are left. */
static int all_weights(enum kv_type type, struct attend_tile *tile, int n)
{
    int left = 0;
    for (int i = 0; i < n; i++) {
        float *scores = tile->scores + i * SCORE_STRIDE;
        if (!weigh(type, &tile->query[i], scores))
            continue;
        if (left < i) {
            tile->query[left] = tile->query[i];
            memcpy(tile->scores + left * SCORE_STRIDE, scores, ATTEND_PIECE * sizeof(float));
        }
        left++;
    }
    return left;
}

/*
 * A position outside a query's range must not touch its result even with weight
 * zero (its value may be no number). So a group walks together where all of it
 * sees, and one by one before and behind; no pair is taken apart.
 */
static void ragged_values(struct rows v, const struct attend_query *query, int n, const float *weights, int column,
                          int n_columns)
{
    int from = 0, to = ATTEND_PIECE;
    bool same = true;
    for (int i = 0; i < n; i++) {
        from = attend_max(from, query[i].from);
        to = attend_min(to, query[i].to);
        same = same && query[i].from == query[0].from && query[i].to == query[0].to;
    }
    if (same || n == 1) {
        group_values(v, query, n, weights, column, n_columns, from, to);
        return;
    }
    if (has_pairs(v.form)) {
        from += from % 2;
        to -= to % 2;
    }
    struct attend_query one[ATTEND_GROUP];
    for (int i = 0; i < n; i++) {
        one[i] = query[i];
        int end = from < to ? from : one[i].to;
        if (one[i].from < end) {
            group_values(v, &one[i], 1, weights + i * SCORE_STRIDE, column, n_columns, one[i].from, end);
            one[i].scale = 1.0f;
        }
    }
    if (from >= to)
        return;
    group_values(v, one, n, weights, column, n_columns, from, to);
    for (int i = 0; i < n; i++) {
        one[i].scale = 1.0f;
        if (to < one[i].to)
            group_values(v, &one[i], 1, weights + i * SCORE_STRIDE, column, n_columns, to, one[i].to);
    }
}

/* Values of all groups in the columns of v. */
static void block_values(struct attend_tile *tile, int n, struct rows v, int column, int n_columns)
{
    for (int i = 0; i < n; i += ATTEND_GROUP)
        ragged_values(v, tile->query + i, attend_min(ATTEND_GROUP, n - i), tile->scores + i * SCORE_STRIDE, column,
                      n_columns);
}

static void all_values(const struct attend_piece *a, struct attend_tile *tile, int n)
{
    if (n <= ATTEND_DIRECT) {
        size_t fetch = a->v == a->k ? 0 : kv_row_size(a->type, (size_t) a->n_v);
        block_values(tile, n, (struct rows){(enum form) a->type, a->v, a->v_stride, fetch}, 0, a->n_v);
        return;
    }
    int from, to;
    union_of(tile->query, n, &from, &to);
    for (int column = 0; column < a->n_v; column += V_TILE_COLUMNS) {
        int m = attend_min(V_TILE_COLUMNS, a->n_v - column);
        block_values(tile, n, tile_values(a, column, m, from, to, tile->v), column, m);
    }
}

static void attend_tiled(const struct attend_piece *a)
{
    if (a->n_k > ATTEND_K_MAX) {
        attend_scalar(a);
        return;
    }
    struct attend_tile tile;
    for (int next = 0; next < a->n_q;) {
        int n = take_queries(a, &next, tile.query);
        all_scores(a, &tile, n);
        n = all_weights(a->type, &tile, n);
        all_values(a, &tile, n);
    }
}

#endif
