/*
 * attend_avx2.c - attention for AVX2: the inner loops behind attend_tile.h
 *
 * A sum of 16 lanes takes two registers of the sixteen. Scores: 2 queries x 2
 * positions, or 1 x 4. Values: 2 queries x 32 columns.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
enum { ATTEND_GROUP = 2 };

#include "kernel/attend_tile.h"
#include "kernel/ops_avx2.h"

#define INLINE static inline __attribute__((always_inline))

/* 8 values from column i on (a multiple of 8), as floats. */
INLINE __m256 load8(enum kv_type type, const uint8_t *row, int i)
{
    if (type == KV_F32)
        return _mm256_loadu_ps((const float *) (row + 4 * (size_t) i));
    if (type == KV_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (row + 2 * (size_t) i)));
    /* q8_0: |q| < 2^7 times a half is exact. */
    const uint8_t *block = row + (size_t) (i / 32) * 34;
    uint16_t d;
    memcpy(&d, block, 2);
    __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *) (block + 2 + i % 32)));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(q), _mm256_set1_ps(_cvtsh_ss(d)));
}

/* The same where fewer than 8 are left: zeros behind them. A row of q8_0 has no such end. */
INLINE __m256 load_tail(enum kv_type type, const uint8_t *row, int i, int n)
{
    uint8_t tail[32] = {0};
    size_t size = type == KV_F32 ? 4 : 2;
    memcpy(tail, row + size * (size_t) i, size * (size_t) n);
    return load8(type, tail, 0);
}

/* n values from column i on, 0 and less for none. */
INLINE __m256 load_some(enum kv_type type, const uint8_t *row, int i, int n)
{
    if (n >= 8)
        return load8(type, row, i);
    return n > 0 ? load_tail(type, row, i, n) : _mm256_setzero_ps();
}

INLINE void load_row_as(enum kv_type type, const uint8_t *row, int first, int n, float *out)
{
    for (int i = 0; i < n; i += 8)
        _mm256_storeu_ps(out + i, load_some(type, row, first + i, n - i));
}

static void load_row(enum kv_type type, const uint8_t *row, int first, int n, float *out)
{
    if (type == KV_F16)
        load_row_as(KV_F16, row, first, n, out);
    else if (type == KV_F32)
        load_row_as(KV_F32, row, first, n, out);
    else
        load_row_as(KV_Q8_0, row, first, n, out);
}

/* Four sums of 16 lanes, 8 in each of two vectors, folded by 8, 4, 2 and 1. */
INLINE __m128 fold4(__m256 sum[4][2])
{
    __m256 eight[4];
    for (int j = 0; j < 4; j++)
        eight[j] = _mm256_add_ps(sum[j][0], sum[j][1]);
    /* By 4: the lower half holds sum 0 (or 2), the upper half sum 1 (or 3). */
    __m256 a = _mm256_add_ps(_mm256_permute2f128_ps(eight[0], eight[1], 0x20),
                             _mm256_permute2f128_ps(eight[0], eight[1], 0x31));
    __m256 b = _mm256_add_ps(_mm256_permute2f128_ps(eight[2], eight[3], 0x20),
                             _mm256_permute2f128_ps(eight[2], eight[3], 0x31));
    /* By 2 and 1: sums 0 and 2 in the lower half, 1 and 3 in the upper. */
    __m256 c = _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
    __m256 d = _mm256_add_ps(c, _mm256_movehdup_ps(c));
    __m128 low = _mm256_castps256_ps128(d), high = _mm256_extractf128_ps(d, 1);
    return _mm_unpacklo_ps(_mm_shuffle_ps(low, low, 0x08), _mm_shuffle_ps(high, high, 0x08));
}

