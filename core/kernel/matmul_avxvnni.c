/*
 * matmul_avxvnni.c - products with panels for AVX2 with AVX-VNNI
 *
 * vpdpbusd as in matmul_avx512.c, on half as many rows: for processors that have it
 * without AVX-512, as Intel's of desks and laptops do since 2021.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#if defined(__x86_64__)
#include "kernel/matmul_256.h"

INLINE int zero_in_sums(enum tensor_type type)
{
    return zero_point(type);
}

INLINE void add_half(enum tensor_type type, const int half, const ints w[PARTS][4], const uint8_t *q,
                     const uint8_t *sums, ints sum[PARTS])
{
    if (half == 0 || has_two_scales(type))
        sum[0] = sum[1] = zero_sums(type, half, sums);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m256i x = (__m256i) broadcast(q + 4 * j);
#pragma GCC unroll 2
        for (int p = 0; p < PARTS; p++)
            sum[p] = (ints) _mm256_dpbusd_avx_epi32((__m256i) sum[p], (__m256i) w[p][j], x);
    }
}

INLINE int together(enum tensor_type type)
{
    return PARTS;
}

INLINE void add_block(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                      const struct scales s[PARTS], const uint8_t *const column[], const struct place *at,
                      floats y[PARTS][WIDEST])
{
    add_halves(type, n, chunk, first, i, s, column, at, y);
}

INLINE ints signed_code(ints line, int i)
{
    return (ints) to_floats(signed_byte(line, i));
}

INLINE ints unsigned_code(ints line, int i)
{
    return (ints) to_floats(byte_of(line, i));
}

INLINE floats group_sum(enum tensor_type type, floats sum)
{
    return sum;
}

INLINE void add_scaled(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                       const struct scales s[PARTS], const uint8_t *const column[], const struct place *at,
                       floats group[PARTS][WIDEST])
{
    const bool two = has_two_scales(type);
    int g = first + i;
    ints w[PARTS][4], sum[WIDEST][PARTS];
    floats t[WIDEST][PARTS];
    load_half(type, chunk, first, i, 0, w);
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        add_half(type, 0, w, column[c] + at->q, column[c] + at->sum, sum[c]);
#pragma GCC unroll 2
        for (int p = 0; p < PARTS && two; p++)
            t[c][p] = to_floats(sum[c][p]) * (floats) s[p].code[2 * g];
    }
    load_half(type, chunk, first, i, 1, w);
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        add_half(type, 1, w, column[c] + at->q + 16, column[c] + at->sum, sum[c]);
#pragma GCC unroll 2
        for (int p = 0; p < PARTS; p++) {
            floats x = to_floats(sum[c][p]);
            group[p][c] = two ? group[p][c] + fmadd(x, (floats) s[p].code[2 * g + 1], t[c][p])
                              : fmadd(x, (floats) s[p].code[g], group[p][c]);
        }
    }
}

PANEL_Q8_TYPES(PRODUCT_Q8, avxvnni)
#endif
