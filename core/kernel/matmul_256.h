/*
 * matmul_256.h - what products with panels on vectors of 256 bits have in common
 *
 * Included once by matmul_avx2.c and matmul_avxvnni.c, which define behind it
 *
 *   zero_in_sums()  the zero point of codes that are multiplied as they are
 *   add_half()      products of half a block and a column, which sum[p] gets for the rows of part p; w[p][j] has values
 *                   4j to 4j + 3 of them. The second half goes on with what the first left, if they share a scale.
 *
 * and what matmul_tile.h wants of both.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#define VECTOR 32
#include "kernel/matmul_tile.h"

INLINE floats low_half(ints v)
{
    const __m256i pick = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1, 0, 1, 4, 5, 8, 9,
                                          12, 13, -1, -1, -1, -1, -1, -1, -1, -1);
    __m256i halves = _mm256_permute4x64_epi64(_mm256_shuffle_epi8((__m256i) v, pick), 0x08);
    return (floats) _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
}

INLINE floats fmadd(floats a, floats b, floats c)
{
    return (floats) _mm256_fmadd_ps((__m256) a, (__m256) b, (__m256) c);
}

INLINE floats fnmadd(floats a, floats b, floats c)
{
    return (floats) _mm256_fnmadd_ps((__m256) a, (__m256) b, (__m256) c);
}

INLINE ints or_masked(ints a, ints b, ints mask)
{
    return a | (b & mask);
}

/* A count above 31, as a negative one is, shifts everything out: one of the two moves the bit. */
INLINE ints move_bit(ints v, int from, int to)
{
    return (ints) _mm256_or_si256(_mm256_sllv_epi32((__m256i) v, (__m256i) dwords(to - from)),
                                  _mm256_srlv_epi32((__m256i) v, (__m256i) dwords(from - to)));
}

INLINE void look_up(const int8_t table[16], int zero, ints w[8])
{
    __m128i values = _mm_add_epi8(_mm_loadu_si128((const void *) table), _mm_set1_epi8((char) zero));
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        w[i] = (ints) _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(values), (__m256i) w[i]);
}

INLINE ints pick_bytes(ints v, int a, int b, int c, int d)
{
    return (ints) _mm256_shuffle_epi8((__m256i) v, _mm256_broadcastsi128_si256(byte_picks(a, b, c, d)));
}

INLINE ints add_pairs(ints to, ints pairs, const uint8_t *sum)
{
    return to + (ints) _mm256_madd_epi16((__m256i) pairs, (__m256i) broadcast(sum));
}

INLINE void store(float *y, int n_rows, const floats sum[PARTS])
{
    if (n_rows == PANEL_ROWS)
        memcpy(y, sum, PARTS * VECTOR);
    else
        memcpy(y, sum, (size_t) n_rows * sizeof(float));
}

INLINE void load_sums(const float *y, int n_rows, floats sum[PARTS])
{
    if (n_rows == PANEL_ROWS)
        memcpy(sum, y, PARTS * VECTOR);
    else
        memcpy(sum, y, (size_t) n_rows * sizeof(float));
}

INLINE bool is_written_out(enum tensor_type type, const int n)
{
    return false;
}

/* More columns of Q3_K are more instructions than the first level of the cache takes: 0.65 times as fast (Zen 5). */
INLINE int widest_tile(enum tensor_type type)
{
    return type == TENSOR_Q3_K ? 8 : WIDEST;
}

INLINE int zero_in_sums(enum tensor_type type);
INLINE void add_half(enum tensor_type type, const int half, const ints w[PARTS][4], const uint8_t *q,
                     const uint8_t *sums, ints sum[PARTS]);

/*
 * What the codes have too much enters as one more product, of the zero point and the sums of the activations: of both
 * halves of a block, or of one that has a scale of its own.
 */
INLINE ints zero_sums(enum tensor_type type, const int half, const uint8_t *sums)
{
    const int zero = zero_in_sums(type);
    const int low = -zero & 0xffff, high = (int) ((unsigned) -zero << 16);
    const int words = !has_two_scales(type) ? low | high : half ? high : low;
    return zero ? add_pairs(dwords(0), dwords(words), sums) : dwords(0);
}

INLINE void load_half(enum tensor_type type, const uint8_t *chunk, int first, const int i, const int half,
                      ints w[PARTS][4])
{
#pragma GCC unroll 2
    for (int p = 0; p < PARTS; p++) {
        ints all[8];
        load_codes(type, chunk + p * VECTOR, first, i, all);
        memcpy(w[p], all + 4 * half, sizeof w[p]);
    }
}

INLINE void add_halves(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                       const struct scales s[PARTS], const uint8_t *const column[], const struct place *at,
                       floats y[PARTS][WIDEST])
{
    ints w[PARTS][4], sum[WIDEST][PARTS];
    load_half(type, chunk, first, i, 0, w);
#pragma GCC unroll 16
    for (int c = 0; c < n; c++)
        add_half(type, 0, w, column[c] + at->q, column[c] + at->sum, sum[c]);
    load_half(type, chunk, first, i, 1, w);
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        add_half(type, 1, w, column[c] + at->q + 16, column[c] + at->sum, sum[c]);
#pragma GCC unroll 2
        for (int p = 0; p < PARTS; p++) {
            floats t = to_floats(sum[c][p]) * s[p].scale[first + i];
            y[p][c] = add_product(type, t, &s[p], column[c], at, y[p][c]);
        }
    }
}
