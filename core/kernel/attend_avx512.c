/*
 * attend_avx512.c - attention for AVX-512: the inner loops behind attend_tile.h
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/attend_avx512.h"

/* 16 values from column i on (a multiple of 16), as floats; lanes outside the mask are zero. */
INLINE __m512 load16(enum form form, const uint8_t *row, int i, __mmask16 mask)
{
    if (form == FORM_F32 || form == FORM_BF16_TILE)
        return _mm512_maskz_loadu_ps(mask, row + 4 * (size_t) i);
    if (form == FORM_F16) {
        const uint8_t *at = row + 2 * (size_t) i;
        if (mask == 0xffff)
            return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) at));
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, at));
    }
    if (form == FORM_BF16) {
        __m256i upper = _mm256_loadu_si256((const __m256i *) (row + 2 * (size_t) i));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(upper), 16));
    }
    /* q8_0: rows are whole blocks, so the mask is full. |q| < 2^7 times a half is exact. */
    const uint8_t *block = row + (size_t) (i / 32) * 34;
    uint16_t d;
    memcpy(&d, block, 2);
    __m512i q = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *) (block + 2 + i % 32)));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(q), _mm512_set1_ps(_cvtsh_ss(d)));
}

/* 16 pairs of bf16 at column i: the odd ones, and the even ones. */
INLINE void load_pairs(const uint8_t *row, int i, __m512 *odd, __m512 *even)
{
    __m512i pairs = _mm512_loadu_si512(row + 2 * (size_t) i);
    *odd = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int) 0xffff0000)));
    *even = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}

void load_query_avx512(enum kv_type type, float scale, const float *q, int n, void *out)
{
    if (type != KV_BF16) {
        scale_avx512(scale, q, n, out);
        return;
    }
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    float *to = out;
    for (int i = 0; i < n; i += 32) {
        __m512 a = _mm512_maskz_loadu_ps(first_lanes(n - i), q + i);
        __m512 b = _mm512_maskz_loadu_ps(first_lanes(n - i - 16), q + i + 16);
        a = bf16_avx512(_mm512_mul_ps(a, _mm512_set1_ps(scale)));
        b = bf16_avx512(_mm512_mul_ps(b, _mm512_set1_ps(scale)));
        _mm512_storeu_ps(to + i, _mm512_permutex2var_ps(a, odd, b));
        _mm512_storeu_ps(to + i + 16, _mm512_permutex2var_ps(a, _mm512_sub_epi32(odd, _mm512_set1_epi32(1)), b));
    }
}

INLINE void values_to_floats(enum form form, const uint8_t *row, int column, int n, float *out)
{
    for (int i = 0; i < n; i += 16)
        _mm512_store_ps(out + i, load16(form, row, column + i, first_lanes(n - i)));
}

/* A row of keys as floats in the order of load_query. */
INLINE void key_to_floats(enum form form, const uint8_t *row, int n, float *out)
{
    __m512 odd, even;
    if (form != FORM_BF16) {
        values_to_floats(form, row, 0, n, out);
        return;
    }
    for (int i = 0; i < n; i += 32) {
        load_pairs(row, i, &odd, &even);
        _mm512_store_ps(out + i, odd);
        _mm512_store_ps(out + i + 16, even);
    }
}

INLINE void add_products(enum form form, int n, const struct attend_query *query, const uint8_t *const row[4], int i,
                         __mmask16 mask, __m512 sum[4][4])
{
    __m512 k[4];
    for (int j = 0; j < 4; j++)
        k[j] = load16(form, row[j], i, mask);
    for (int a = 0; a < n; a++) {
        __m512 q = _mm512_maskz_loadu_ps(mask, (const float *) query[a].q + i);
        for (int j = 0; j < 4; j++)
            sum[a][j] = _mm512_fmadd_ps(q, k[j], sum[a][j]);
    }
}

/* The same of a block of bf16, in pairs. */
INLINE void add_pair_products(int n, const struct attend_query *query, const uint8_t *const row[4], int i,
                              __m512 sum[4][4])
{
    for (int j = 0; j < 4; j++) {
        __m512 odd, even;
        load_pairs(row[j], i, &odd, &even);
        for (int a = 0; a < n; a++) {
            const float *q = (const float *) query[a].q + i;
            sum[a][j] = _mm512_fmadd_ps(_mm512_loadu_ps(q), odd, sum[a][j]);
            sum[a][j] = _mm512_fmadd_ps(_mm512_loadu_ps(q + 16), even, sum[a][j]);
        }
    }
}

