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

/* Codes of 8 bits: their magnitudes are multiplied with activations that have been given their signs. */
INLINE void ready(enum tensor_type type, struct codes *w)
{
    if (zero_point(type) < 128)
        return;
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        w->sign[i] = w->value[i] ^ all_bytes(0x80);
        w->value[i] = (ints) _mm256_abs_epi8((__m256i) w->sign[i]);
    }
}

/* Where many columns share the codes, signs are read from memory: there are not enough registers for them. */
INLINE __m256i words(enum tensor_type type, const int n, const struct codes *w, int i, const uint8_t *q)
{
    __m256i x = (__m256i) broadcast(q + 4 * i);
    if (zero_point(type) == 128 && n > 2)
        __asm__("vpsignb %1, %0, %0" : "+x"(x) : "m"(w->sign[i]));
    else if (zero_point(type) == 128)
        x = _mm256_sign_epi8(x, (__m256i) w->sign[i]);
    return _mm256_maddubs_epi16((__m256i) w->value[i], x);
}

/*
 * sum and 16 values more: four registers of codes from w->value[first] on. One after the other: compilers add up in a
 * tree, for which there are not enough registers.
 */
INLINE ints add_half(enum tensor_type type, const int n, const struct codes *w, int first, const uint8_t *q, ints sum)
{
    const int fit = words_that_fit(type);
#pragma GCC unroll 4
    for (int i = first; i < first + 4; i += fit) {
        __m256i part = words(type, n, w, i, q);
#pragma GCC unroll 4
        for (int j = 1; j < fit; j++) {
            part = _mm256_add_epi16(part, words(type, n, w, i + j, q));
            __asm__("" : "+x"(part));
        }
        sum += (ints) _mm256_madd_epi16(part, _mm256_set1_epi16(1));
        __asm__("" : "+x"(sum));
    }
    return sum;
}

/* What the codes have too much enters as one more product, of the zero point and the sums of the activations. */
INLINE void block_sums(enum tensor_type type, const int n, const struct codes *w, const uint8_t *q, const uint8_t *sum,
                       ints s[2])
{
    const int zero = zero_point(type) < 128 ? zero_point(type) : 0, low = -zero & 0xffff, high = (int) ((unsigned) -zero << 16);
    s[0] = s[1] = dwords(0);
    if (has_two_scales(type)) {
        s[0] = add_half(type, n, w, 0, q, zero ? pair_sums(dwords(low), sum) : dwords(0));
        s[1] = add_half(type, n, w, 4, q, zero ? pair_sums(dwords(high), sum) : dwords(0));
        return;
    }
    if (zero)
        s[0] = pair_sums(dwords(low | high), sum);
    s[0] = add_half(type, n, w, 0, q, s[0]);
    s[0] = add_half(type, n, w, 4, q, s[0]);
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
