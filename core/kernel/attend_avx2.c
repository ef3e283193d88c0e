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
INLINE __m256 load8(enum form form, const uint8_t *row, int i)
{
    if (form == FORM_F32 || form == FORM_BF16_TILE)
        return _mm256_loadu_ps((const float *) (row + 4 * (size_t) i));
    if (form == FORM_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (row + 2 * (size_t) i)));
    if (form == FORM_BF16) {
        __m256i upper = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *) (row + 2 * (size_t) i)));
        return _mm256_castsi256_ps(_mm256_slli_epi32(upper, 16));
    }
    /* q8_0: |q| < 2^7 times a half is exact. */
    const uint8_t *block = row + (size_t) (i / 32) * 34;
    uint16_t d;
    memcpy(&d, block, 2);
    __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *) (block + 2 + i % 32)));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(q), _mm256_set1_ps(_cvtsh_ss(d)));
}

/* The same where fewer than 8 are left: zeros behind them. A row of q8_0 has no such end. */
INLINE __m256 load_tail(enum form form, const uint8_t *row, int i, int n)
{
    uint8_t tail[32] = {0};
    size_t size = form == FORM_F32 || form == FORM_BF16_TILE ? 4 : 2;
    memcpy(tail, row + size * (size_t) i, size * (size_t) n);
    return load8(form, tail, 0);
}

/* n values from column i on, 0 and less for none. */
INLINE __m256 load_some(enum form form, const uint8_t *row, int i, int n)
{
    if (n >= 8)
        return load8(form, row, i);
    return n > 0 ? load_tail(form, row, i, n) : _mm256_setzero_ps();
}

/* 8 pairs of bf16 at column i: the odd ones, and the even ones. */
INLINE void load_pairs(const uint8_t *row, int i, __m256 *odd, __m256 *even)
{
    __m256i pairs = _mm256_loadu_si256((const __m256i *) (row + 2 * (size_t) i));
    *odd = _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int) 0xffff0000)));
    *even = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}

void load_query_avx2(enum kv_type type, float scale, const float *q, int n, void *out)
{
    if (type != KV_BF16) {
        scale_avx2(scale, q, n, out);
        return;
    }
    float *to = out;
    for (int i = 0; i < kv_bf16_columns(n); i += 16) {
        __m256 a = bf16_avx2(_mm256_mul_ps(load_first(q + i, n - i), _mm256_set1_ps(scale)));
        __m256 b = bf16_avx2(_mm256_mul_ps(load_first(q + i + 8, n - i - 8), _mm256_set1_ps(scale)));
        /* Shuffles work in 128-bit halves. */
        __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
        __m256d odd = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd));
        float *first = to + i / 32 * 32 + i % 32 / 2;
        _mm256_storeu_ps(first, _mm256_castpd_ps(_mm256_permute4x64_pd(odd, 0xd8)));
        _mm256_storeu_ps(first + 16, _mm256_castpd_ps(_mm256_permute4x64_pd(even, 0xd8)));
    }
}

INLINE void values_to_floats(enum form form, const uint8_t *row, int column, int n, float *out)
{
    for (int i = 0; i < n; i += 8)
        _mm256_store_ps(out + i, load_some(form, row, column + i, n - i));
}

