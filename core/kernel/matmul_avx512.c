/*
 * matmul_avx512.c - products with panels for AVX-512 with VNNI
 *
 * vpdpbusd multiplies unsigned codes with signed activations and adds four
 * products to each of 16 rows. The zero point enters as one more product, with the
 * sums of the activations.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#if defined(__x86_64__)
#define VECTOR 64
#include "kernel/matmul_tile.h"

INLINE floats low_half(ints v)
{
    return (floats) _mm512_cvtph_ps(_mm512_cvtepi32_epi16((__m512i) v));
}

INLINE floats fmadd(floats a, floats b, floats c)
{
    return (floats) _mm512_fmadd_ps((__m512) a, (__m512) b, (__m512) c);
}

INLINE floats fnmadd(floats a, floats b, floats c)
{
    return (floats) _mm512_fnmadd_ps((__m512) a, (__m512) b, (__m512) c);
}

INLINE ints or_masked(ints a, ints b, ints mask)
{
    return (ints) _mm512_ternarylogic_epi32((__m512i) a, (__m512i) b, (__m512i) mask, 0xf8);
}

INLINE ints move_bit(ints v, int from, int to)
{
    return (ints) _mm512_rolv_epi32((__m512i) v, (__m512i) dwords(to - from));
}

INLINE void look_up(const int8_t table[16], int zero, ints w[8])
{
    __m128i values = _mm_add_epi8(_mm_loadu_si128((const void *) table), _mm_set1_epi8((char) zero));
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        w[i] = (ints) _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), (__m512i) w[i]);
}

INLINE ints pick_bytes(ints v, int a, int b, int c, int d)
{
    return (ints) _mm512_shuffle_epi8((__m512i) v, _mm512_broadcast_i32x4(byte_picks(a, b, c, d)));
}

INLINE ints add_pairs(ints to, ints pairs, const uint8_t *sum)
{
    return (ints) _mm512_dpwssd_epi32((__m512i) to, (__m512i) pairs, (__m512i) broadcast(sum));
}

/* Compilers load and broadcast q in an instruction of its own and copy s around it, which costs a tenth of the tile. */
INLINE ints dot4(ints s, ints w, const uint8_t *q)
{
    __m512i sum = (__m512i) s;
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"((__m512i) w), "m"(*(const int32_t *) q));
    return (ints) sum;
}

/* The sums of both halves of a block. The first begins with what the zero point adds, if it has no scale of its own. */
INLINE void block_sums(enum tensor_type type, const ints w[8], const uint8_t *q, const uint8_t *sum, ints s[2])
{
    const int zero = zero_point(type), low = -zero & 0xffff, high = (int) ((unsigned) -zero << 16);
    /* Hides where q comes from: else each of its eight addresses becomes a variable, and most are spilled. */
    __asm__("" : "+r"(q));
    s[0] = s[1] = dwords(0);
    if (zero && has_two_scales(type)) {
        s[0] = add_pairs(dwords(0), dwords(low), sum);
        s[1] = add_pairs(dwords(0), dwords(high), sum);
    } else if (zero) {
        s[0] = add_pairs(dwords(0), dwords(low | high), sum);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        s[0] = dot4(s[0], w[i], q + 4 * i);
        s[1] = dot4(s[1], w[4 + i], q + 16 + 4 * i);
    }
}

INLINE int together(enum tensor_type type)
{
    return 1;
}

INLINE void add_block(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                      const struct scales s[PARTS], const uint8_t *const column[], const struct place *at,
                      floats y[PARTS][WIDEST])
{
    ints w[8];
    load_codes(type, chunk, first, i, w);
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        ints sum[2];
        block_sums(type, w, column[c] + at->q, column[c] + at->sum, sum);
        floats t = to_floats(sum[0] + sum[1]) * s->scale[first + i];
        y[0][c] = add_product(type, t, s, column[c], at, y[0][c]);
    }
}

INLINE int widest_tile(enum tensor_type type)
{
    return WIDEST;
}

INLINE bool is_written_out(enum tensor_type type, const int n)
{
    return has_two_scales(type) ? n <= 4 : n > 1 && n <= 8;
}

INLINE ints signed_code(ints line, int i)
{
    return (ints) to_floats(signed_byte(line, i));
}

INLINE ints unsigned_code(ints line, int i)
{
    return (ints) to_floats(byte_of(line, i));
}

INLINE floats group_sum(const enum tensor_type type, floats sum)
{
    return sum;
}

INLINE void add_scaled(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                       const struct scales s[PARTS], const uint8_t *const column[], const struct place *at,
                       floats group[PARTS][WIDEST])
{
    int g = first + i;
    ints w[8];
    load_codes(type, chunk, first, i, w);
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        ints sum[2];
        block_sums(type, w, column[c] + at->q, column[c] + at->sum, sum);
        if (has_two_scales(type)) {
            floats t = to_floats(sum[0]) * (floats) s->code[2 * g];
            group[0][c] += fmadd(to_floats(sum[1]), (floats) s->code[2 * g + 1], t);
        } else {
            group[0][c] = fmadd(to_floats(sum[0] + sum[1]), (floats) s->code[g], group[0][c]);
        }
    }
}

INLINE void store(float *y, int n_rows, const floats sum[PARTS])
{
    _mm512_mask_storeu_ps(y, (__mmask16) ((1u << n_rows) - 1), (__m512) sum[0]);
}

INLINE void load_sums(const float *y, int n_rows, floats sum[PARTS])
{
    sum[0] = (floats) _mm512_maskz_loadu_ps((__mmask16) ((1u << n_rows) - 1), y);
}

PANEL_Q8_TYPES(PRODUCT_Q8, avx512)
PANEL_FLOAT_TYPES(PRODUCT_FLOAT, avx512)
#endif
