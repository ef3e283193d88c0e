/*
 * attend_avx512bf16.c - attention over bf16 for AVX-512 with products of bf16
 *
 * vdpbf16ps multiplies 16 pairs and adds both products to 16 sums, the odd one first:
 * what attend_scalar.c says, in half of the instructions that floats take. Keys lie in
 * the cache as the products read them; values are put in pairs of positions, by the
 * way for few queries and in a tile for many. It takes subnormal numbers for zero, of
 * which there are none (BF16_LEAST).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/attend_avx512.h"

static bool is_for_floats(enum kv_type type, int n_k)
{
    return type != KV_BF16 || n_k > ATTEND_K_MAX;
}

void load_query_avx512bf16(enum kv_type type, float scale, const float *q, int n, void *out)
{
    if (is_for_floats(type, n)) {
        load_query_avx512(type, scale, q, n, out);
        return;
    }
    float scaled_q[ATTEND_K_MAX];
    scale_avx512(scale, q, n, scaled_q);
    kv_store_avx512(KV_BF16, scaled_q, n, out);
}

INLINE __m512 add_pairs(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh) a, (__m512bh) b);
}

static struct rows tile_keys(const struct attend_piece *a, int from, int to, float *tile)
{
    return (struct rows){FORM_BF16, a->k + (size_t) from * a->k_stride, a->k_stride, 0};
}

INLINE void scores_as(int n, const struct attend_query *query, int n_k, struct rows k, int from, int to, float *scores)
{
    for (int p = from; p < to; p += 4) {
        const uint8_t *row[4];
        __m512 sum[4][4];
        start_scores(k, p, to, row, sum);
        /* Hardware follows rows read side by side badly: the next four are fetched in order. */
        const uint8_t *next = row[0] + 4 * k.stride;
        for (size_t i = 0; i < 2 * (size_t) n_k; i += 64, next += 256) {
            __m512i key[4];
            for (int j = 0; j < 4; j++) {
                key[j] = _mm512_loadu_si512(row[j] + i);
                __builtin_prefetch(next + 64 * j);
            }
            for (int a = 0; a < n; a++) {
                __m512i q = _mm512_loadu_si512((const uint8_t *) query[a].q + i);
                for (int j = 0; j < 4; j++)
                    sum[a][j] = add_pairs(sum[a][j], q, key[j]);
            }
        }
        store_scores(n, sum, scores + p);
    }
}

static void group_scores(struct rows k, const struct attend_query *query, int n, int n_k, int from, int to,
                         float *scores)
{
    FOR_GROUP(n, scores_as, query, n_k, k, from, to, scores)
}

/* Weights become bf16 in place, the first of a query's in the first two bytes of its scores. */
static bool weigh(enum kv_type type, struct attend_query *query, float *scores)
{
    if (!weigh_floats(type, query, scores))
        return false;
    for (int p = query->from & ~15; p < query->to; p += 16) {
        __m512i w = _mm512_castps_si512(_mm512_loadu_ps(scores + p));
        _mm256_storeu_si256((__m256i *) scores + p / 16, _mm512_cvtepi32_epi16(_mm512_srli_epi32(w, 16)));
    }
    return true;
}

/* Which positions of a pair count: as bits of a mask of 16-bit lanes. */
enum pair_mask { EVEN_ONE = 0x55555555, ODD_ONE = (int) 0xaaaaaaaa, BOTH = -1 };

/* Columns 0 .. 31 of the rows even and odd in pairs: 16 in each half. */
INLINE void pair_rows(const uint8_t *even, const uint8_t *odd, enum pair_mask mask, __m512i pairs[2])
{
    const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                                         37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    __m512i a = mask == ODD_ONE ? _mm512_setzero_si512() : _mm512_loadu_si512(even);
    __m512i b = mask == EVEN_ONE ? _mm512_setzero_si512() : _mm512_loadu_si512(odd);
    pairs[0] = _mm512_permutex2var_epi16(a, low, b);
    pairs[1] = _mm512_permutex2var_epi16(a, high, b);
}

/* Values p and p + 1 in turns, for whole blocks of 32 columns; p is even, its pair's row at p / 2. */
static struct rows tile_values(const struct attend_piece *a, int column, int n, int from, int to, float *tile)
{
    enum { STRIDE = 4 * V_TILE_COLUMNS };
    uint8_t *out = (uint8_t *) tile;
    for (int p = from / 2 * 2; p < to; p += 2)
        for (int i = 0; i < n; i += 32) {
            const uint8_t *even = a->v + (size_t) p * a->v_stride + 2 * (size_t) (column + i);
            __m512i pairs[2];
            if (p < from)
                pair_rows(even, even + a->v_stride, ODD_ONE, pairs);
            else if (p + 1 == to)
                pair_rows(even, even, EVEN_ONE, pairs);
            else
                pair_rows(even, even + a->v_stride, BOTH, pairs);
            _mm512_store_si512(out + p / 2 * STRIDE + 4 * i, pairs[0]);
            _mm512_store_si512(out + p / 2 * STRIDE + 4 * i + 64, pairs[1]);
        }
    return (struct rows){FORM_BF16_TILE, out, STRIDE, 0};
}