/* A row of keys as floats in the order of load_query. */
INLINE void key_to_floats(enum form form, const uint8_t *row, int n, float *out)
{
    __m256 odd, even;
    if (form != FORM_BF16) {
        values_to_floats(form, row, 0, n, out);
        return;
    }
    for (int i = 0; i < n; i += 32)
        for (int half = 0; half < 2; half++) {
            load_pairs(row, i + 16 * half, &odd, &even);
            _mm256_store_ps(out + i + 8 * half, odd);
            _mm256_store_ps(out + i + 16 + 8 * half, even);
        }
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
INLINE void add_products(enum form form, int n, const struct attend_query *query, int n_rows,
                         const uint8_t *const row[4], int i, int left, __m256 sum[4][2])
{
    for (int half = 0; half < 2; half++) {
        int at = i + 8 * half, some = left - 8 * half;
        __m256 q[2];
        for (int a = 0; a < n; a++)
            q[a] = load_some(FORM_F32, query[a].q, at, some);
        for (int j = 0; j < n_rows; j++) {
            __m256 k = load_some(form, row[j], at, some);
            for (int a = 0; a < n; a++)
                sum[a * n_rows + j][half] = _mm256_fmadd_ps(q[a], k, sum[a * n_rows + j][half]);
        }
    }
}

/* The same of a block of bf16, in pairs. */
INLINE void add_pair_products(int n, const struct attend_query *query, int n_rows, const uint8_t *const row[4], int i,
                              __m256 sum[4][2])
{
    for (int half = 0; half < 2; half++)
        for (int j = 0; j < n_rows; j++) {
            __m256 odd, even;
            load_pairs(row[j], i + 16 * half, &odd, &even);
            for (int a = 0; a < n; a++) {
                const float *q = (const float *) query[a].q + i + 8 * half;
                __m256 *s = &sum[a * n_rows + j][half];
                *s = _mm256_fmadd_ps(_mm256_loadu_ps(q), odd, *s);
                *s = _mm256_fmadd_ps(_mm256_loadu_ps(q + 16), even, *s);
            }
        }
}

INLINE void scores_as(int n, enum form form, const struct attend_query *query, int n_k, struct rows k, int from, int to,
                      float *scores)
{
    const int n_rows = n == 1 ? 4 : 2;
    for (int p = from; p < to; p += n_rows) {
        /* Behind the range the last row is read again; nobody reads those scores. */
        const uint8_t *row[4];
        for (int j = 0; j < n_rows; j++)
            row[j] = k.first + (size_t) attend_min(p + j, to - 1) * k.stride;
        __m256 sum[4][2];
        for (int j = 0; j < 4; j++)
            sum[j][0] = sum[j][1] = _mm256_setzero_ps();
        int i = 0;
        for (; form == FORM_BF16 && i < n_k; i += 32)
            add_pair_products(n, query, n_rows, row, i, sum);
        for (; i + 16 <= n_k; i += 16)
            add_products(form, n, query, n_rows, row, i, 16, sum);
        if (i < n_k)
            add_products(form, n, query, n_rows, row, i, n_k - i, sum);
        __m128 s = fold4(sum);
        if (n == 1) {
            _mm_storeu_ps(scores + p, s);
        } else {
            _mm_storel_pi((__m64 *) (scores + p), s);
            _mm_storeh_pi((__m64 *) (scores + SCORE_STRIDE + p), s);
        }
    }
}

/* Calls f with n as a constant, so that sums live in registers. */
#define FOR_GROUP(n, f, ...)           \
    switch (n) {                       \
    case 1: f(1, __VA_ARGS__); break;  \
    default: f(2, __VA_ARGS__); break; \
    }

/* Scores p .. p + 7, those outside the range lowered to -INFINITY. */
static __m256 load_scores(const struct attend_query *query, const float *scores, int p)
{
    __m256i at = _mm256_add_epi32(_mm256_set1_epi32(p), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256i seen = _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(query->from), at),
                                       _mm256_cmpgt_epi32(_mm256_set1_epi32(query->to), at));
    return _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), _mm256_loadu_ps(scores + p), _mm256_castsi256_ps(seen));
}

static bool weigh(enum kv_type type, struct attend_query *query, float *scores)
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
        if (type == KV_BF16)
            w = bf16_avx2(w);
        sum[p / 8 % 2] = _mm256_add_ps(sum[p / 8 % 2], w);
        _mm256_storeu_ps(scores + p, w);
    }
    query->scale = state->max == most ? 1.0f : exp_scalar(state->max - most);
    state->sum = fmaf(state->sum, query->scale, fold16_avx2(sum[0], sum[1]));
    state->max = most;
    return true;
}

