/*
 * attend_avx512.c - attention for AVX-512: the inner loops behind attend_tile.h
 *
 * Scores: 4 queries x 4 positions make 16 sums of 16 lanes, which one transposing
 * tree folds into 16 scores. Values: 4 queries x 64 columns in 16 registers.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
enum { ATTEND_GROUP = 4 };

#include "kernel/attend_tile.h"
#include "kernel/ops_avx512.h"

#define INLINE static inline __attribute__((always_inline))

/* 16 values from column i on (a multiple of 16), as floats; lanes outside the mask are zero. */
INLINE __m512 load16(enum kv_type type, const uint8_t *row, int i, __mmask16 mask)
{
    if (type == KV_F32)
        return _mm512_maskz_loadu_ps(mask, row + 4 * (size_t) i);
    if (type == KV_F16) {
        const uint8_t *at = row + 2 * (size_t) i;
        if (mask == 0xffff)
            return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) at));
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, at));
    }
    /* q8_0: rows are whole blocks, so the mask is full. |q| < 2^7 times a half is exact. */
    const uint8_t *block = row + (size_t) (i / 32) * 34;
    uint16_t d;
    memcpy(&d, block, 2);
    __m512i q = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *) (block + 2 + i % 32)));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(q), _mm512_set1_ps(_cvtsh_ss(d)));
}

INLINE void load_row_as(enum kv_type type, const uint8_t *row, int first, int n, float *out)
{
    for (int i = 0; i < n; i += 16)
        _mm512_storeu_ps(out + i, load16(type, row, first + i, first_lanes(n - i)));
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
INLINE void store_scores(int n, __m512 sum[4][4], float *scores)
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

INLINE void add_products(enum kv_type type, int n, const struct attend_query *query, const uint8_t *const row[4], int i,
                         __mmask16 mask, __m512 sum[4][4])
{
    __m512 k[4];
    for (int j = 0; j < 4; j++)
        k[j] = load16(type, row[j], i, mask);
    for (int a = 0; a < n; a++) {
        __m512 q = _mm512_maskz_loadu_ps(mask, query[a].q + i);
        for (int j = 0; j < 4; j++)
            sum[a][j] = _mm512_fmadd_ps(q, k[j], sum[a][j]);
    }
}

INLINE void scores_as(enum kv_type type, int n, const struct attend_query *query, int n_k, const uint8_t *k,
                      size_t stride, int from, int to, float *scores)
{
    for (int p = from; p < to; p += 4) {
        /* Behind the range the last row is read again; nobody reads those scores. */
        const uint8_t *row[4];
        for (int j = 0; j < 4; j++)
            row[j] = k + (size_t) attend_min(p + j, to - 1) * stride;
        __m512 sum[4][4];
        for (int a = 0; a < 4; a++)
            for (int j = 0; j < 4; j++)
                sum[a][j] = _mm512_setzero_ps();
        /*
         * The hardware follows rows read side by side badly: from memory, 16 queries of a 576 wide latent gain
         * from 83 to 92 Gflop/s when the next four rows (of f16) are fetched in order meanwhile.
         */
        const uint8_t *next = row[0] + 4 * stride;
        int i = 0;
        for (; i + 16 <= n_k; i += 16, next += 128) {
            __builtin_prefetch(next);
            __builtin_prefetch(next + 64);
            add_products(type, n, query, row, i, 0xffff, sum);
        }
        if (i < n_k)
            add_products(type, n, query, row, i, first_lanes(n_k - i), sum);
        if (n == 1)
            store_scores_of_one(sum[0], scores + p);
        else
            store_scores(n, sum, scores + p);
    }
}

/* Runs body with n as a constant, so that sums live in registers. */
#define FOR_GROUP(n, body)   \
    switch (n) {             \
    case 1: body(1); break;  \
    case 2: body(2); break;  \
    case 3: body(3); break;  \
    default: body(4); break; \
    }

static void group_scores(enum kv_type type, const struct attend_query *query, int n, int n_k, const uint8_t *k,
                         size_t stride, int from, int to, float *scores)
{
#define F32_SCORES(m) scores_as(KV_F32, m, query, n_k, k, stride, from, to, scores)
#define F16_SCORES(m) scores_as(KV_F16, m, query, n_k, k, stride, from, to, scores)
#define Q8_SCORES(m) scores_as(KV_Q8_0, m, query, n_k, k, stride, from, to, scores)
    if (type == KV_F32)
        FOR_GROUP(n, F32_SCORES)
    else if (type == KV_F16)
        FOR_GROUP(n, F16_SCORES)
    else
        FOR_GROUP(n, Q8_SCORES)
}

static bool weigh(struct attend_query *query, float *scores)
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
        sum = _mm512_add_ps(sum, w);
        _mm512_storeu_ps(scores + p, w);
    }
    query->scale = state->max == most ? 1.0f : exp_scalar(state->max - most);
    state->sum = fmaf(state->sum, query->scale, fold16_avx512(sum));
    state->max = most;
    return true;
}