/* Products of columns i .. i + 15, of which left exist. */
INLINE void add_products(enum kv_type type, int n, const struct attend_query *query, int n_rows,
                         const uint8_t *const row[4], int i, int left, __m256 sum[4][2])
{
    for (int half = 0; half < 2; half++) {
        int at = i + 8 * half, some = left - 8 * half;
        __m256 q[2];
        for (int a = 0; a < n; a++)
            q[a] = load_some(KV_F32, (const uint8_t *) query[a].q, at, some);
        for (int j = 0; j < n_rows; j++) {
            __m256 k = load_some(type, row[j], at, some);
            for (int a = 0; a < n; a++)
                sum[a * n_rows + j][half] = _mm256_fmadd_ps(q[a], k, sum[a * n_rows + j][half]);
        }
    }
}

INLINE void scores_as(enum kv_type type, int n, const struct attend_query *query, int n_k, const uint8_t *k,
                      size_t stride, int from, int to, float *scores)
{
    const int n_rows = n == 1 ? 4 : 2;
    for (int p = from; p < to; p += n_rows) {
        /* Behind the range the last row is read again; nobody reads those scores. */
        const uint8_t *row[4];
        for (int j = 0; j < n_rows; j++)
            row[j] = k + (size_t) attend_min(p + j, to - 1) * stride;
        __m256 sum[4][2];
        for (int j = 0; j < 4; j++)
            sum[j][0] = sum[j][1] = _mm256_setzero_ps();
        int i = 0;
        for (; i + 16 <= n_k; i += 16)
            add_products(type, n, query, n_rows, row, i, 16, sum);
        if (i < n_k)
            add_products(type, n, query, n_rows, row, i, n_k - i, sum);
        __m128 s = fold4(sum);
        if (n == 1) {
            _mm_storeu_ps(scores + p, s);
        } else {
            _mm_storel_pi((__m64 *) (scores + p), s);
            _mm_storeh_pi((__m64 *) (scores + SCORE_STRIDE + p), s);
        }
    }
}

static void group_scores(enum kv_type type, const struct attend_query *query, int n, int n_k, const uint8_t *k,
                         size_t stride, int from, int to, float *scores)
{
    if (type == KV_F32 && n == 1)
        scores_as(KV_F32, 1, query, n_k, k, stride, from, to, scores);
    else if (type == KV_F32)
        scores_as(KV_F32, 2, query, n_k, k, stride, from, to, scores);
    else if (type == KV_F16 && n == 1)
        scores_as(KV_F16, 1, query, n_k, k, stride, from, to, scores);
    else if (type == KV_F16)
        scores_as(KV_F16, 2, query, n_k, k, stride, from, to, scores);
    else if (n == 1)
        scores_as(KV_Q8_0, 1, query, n_k, k, stride, from, to, scores);
    else
        scores_as(KV_Q8_0, 2, query, n_k, k, stride, from, to, scores);
}

/* Scores p .. p + 7, those outside the range lowered to -INFINITY. */
static __m256 load_scores(const struct attend_query *query, const float *scores, int p)
{
    __m256i at = _mm256_add_epi32(_mm256_set1_epi32(p), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256i seen = _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(query->from), at),
                                       _mm256_cmpgt_epi32(_mm256_set1_epi32(query->to), at));
    return _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), _mm256_loadu_ps(scores + p), _mm256_castsi256_ps(seen));
}

static bool weigh(struct attend_query *query, float *scores)
{
    struct attend_state *state = query->state;
    __m256 max = _mm256_set1_ps(state->max), sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int p = query->from & ~7; p < query->to; p += 8)
        max = _mm256_max_ps(load_scores(query, scores, p), max);
    float most = max8_avx2(max);
    if (most == -INFINITY)
        return false;
    for (int p = query->from & ~7; p < query->to; p += 8) {
        __m256 w = exp_avx2(_mm256_sub_ps(load_scores(query, scores, p), _mm256_set1_ps(most)));
        sum[p / 8 % 2] = _mm256_add_ps(sum[p / 8 % 2], w);
        _mm256_storeu_ps(scores + p, w);
    }
    query->scale = state->max == most ? 1.0f : exp_scalar(state->max - most);
    state->sum = fmaf(state->sum, query->scale, fold16_avx2(sum[0], sum[1]));
    state->max = most;
    return true;
}