/* Results times the query's scale, which is not 1; sums over bf16 are made fit for more. */
INLINE __m256 scaled(enum form form, const struct attend_query *query, __m256 acc)
{
    acc = _mm256_mul_ps(acc, _mm256_set1_ps(query->scale));
    if (!has_pairs(form))
        return acc;
    __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), acc);
    return _mm256_and_ps(acc, _mm256_cmp_ps(size, _mm256_set1_ps(BF16_LEAST_SUM), _CMP_NLT_UQ));
}

INLINE void add_position(enum form form, int n, int n_vectors, const float *weights, struct rows v, int i, int p,
                         __m256 acc[2][8])
{
    const uint8_t *row = v.first + (size_t) p * v.stride;
    __m256 w[2];
    for (int a = 0; a < n; a++)
        w[a] = _mm256_set1_ps(weights[a * SCORE_STRIDE + p]);
    for (int j = 0; j < n_vectors; j++) {
        __m256 value = load8(form, row, i + 8 * j);
        for (int a = 0; a < n; a++)
            acc[a][j] = _mm256_fmadd_ps(w[a], value, acc[a][j]);
    }
}

/* n queries x n_vectors * 8 columns. */
INLINE void values_as(enum form form, int n, int n_vectors, const struct attend_query *query, const float *weights,
                      struct rows v, int i, int column, int from, int to)
{
    __m256 acc[2][8];
    for (int a = 0; a < n; a++) {
        for (int j = 0; j < n_vectors; j++)
            acc[a][j] = _mm256_loadu_ps(query[a].acc + column + i + 8 * j);
        for (int j = 0; j < n_vectors && query[a].scale != 1; j++)
            acc[a][j] = scaled(form, &query[a], acc[a][j]);
    }
    for (int at = has_pairs(form) ? from / 2 * 2 : from; at < to; at += has_pairs(form) ? 2 : 1) {
        if (form == FORM_BF16 && i == 0)
            fetch_pair(v, at);
        if (has_pairs(form) && at + 1 < to)
            add_position(form, n, n_vectors, weights, v, i, at + 1, acc);
        if (!has_pairs(form) || at >= from)
            add_position(form, n, n_vectors, weights, v, i, at, acc);
    }
    for (int a = 0; a < n; a++)
        for (int j = 0; j < n_vectors; j++)
            _mm256_storeu_ps(query[a].acc + column + i + 8 * j, acc[a][j]);
}

/* The last columns of one query, fewer than 8. */
INLINE void value_tail_as(enum form form, const struct attend_query *query, const float *weights, struct rows v, int i,
                          int column, int left, int from, int to)
{
    float acc[8] = {0}, values[ATTEND_PIECE][8], *out = query->acc + column + i;
    memcpy(acc, out, (size_t) left * sizeof *out);
    for (int p = from; p < to; p++)
        _mm256_storeu_ps(values[p], load_tail(form, v.first + (size_t) p * v.stride, i, left));
    struct attend_query tail = *query;
    tail.acc = acc;
    struct rows of_tail = {has_pairs(form) ? FORM_BF16_TILE : FORM_F32, (const uint8_t *) values, sizeof values[0], 0};
    values_as(has_pairs(form) ? FORM_BF16_TILE : FORM_F32, 1, 1, &tail, weights, of_tail, 0, 0, from, to);
    memcpy(out, acc, (size_t) left * sizeof *out);
}

INLINE void columns_as(int n, enum form form, const struct attend_query *query, const float *weights, struct rows v,
                       int column, int n_columns, int from, int to)
{
    int i = 0;
    if (n == 1)
        for (; i + 64 <= n_columns; i += 64)
            values_as(form, n, 8, query, weights, v, i, column, from, to);
    for (; i + 32 <= n_columns; i += 32)
        values_as(form, n, 4, query, weights, v, i, column, from, to);
    for (; i + 8 <= n_columns; i += 8)
        values_as(form, n, 1, query, weights, v, i, column, from, to);
    for (int a = 0; a < n && i < n_columns; a++)
        value_tail_as(form, query + a, weights + a * SCORE_STRIDE, v, i, column, n_columns - i, from, to);
}

#include "kernel/attend_float.h"

void attend_avx2(const struct attend_piece *piece)
{
    attend_tiled(piece);
}