/* n queries x n_vectors * 16 columns; the mask is for a last vector that is not full. */
INLINE void values_as(enum kv_type type, int n, int n_vectors, __mmask16 mask, const struct attend_query *query,
                      const float *weights, const uint8_t *v, size_t stride, int i, int column, int from, int to)
{
    __m512 acc[4][16];
    for (int a = 0; a < n; a++)
        for (int j = 0; j < n_vectors; j++)
            acc[a][j] = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, query[a].acc + column + i + 16 * j),
                                      _mm512_set1_ps(query[a].scale));
    for (int p = from; p < to; p++) {
        const uint8_t *row = v + (size_t) p * stride;
        __m512 value[16];
        for (int j = 0; j < n_vectors; j++)
            value[j] = load16(type, row, i + 16 * j, mask);
        for (int a = 0; a < n; a++) {
            __m512 w = _mm512_set1_ps(weights[a * SCORE_STRIDE + p]);
            for (int j = 0; j < n_vectors; j++)
                acc[a][j] = _mm512_fmadd_ps(w, value[j], acc[a][j]);
        }
    }
    for (int a = 0; a < n; a++)
        for (int j = 0; j < n_vectors; j++)
            _mm512_mask_storeu_ps(query[a].acc + column + i + 16 * j, mask, acc[a][j]);
}

/* All columns of a group: as many at once as registers hold, then one vector at a time. */
INLINE void columns_as(enum kv_type type, int n, const struct attend_query *query, const float *weights,
                       const uint8_t *v, size_t stride, int column, int n_columns, int from, int to)
{
    int i = 0;
    if (n == 1)
        for (; i + 128 <= n_columns; i += 128)
            values_as(type, n, 8, 0xffff, query, weights, v, stride, i, column, from, to);
    for (; i + 64 <= n_columns; i += 64)
        values_as(type, n, 4, 0xffff, query, weights, v, stride, i, column, from, to);
    for (; i + 16 <= n_columns; i += 16)
        values_as(type, n, 1, 0xffff, query, weights, v, stride, i, column, from, to);
    if (i < n_columns)
        values_as(type, n, 1, first_lanes(n_columns - i), query, weights, v, stride, i, column, from, to);
}

static void group_values(enum kv_type type, const struct attend_query *query, int n, const float *weights,
                         const uint8_t *v, size_t stride, int column, int n_columns, int from, int to)
{
#define F32_VALUES(m) columns_as(KV_F32, m, query, weights, v, stride, column, n_columns, from, to)
#define F16_VALUES(m) columns_as(KV_F16, m, query, weights, v, stride, column, n_columns, from, to)
#define Q8_VALUES(m) columns_as(KV_Q8_0, m, query, weights, v, stride, column, n_columns, from, to)
    if (type == KV_F32)
        FOR_GROUP(n, F32_VALUES)
    else if (type == KV_F16)
        FOR_GROUP(n, F16_VALUES)
    else
        FOR_GROUP(n, Q8_VALUES)
}

void attend_avx512(const struct attend_piece *piece)
{
    attend_tiled(piece);
}