/* n queries x n_vectors * 8 columns. */
INLINE void values_as(enum kv_type type, int n, int n_vectors, const struct attend_query *query, const float *weights,
                      const uint8_t *v, size_t stride, int i, int column, int from, int to)
{
    __m256 acc[2][8];
    for (int a = 0; a < n; a++)
        for (int j = 0; j < n_vectors; j++)
            acc[a][j] =
                _mm256_mul_ps(_mm256_loadu_ps(query[a].acc + column + i + 8 * j), _mm256_set1_ps(query[a].scale));
    for (int p = from; p < to; p++) {
        const uint8_t *row = v + (size_t) p * stride;
        __m256 w[2];
        for (int a = 0; a < n; a++)
            w[a] = _mm256_set1_ps(weights[a * SCORE_STRIDE + p]);
        for (int j = 0; j < n_vectors; j++) {
            __m256 value = load8(type, row, i + 8 * j);
            for (int a = 0; a < n; a++)
                acc[a][j] = _mm256_fmadd_ps(w[a], value, acc[a][j]);
        }
    }
    for (int a = 0; a < n; a++)
        for (int j = 0; j < n_vectors; j++)
            _mm256_storeu_ps(query[a].acc + column + i + 8 * j, acc[a][j]);
}

/* The last columns, fewer than 8. */
INLINE void value_tail_as(enum kv_type type, const struct attend_query *query, const float *weights, const uint8_t *v,
                          size_t stride, int i, int column, int left, int from, int to)
{
    float acc[8] = {0}, *out = query->acc + column + i;
    memcpy(acc, out, (size_t) left * sizeof *out);
    __m256 sum = _mm256_mul_ps(_mm256_loadu_ps(acc), _mm256_set1_ps(query->scale));
    for (int p = from; p < to; p++)
        sum = _mm256_fmadd_ps(_mm256_set1_ps(weights[p]), load_tail(type, v + (size_t) p * stride, i, left), sum);
    _mm256_storeu_ps(acc, sum);
    memcpy(out, acc, (size_t) left * sizeof *out);
}

INLINE void columns_as(enum kv_type type, int n, const struct attend_query *query, const float *weights,
                       const uint8_t *v, size_t stride, int column, int n_columns, int from, int to)
{
    int i = 0;
    if (n == 1)
        for (; i + 64 <= n_columns; i += 64)
            values_as(type, n, 8, query, weights, v, stride, i, column, from, to);
    for (; i + 32 <= n_columns; i += 32)
        values_as(type, n, 4, query, weights, v, stride, i, column, from, to);
    for (; i + 8 <= n_columns; i += 8)
        values_as(type, n, 1, query, weights, v, stride, i, column, from, to);
    for (int a = 0; a < n && i < n_columns; a++)
        value_tail_as(type, query + a, weights + a * SCORE_STRIDE, v, stride, i, column, n_columns - i, from, to);
}

static void group_values(enum kv_type type, const struct attend_query *query, int n, const float *weights,
                         const uint8_t *v, size_t stride, int column, int n_columns, int from, int to)
{
    if (type == KV_F32 && n == 1)
        columns_as(KV_F32, 1, query, weights, v, stride, column, n_columns, from, to);
    else if (type == KV_F32)
        columns_as(KV_F32, 2, query, weights, v, stride, column, n_columns, from, to);
    else if (type == KV_F16 && n == 1)
        columns_as(KV_F16, 1, query, weights, v, stride, column, n_columns, from, to);
    else if (type == KV_F16)
        columns_as(KV_F16, 2, query, weights, v, stride, column, n_columns, from, to);
    else if (n == 1)
        columns_as(KV_Q8_0, 1, query, weights, v, stride, column, n_columns, from, to);
    else
        columns_as(KV_Q8_0, 2, query, weights, v, stride, column, n_columns, from, to);
}

void attend_avx2(const struct attend_piece *piece)
{
    attend_tiled(piece);
}
