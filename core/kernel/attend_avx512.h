/*
 * attend_avx512.h - what attention has in common with and without products of bf16
 *
 * Scores: 4 queries x 4 positions make 16 sums of 16 lanes, which one transposing
 * tree folds into 16 scores. Values: 4 queries x 64 columns in 16 registers.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef KERNEL_ATTEND_AVX512_H
#define KERNEL_ATTEND_AVX512_H

enum { ATTEND_GROUP = 4 };

#include "kernel/attend_tile.h"
#include "kernel/ops_avx512.h"

#define INLINE static inline __attribute__((always_inline))

/* Calls f with n as a constant, so that sums live in registers. */
#define FOR_GROUP(n, f, ...)           \
    switch (n) {                       \
    case 1: f(1, __VA_ARGS__); break;  \
    case 2: f(2, __VA_ARGS__); break;  \
    case 3: f(3, __VA_ARGS__); break;  \
    default: f(4, __VA_ARGS__); break; \
    }

/* Four vectors of 16 lanes folded by 8 and 4: block j of the result holds the 4 lanes of vector j. */
INLINE __m512 fold_to_4(__m512 a, __m512 b, __m512 c, __m512 d)
{
    __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
}

/* Lanes folded by 2 and 1: lane 4 i + j of the result is sum j of block i. */
INLINE __m512 fold_to_1(__m512 a, __m512 b, __m512 c, __m512 d)
{
    __m512 ab = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    __m512 cd = _mm512_add_ps(_mm512_shuffle_ps(c, d, 0x44), _mm512_shuffle_ps(c, d, 0xee));
    return _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x88), _mm512_shuffle_ps(ab, cd, 0xdd));
}

/* Scores of n queries at the 4 positions that sum holds lanes of. */
INLINE void store_scores_of_many(int n, __m512 sum[4][4], float *scores)
{
    __m512 part[4];
    for (int j = 0; j < 4; j++)
        part[j] = fold_to_4(sum[0][j], sum[1][j], sum[2][j], sum[3][j]);
    __m512 s = fold_to_1(part[0], part[1], part[2], part[3]);
    _mm_storeu_ps(scores, _mm512_castps512_ps128(s));
    if (n > 1)
        _mm_storeu_ps(scores + SCORE_STRIDE, _mm512_extractf32x4_ps(s, 1));
    if (n > 2)
        _mm_storeu_ps(scores + 2 * SCORE_STRIDE, _mm512_extractf32x4_ps(s, 2));
    if (n > 3)
        _mm_storeu_ps(scores + 3 * SCORE_STRIDE, _mm512_extractf32x4_ps(s, 3));
}

/* The same for one query. */
INLINE void store_scores_of_one(const __m512 sum[4], float *scores)
{
    __m512 s = fold_to_4(sum[0], sum[1], sum[2], sum[3]);
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0x4e));
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0xb1));
    const __m512i blocks = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    _mm_storeu_ps(scores, _mm512_castps512_ps128(_mm512_permutexvar_ps(blocks, s)));
}

INLINE void store_scores(int n, __m512 sum[4][4], float *scores)
{
    if (n == 1)
        store_scores_of_one(sum[0], scores);
    else
        store_scores_of_many(n, sum, scores);
}

/*
 * Rows of the four positions from p on, and sums of nothing. Behind the range the last row is read again; nobody reads
 * those scores.
 */
INLINE void start_scores(struct rows k, int p, int to, const uint8_t *row[4], __m512 sum[4][4])
{
    for (int j = 0; j < 4; j++)
        row[j] = k.first + (size_t) attend_min(p + j, to - 1) * k.stride;
    for (int a = 0; a < 4; a++)
        for (int j = 0; j < 4; j++)
            sum[a][j] = _mm512_setzero_ps();
}

/* weigh() of attend_tile.h; weights stay floats. */
static bool weigh_floats(enum kv_type type, struct attend_query *query, float *scores)
{
    const __m512 lowest = _mm512_set1_ps(-INFINITY);
    struct attend_state *state = query->state;
    int first = query->from & ~15;
    uint64_t seen = (query->to == 64 ? 0 : UINT64_C(1) << query->to) - (UINT64_C(1) << query->from);
    __m512 max = _mm512_set1_ps(state->max), sum = _mm512_setzero_ps();
    for (int p = first; p < query->to; p += 16)
        max = _mm512_max_ps(_mm512_mask_loadu_ps(lowest, (__mmask16) (seen >> p), scores + p), max);
    float most = _mm512_reduce_max_ps(max);
    if (most == -INFINITY)
        return false;
    for (int p = first; p < query->to; p += 16) {
        __m512 s = _mm512_mask_loadu_ps(lowest, (__mmask16) (seen >> p), scores + p);
        __m512 w = exp_avx512(_mm512_sub_ps(s, _mm512_set1_ps(most)));
        if (type == KV_BF16)
            w = bf16_avx512(w);
        sum = _mm512_add_ps(sum, w);
        _mm512_storeu_ps(scores + p, w);
    }
    query->scale = state->max == most ? 1.0f : exp_scalar(state->max - most);
    state->sum = fmaf(state->sum, query->scale, fold16_avx512(sum));
    state->max = most;
    return true;
}

/* Results times the query's scale, which is not 1; sums over bf16 are made fit for more. */
INLINE __m512 scaled(enum form form, const struct attend_query *query, __m512 acc)
{
    acc = _mm512_mul_ps(acc, _mm512_set1_ps(query->scale));
    if (!has_pairs(form))
        return acc;
    __mmask16 counts = _mm512_cmp_ps_mask(_mm512_abs_ps(acc), _mm512_set1_ps(BF16_LEAST_SUM), _CMP_NLT_UQ);
    return _mm512_maskz_mov_ps(counts, acc);
}

#endif
