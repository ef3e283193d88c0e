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

/*
 * What the codes have too much enters as one more product, of the zero point and the sums of the activations: of both halves
 * of a block (2), or of one that has a scale of its own (0, 1).
 */
INLINE ints zero_sums(enum tensor_type type, const int half, const uint8_t *sum)
{
    const int zero = zero_point(type) < 128 ? zero_point(type) : 0;
    const int low = -zero & 0xffff, high = (int) ((unsigned) -zero << 16);
    return zero ? pair_sums(dwords(half == 0 ? low : half == 1 ? high : low | high), sum) : dwords(0);
}

/* ------------------------------------------------------------------ */
/* Codes of few bits: half a block of all rows                         */
/* ------------------------------------------------------------------ */

/*
 * sum[p] and 16 values of a column more; w[p][j] has values 4j to 4j + 3 of the rows of part p. An activation meets both parts
 * once it is in a register. Here and below terms are added one after the other: compilers would add up in a tree, for which
 * there are not enough registers.
 */
INLINE void add_half(const ints w[PARTS][4], const uint8_t *q, ints sum[PARTS])
{
    __m256i part[PARTS];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m256i x = (__m256i) broadcast(q + 4 * j);
#pragma GCC unroll 2
        for (int p = 0; p < PARTS; p++) {
            __m256i more = _mm256_maddubs_epi16((__m256i) w[p][j], x);
            part[p] = j ? _mm256_add_epi16(part[p], more) : more;
            __asm__("" : "+x"(part[p]));
        }
    }
#pragma GCC unroll 2
    for (int p = 0; p < PARTS; p++)
        sum[p] += (ints) _mm256_madd_epi16(part[p], _mm256_set1_epi16(1));
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
    const bool two = has_two_scales(type);
    int g = first + i;
    ints w[PARTS][4], sum[WIDEST][PARTS];
    floats t[WIDEST][PARTS];
    load_half(type, chunk, first, i, 0, w);
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        sum[c][0] = sum[c][1] = zero_sums(type, two ? 0 : 2, column[c] + at->sum);
        add_half(w, column[c] + at->q, sum[c]);
#pragma GCC unroll 2
        for (int p = 0; p < PARTS; p++)
            t[c][p] = two ? to_floats(sum[c][p]) * s[p].scale[2 * g] : (floats) dwords(0);
    }
    load_half(type, chunk, first, i, 1, w);
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        if (two)
            sum[c][0] = sum[c][1] = zero_sums(type, 1, column[c] + at->sum);
        add_half(w, column[c] + at->q + 16, sum[c]);
#pragma GCC unroll 2
        for (int p = 0; p < PARTS; p++) {
            floats x = to_floats(sum[c][p]);
            x = two ? fmadd(x, s[p].scale[2 * g + 1], t[c][p]) : x * s[p].scale[g];
            y[p][c] = add_product(type, x, &s[p], g, column[c], at, y[p][c]);
        }
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
    int g = first + i;
    struct codes w;
    load_signed(type, chunk, first, i, &w);
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        const uint8_t *q = column[c] + at->q, *sum = column[c] + at->sum;
        ints first_half = add_words(type, n, &w, 0, q, zero_sums(type, two ? 0 : 2, sum));
        ints both = add_words(type, n, &w, 4, q, two ? zero_sums(type, 1, sum) : first_half);
        floats t = two ? fmadd(to_floats(both), s->scale[2 * g + 1], to_floats(first_half) * s->scale[2 * g])
                       : to_floats(both) * s->scale[g];
        y[c] = add_product(type, t, s, g, column[c], at, y[c]);
    }
}

INLINE int together(enum tensor_type type)
{
    return words_that_fit(type) == 4 ? PARTS : 1;
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
