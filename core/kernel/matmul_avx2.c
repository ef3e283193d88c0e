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
#include "kernel/matmul_256.h"

/* How many words, each the sum of two products of a code and at most 127, fit into one. */
INLINE int words_that_fit(enum tensor_type type)
{
    switch (type) {
    case TENSOR_Q4_0:
    case TENSOR_Q4_1:
    case TENSOR_Q4_K: return 8; /* 8 * 2 * 15 * 127 = 30480 */
    case TENSOR_Q2_K:
    case TENSOR_Q3_K:
    case TENSOR_Q5_0:
    case TENSOR_Q5_1:
    case TENSOR_Q5_K:
    case TENSOR_MXFP4: return 4; /* 4 * 2 * 31 * 127 = 31496 */
    case TENSOR_Q6_K: return 2;  /* 2 * 2 * 63 * 127 = 32004 */
    default: return 1;           /* 2 * 128 * 127 = 32512 */
    }
}

/* Codes of 8 bits are made signed instead. */
INLINE int zero_in_sums(enum tensor_type type)
{
    return zero_point(type) < 128 ? zero_point(type) : 0;
}

/*
 * An activation meets both parts once it is in a register. Where the words of a whole block fit they are widened once.
 * Here and below terms are added one after the other: compilers would add up in a tree, for which there are not enough
 * registers.
 */
INLINE void add_half(enum tensor_type type, const int half, const ints w[PARTS][4], const uint8_t *q,
                     const uint8_t *sums, ints sum[PARTS])
{
    const bool whole = words_that_fit(type) == 8;
    __m256i part[PARTS] = {(__m256i) sum[0], (__m256i) sum[1]};
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m256i x = (__m256i) broadcast(q + 4 * j);
#pragma GCC unroll 2
        for (int p = 0; p < PARTS; p++) {
            __m256i more = _mm256_maddubs_epi16((__m256i) w[p][j], x);
            part[p] = j || (whole && half) ? _mm256_add_epi16(part[p], more) : more;
            __asm__("" : "+x"(part[p]));
        }
    }
    const bool begins = half == 0 || whole || has_two_scales(type);
#pragma GCC unroll 2
    for (int p = 0; p < PARTS; p++) {
        if (whole && half == 0)
            sum[p] = (ints) part[p];
        else
            sum[p] = (begins ? zero_sums(type, half, sums) : sum[p]) +
                     (ints) _mm256_madd_epi16(part[p], _mm256_set1_epi16(1));
    }
}

/* ------------------------------------------------------------------ */
/* Codes of many bits: a block of half of the rows                     */
/* ------------------------------------------------------------------ */

/* value[i] has values 4i to 4i + 3, where they are magnitudes sign[i] what gives their signs to activations. */
struct codes {
    ints value[8], sign[8];
};

INLINE void load_signed(enum tensor_type type, const uint8_t *chunk, int first, const int i, struct codes *w)
{
    load_codes(type, chunk, first, i, w->value);
    if (zero_point(type) < 128)
        return;
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        w->sign[j] = w->value[j] ^ all_bytes(0x80);
        w->value[j] = (ints) _mm256_abs_epi8((__m256i) w->sign[j]);
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

/* sum and 16 values more, from w->value[first] on. */
INLINE ints add_words(enum tensor_type type, const int n, const struct codes *w, int first, const uint8_t *q, ints sum)
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

INLINE void add_part(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                     const struct scales *s, const uint8_t *const column[], const struct place *at, floats y[WIDEST])
{
    const bool two = has_two_scales(type);
    const int at_once = written_out(type, n);
    int g = first + i;
    struct codes w;
    load_signed(type, chunk, first, i, &w);
#pragma GCC unroll 1
    for (int c0 = 0; c0 < n; c0 += at_once)
#pragma GCC unroll 16
        for (int c = c0; c < c0 + at_once; c++) {
            const uint8_t *q = column[c] + at->q, *sum = column[c] + at->sum;
            ints first_half = add_words(type, n, &w, 0, q, zero_sums(type, 0, sum));
            ints both = add_words(type, n, &w, 4, q, two ? zero_sums(type, 1, sum) : first_half);
            floats t = two ? fmadd(to_floats(both), s->scale[2 * g + 1], to_floats(first_half) * s->scale[2 * g])
                           : to_floats(both) * s->scale[g];
            y[c] = add_product(type, t, s, g, column[c], at, y[c]);
        }
}

INLINE int together(enum tensor_type type)
{
    return words_that_fit(type) >= 4 ? PARTS : 1;
}

INLINE void add_block(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                      const struct scales s[PARTS], const uint8_t *const column[], const struct place *at,
                      floats y[PARTS][WIDEST])
{
    if (together(type) == PARTS)
        add_halves(type, n, chunk, first, i, s, column, at, y);
    else
        add_part(type, n, chunk, first, i, s, column, at, y[0]);
}

PANEL_Q8_TYPES(PRODUCT_Q8, avx2)
PANEL_FLOAT_TYPES(PRODUCT_FLOAT, avx2)
#endif