/* Pair at, at + 1 for n queries x n_blocks * 32 columns. */
INLINE void add_pair(enum form form, int n, int n_blocks, enum pair_mask mask, const float *weights, struct rows v,
                     int i, int at, __m512 acc[4][8])
{
    __m512i value[8];
    for (int j = 0; j < n_blocks; j++) {
        if (form == FORM_BF16) {
            const uint8_t *even = v.first + (size_t) at * v.stride + 2 * (size_t) (i + 32 * j);
            pair_rows(even, even + v.stride, mask, value + 2 * j);
            continue;
        }
        const uint8_t *pairs = v.first + (size_t) (at / 2) * v.stride + 4 * (size_t) (i + 32 * j);
        for (int half = 0; half < 2; half++) {
            __m512i both = _mm512_loadu_si512(pairs + 64 * half);
            value[2 * j + half] = mask == BOTH ? both : _mm512_maskz_mov_epi16((__mmask32) mask, both);
        }
    }
    for (int a = 0; a < n; a++) {
        int w;
        memcpy(&w, (const uint8_t *) (weights + a * SCORE_STRIDE) + 2 * at, sizeof w);
        for (int j = 0; j < 2 * n_blocks; j++)
            acc[a][j] = add_pairs(acc[a][j], _mm512_set1_epi32(w), value[j]);
    }
}

/* n_columns is 32 * n_blocks or less. */
INLINE void values_as(enum form form, int n, int n_blocks, const struct attend_query *query, const float *weights,
                      struct rows v, int i, int column, int n_columns, int from, int to)
{
    __m512 acc[4][8];
    for (int a = 0; a < n; a++) {
        const float *first = query[a].acc + column + i;
        for (int j = 0; j < 2 * n_blocks; j++)
            acc[a][j] = _mm512_maskz_loadu_ps(first_lanes(n_columns - 16 * j), first + 16 * j);
        for (int j = 0; j < 2 * n_blocks && query[a].scale != 1; j++)
            acc[a][j] = scaled(form, &query[a], acc[a][j]);
    }
    int at = from / 2 * 2;
    if (at < from) {
        add_pair(form, n, n_blocks, ODD_ONE, weights, v, i, at, acc);
        at += 2;
    }
    for (; at + 1 < to; at += 2) {
        if (form == FORM_BF16 && i == 0)
            fetch_pair(v, at);
        add_pair(form, n, n_blocks, BOTH, weights, v, i, at, acc);
    }
    if (at < to)
        add_pair(form, n, n_blocks, EVEN_ONE, weights, v, i, at, acc);
    for (int a = 0; a < n; a++)
        for (int j = 0; j < 2 * n_blocks; j++)
            _mm512_mask_storeu_ps(query[a].acc + column + i + 16 * j, first_lanes(n_columns - 16 * j), acc[a][j]);
}

/* All columns of a group: as many at once as registers hold, then a block at a time. */
INLINE void columns_as(int n, enum form form, const struct attend_query *query, const float *weights, struct rows v,
                       int column, int n_columns, int from, int to)
{
    int i = 0;
    if (n == 1)
        for (; i + 128 <= n_columns; i += 128)
            values_as(form, n, 4, query, weights, v, i, column, 128, from, to);
    for (; i + 64 <= n_columns; i += 64)
        values_as(form, n, 2, query, weights, v, i, column, 64, from, to);
    for (; i < n_columns; i += 32)
        values_as(form, n, 1, query, weights, v, i, column, attend_min(n_columns - i, 32), from, to);
}

static void group_values(struct rows v, const struct attend_query *query, int n, const float *weights, int column,
                         int n_columns, int from, int to)
{
    if (v.form == FORM_BF16)
        FOR_GROUP(n, columns_as, FORM_BF16, query, weights, v, column, n_columns, from, to)
    else
        FOR_GROUP(n, columns_as, FORM_BF16_TILE, query, weights, v, column, n_columns, from, to)
}

void attend_avx512bf16(const struct attend_piece *piece)
{
    if (is_for_floats(piece->type, piece->n_k))
        attend_avx512(piece);
    else
        attend_tiled(piece);
}
