/*
 * matmul_avx2.c - products with panels for AVX2
 *
 * vpmaddubsw multiplies unsigned codes with signed activations and adds pairs of
 * products to words, which saturate. Codes of n bits leave room for a few such
 * words to be added before they are widened. Codes of 8 bits leave none and are
 * made signed: then the magnitude of the code is the unsigned factor, at most 128,
 * and its sign goes to the activation, which is never -128.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#if defined(__x86_64__)
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

INLINE ints pair_sums(ints pairs, const uint8_t *sum)
{
    return (ints) _mm256_madd_epi16((__m256i) pairs, (__m256i) broadcast(sum));
}

/* How many words, each the sum of two products of a code and at most 127, fit into one. */
INLINE int words_that_fit(enum tensor_type type)
{
    switch (type) {
    case TENSOR_Q2_K:
    case TENSOR_Q3_K:
    case TENSOR_Q4_0:
    case TENSOR_Q4_1:
    case TENSOR_Q4_K:
    case TENSOR_Q5_0:
    case TENSOR_Q5_1:
    case TENSOR_Q5_K:
    case TENSOR_MXFP4: return 4; /* 4 * 2 * 31 * 127 = 31496 */
    case TENSOR_Q6_K: return 2;  /* 2 * 2 * 63 * 127 = 32004 */
    default: return 1;           /* 2 * 128 * 127 = 32512 */
    }
}

INLINE __m256i words(enum tensor_type type, ints w, const uint8_t *q)
{
    __m256i x = (__m256i) broadcast(q);
    if (zero_point(type) < 128)
        return _mm256_maddubs_epi16((__m256i) w, x);
    __m256i code = (__m256i) (w ^ all_bytes(0x80));
    return _mm256_maddubs_epi16(_mm256_abs_epi8(code), _mm256_sign_epi8(x, code));
}

/* 16 values: four registers of codes. */
INLINE ints half_sum(enum tensor_type type, const ints w[4], const uint8_t *q)
{
    const int fit = words_that_fit(type);
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int i = 0; i < 4; i += fit) {
        __m256i part = words(type, w[i], q + 4 * i);
#pragma GCC unroll 4
        for (int j = 1; j < fit; j++)
            part = _mm256_add_epi16(part, words(type, w[i + j], q + 4 * (i + j)));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(part, _mm256_set1_epi16(1)));
    }
    return (ints) sum;
}

INLINE void block_sums(enum tensor_type type, const ints w[8], const uint8_t *q, const uint8_t *sum, ints s[2])
{
    const int zero = zero_point(type) < 128 ? zero_point(type) : 0;
    int16_t sums[2];
    memcpy(sums, sum, sizeof sums);
    s[0] = half_sum(type, w, q);
    s[1] = half_sum(type, w + 4, q + 16);
    if (zero && has_two_scales(type)) {
        s[0] -= dwords(zero * sums[0]);
        s[1] -= dwords(zero * sums[1]);
    } else if (zero) {
        s[0] -= dwords(zero * (sums[0] + sums[1]));
    }
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

PANEL_Q8_TYPES(PRODUCT_Q8, avx2)
PANEL_FLOAT_TYPES(PRODUCT_FLOAT, avx2)
#endif
