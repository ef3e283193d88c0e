/*
 * attend_tile.h - how the vector kernels walk over a piece of cache
 *
 * Included once by each attend_LEVEL.c, which says before
 *
 *   ATTEND_GROUP    queries that share the registers of one inner loop
 *
 * and defines behind it what depends on the vector width:
 *
 *   load_row()      values of a cached row as floats
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

/* A query that sees something of this piece. */
struct attend_query {
    const float *q;
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

/* Values first .. first + n - 1 of a row; first is a multiple of 32. May write up to a multiple of 16. */
static void load_row(enum kv_type type, const uint8_t *row, int first, int n, float *out);

/* scores[i * SCORE_STRIDE + p] = q[i] . row p, for from <= p < to and i < n <= ATTEND_GROUP. */
static void group_scores(enum kv_type type, const struct attend_query *query, int n, int n_k, const uint8_t *k,
                         size_t stride, int from, int to, float *scores);

/* scores[p] becomes the weight of position p, 0 outside the query's range. False when all scores are -INFINITY. */
static bool weigh(struct attend_query *query, float *scores);

/*
 * acc[i][column + j] = acc * scale + sum of weight * value, for j < n_columns; v is
 * row 0's value of that column. All n queries see exactly the positions from .. to - 1.
 */
static void group_values(enum kv_type type, const struct attend_query *query, int n, const float *weights,
                         const uint8_t *v, size_t stride, int column, int n_columns, int from, int to);

static inline int attend_min(int a, int b)
{
    return a < b ? a : b;
}

static inline int attend_max(int a, int b)
{
    return a > b ? a : b;
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

/* Scores of all groups at the positions p .. end - 1, whose first row is at k. */
static void block_scores(struct attend_tile *tile, int n, enum kv_type type, int n_k, const uint8_t *k, size_t stride,
                         int p, int end)
{
    for (int i = 0; i < n; i += ATTEND_GROUP) {
        int m = attend_min(ATTEND_GROUP, n - i), first, last;
        union_of(tile->query + i, m, &first, &last);
        first = attend_max(first, p) - p;
        last = attend_min(last, end) - p;
        if (first < last)
            group_scores(type, tile->query + i, m, n_k, k, stride, first, last, tile->scores + i * SCORE_STRIDE + p);
    }
}

static void all_scores(const struct attend_piece *a, struct attend_tile *tile, int n)
{
    int from, to;
    union_of(tile->query, n, &from, &to);
    size_t width = ((size_t) a->n_k + 15) & ~(size_t) 15;
    for (int p = from; p < to; p += K_TILE_ROWS) {
        int end = attend_min(p + K_TILE_ROWS, to);
        const uint8_t *k = a->k + (size_t) p * a->k_stride;
        if (n <= ATTEND_DIRECT) {
            block_scores(tile, n, a->type, a->n_k, k, a->k_stride, p, end);
            continue;
        }
        for (int r = 0; r < end - p; r++)
            load_row(a->type, k + (size_t) r * a->k_stride, 0, a->n_k, tile->k + (size_t) r * width);
        block_scores(tile, n, KV_F32, a->n_k, (const uint8_t *) tile->k, width * sizeof(float), p, end);
    }
}

/* Scores to weights; queries without any are dropped. Returns how many are left. */
static int all_weights(struct attend_tile *tile, int n)
{
    int left = 0;
    for (int i = 0; i < n; i++) {
        float *scores = tile->scores + i * SCORE_STRIDE;
        if (!weigh(&tile->query[i], scores))
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
 * sees, and one by one before and behind.
 */
static void ragged_values(enum kv_type type, const struct attend_query *query, int n, const float *weights,
                          const uint8_t *v, size_t stride, int column, int n_columns)
{
    int from = 0, to = ATTEND_PIECE;
    bool same = true;
    for (int i = 0; i < n; i++) {
        from = attend_max(from, query[i].from);
        to = attend_min(to, query[i].to);
        same = same && query[i].from == query[0].from && query[i].to == query[0].to;
    }
    if (same || n == 1) {
        group_values(type, query, n, weights, v, stride, column, n_columns, from, to);
        return;
    }
    struct attend_query one[ATTEND_GROUP];
    for (int i = 0; i < n; i++) {
        one[i] = query[i];
        int end = from < to ? from : one[i].to;
        if (one[i].from < end) {
            group_values(type, &one[i], 1, weights + i * SCORE_STRIDE, v, stride, column, n_columns, one[i].from, end);
            one[i].scale = 1.0f;
        }
    }
    if (from >= to)
        return;
    group_values(type, one, n, weights, v, stride, column, n_columns, from, to);
    for (int i = 0; i < n; i++) {
        one[i].scale = 1.0f;
        if (to < one[i].to)
            group_values(type, &one[i], 1, weights + i * SCORE_STRIDE, v, stride, column, n_columns, to, one[i].to);
    }
}

/* Values of all groups in the given columns, row 0's first of them at v. */
static void block_values(struct attend_tile *tile, int n, enum kv_type type, const uint8_t *v, size_t stride,
                         int column, int n_columns)
{
    for (int i = 0; i < n; i += ATTEND_GROUP)
        ragged_values(type, tile->query + i, attend_min(ATTEND_GROUP, n - i), tile->scores + i * SCORE_STRIDE, v,
                      stride, column, n_columns);
}

static void all_values(const struct attend_piece *a, struct attend_tile *tile, int n)
{
    if (n <= ATTEND_DIRECT) {
        block_values(tile, n, a->type, a->v, a->v_stride, 0, a->n_v);
        return;
    }
    int from, to;
    union_of(tile->query, n, &from, &to);
    for (int column = 0; column < a->n_v; column += V_TILE_COLUMNS) {
        int m = attend_min(V_TILE_COLUMNS, a->n_v - column);
        for (int p = from; p < to; p++)
            load_row(a->type, a->v + (size_t) p * a->v_stride, column, m, tile->v + (size_t) p * V_TILE_COLUMNS);
        block_values(tile, n, KV_F32, (const uint8_t *) tile->v, V_TILE_COLUMNS * sizeof(float), column, m);
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
        n = all_weights(&tile, n);
        all_values(a, &tile, n);
    }
}

#endif