INLINE void scores_as(int n, enum form form, const struct attend_query *query, int n_k, struct rows k, int from, int to,
                      float *scores)
{
    for (int p = from; p < to; p += 4) {
        const uint8_t *row[4];
        __m512 sum[4][4];
        start_scores(k, p, to, row, sum);
        /*
         * The hardware follows rows read side by side badly: from memory, 16 queries of a 576 wide latent gain
         * from 83 to 92 Gflop/s when the next four rows (of f16) are fetched in order meanwhile.
         */
        const uint8_t *next = row[0] + 4 * k.stride;
        int i = 0;
        for (; form == FORM_BF16 && i < n_k; i += 32, next += 256) {
            for (int j = 0; j < 4; j++)
                __builtin_prefetch(next + 64 * j);
            add_pair_products(n, query, row, i, sum);
        }
        for (; i + 16 <= n_k; i += 16, next += 128) {
            __builtin_prefetch(next);
            __builtin_prefetch(next + 64);
            add_products(form, n, query, row, i, 0xffff, sum);
        }
        if (i < n_k)
            add_products(form, n, query, row, i, first_lanes(n_k - i), sum);
        store_scores(n, sum, scores + p);
    }
}

static bool weigh(enum kv_type type, struct attend_query *query, float *scores)
{
    return weigh_floats(type, query, scores);
}

INLINE void add_position(enum form form, int n, int n_vectors, __mmask16 mask, const float *weights, struct rows v,
                         int i, int p, __m512 acc[4][16])
{
    const uint8_t *row = v.first + (size_t) p * v.stride;
    __m512 value[16];
    for (int j = 0; j < n_vectors; j++)
        value[j] = load16(form, row, i + 16 * j, mask);
    for (int a = 0; a < n; a++) {
        __m512 w = _mm512_set1_ps(weights[a * SCORE_STRIDE + p]);
        for (int j = 0; j < n_vectors; j++)
            acc[a][j] = _mm512_fmadd_ps(w, value[j], acc[a][j]);
    }
}

/* n queries x n_vectors * 16 columns; the mask is for a last vector that is not full. */
INLINE void values_as(enum form form, int n, int n_vectors, __mmask16 mask, const struct attend_query *query,
                      const float *weights, struct rows v, int i, int column, int from, int to)
{
    __m512 acc[4][16];
    for (int a = 0; a < n; a++) {
        for (int j = 0; j < n_vectors; j++)
            acc[a][j] = _mm512_maskz_loadu_ps(mask, query[a].acc + column + i + 16 * j);
        for (int j = 0; j < n_vectors && query[a].scale != 1; j++)
            acc[a][j] = scaled(form, &query[a], acc[a][j]);
    }
    for (int at = has_pairs(form) ? from / 2 * 2 : from; at < to; at += has_pairs(form) ? 2 : 1) {
        if (form == FORM_BF16 && i == 0)
            fetch_pair(v, at);
        if (has_pairs(form) && at + 1 < to)
            add_position(form, n, n_vectors, mask, weights, v, i, at + 1, acc);
        if (!has_pairs(form) || at >= from)
            add_position(form, n, n_vectors, mask, weights, v, i, at, acc);
    }
    for (int a = 0; a < n; a++)
        for (int j = 0; j < n_vectors; j++)
            _mm512_mask_storeu_ps(query[a].acc + column + i + 16 * j, mask, acc[a][j]);
}

/* All columns of a group: as many at once as registers hold, then one vector at a time. */
INLINE void columns_as(int n, enum form form, const struct attend_query *query, const float *weights, struct rows v,
                       int column, int n_columns, int from, int to)
{
    int i = 0;
    if (n == 1)
        for (; i + 128 <= n_columns; i += 128)
            values_as(form, n, 8, 0xffff, query, weights, v, i, column, from, to);
    for (; i + 64 <= n_columns; i += 64)
        values_as(form, n, 4, 0xffff, query, weights, v, i, column, from, to);
    for (; i + 16 <= n_columns; i += 16)
        values_as(form, n, 1, 0xffff, query, weights, v, i, column, from, to);
    if (i < n_columns)
        values_as(form, n, 1, first_lanes(n_columns - i), query, weights, v, i, column, from, to);
}

#include "kernel/attend_float.h"

void attend_avx512(const struct attend_piece *piece)
{
    attend_tiled(piece);
}
