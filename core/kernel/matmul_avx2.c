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
 * Words of half a block and a column. An activation meets both parts once it is in a register. Where the words of a
 * whole block fit, the second half goes on. Here and below terms are added one after the other: compilers would add up
 * in a tree, for which there are not enough registers.
 */
INLINE void add_half_words(enum tensor_type type, const int half, const ints w[PARTS][4], const uint8_t *q,
                           ints part[PARTS])
{
    const bool goes_on = half == 1 && words_that_fit(type) == 8;
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m256i x = (__m256i) broadcast(q + 4 * j);
#pragma GCC unroll 2
        for (int p = 0; p < PARTS; p++) {
            __m256i more = _mm256_maddubs_epi16((__m256i) w[p][j], x);
            part[p] = j || goes_on ? (ints) _mm256_add_epi16((__m256i) part[p], more) : (ints) more;
            __asm__("" : "+x"(part[p]));
        }
    }
}

/* Words are added in pairs once they are multiplied by 1 or by a scale. */
INLINE ints add_words(ints sum, ints words, ints by)
{
    return sum + (ints) _mm256_madd_epi16((__m256i) words, (__m256i) by);
}

INLINE void add_half(enum tensor_type type, const int half, const ints w[PARTS][4], const uint8_t *q,
                     const uint8_t *sums, ints sum[PARTS])
{
    const bool whole = words_that_fit(type) == 8;
    ints part[PARTS] = {sum[0], sum[1]};
    add_half_words(type, half, w, q, part);
#pragma GCC unroll 2
    for (int p = 0; p < PARTS; p++) {
        if (whole && half == 0)
            sum[p] = part[p];
        else
            sum[p] = add_words(half == 0 || whole ? zero_sums(type, half, sums) : sum[p], part[p], dwords(0x00010001));
    }
}

/* ------------------------------------------------------------------ */
/* Superblocks                                                         */
/* ------------------------------------------------------------------ */

/* Where a float holds whatever the integers of a group add up to: 4 * 63 * 32 * 15 * 127 for Q4_K. */
INLINE bool fits_float(const enum tensor_type type)
{
    return type == TENSOR_Q2_K || type == TENSOR_Q3_K || type == TENSOR_Q4_K;
}

/* Both words of a dword. */
INLINE ints signed_code(ints line, int i)
{
    return words_right(pick_bytes(line, -1, i, -1, i), 8);
}

INLINE ints unsigned_code(ints line, int i)
{
    return byte_pair(line, i, i);
}

/* Where floats would hold a group's sum it stays an integer. */
INLINE floats group_sum(enum tensor_type type, floats sum)
{
    return fits_float(type) ? to_floats((ints) sum) : sum;
}

/* What the sum of codes and scales of block g begins with, and where it goes. */
INLINE ints begin_sum(enum tensor_type type, const struct scales *s, int g, const uint8_t *sums, floats group)
{
    ints sum = fits_float(type) ? (ints) group : dwords(0);
    return has_two_scales(type) && zero_point(type) ? sum - add_pairs(dwords(0), s->pair[g], sums) : sum;
}

INLINE floats end_sum(enum tensor_type type, ints sum, floats group)
{
    return fits_float(type) ? (floats) sum : group + to_floats(sum);
}

INLINE void add_scaled_halves(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                              const struct scales s[PARTS], const uint8_t *const column[], const struct place *at,
                              floats group[PARTS][WIDEST])
{
    const bool two = has_two_scales(type), whole = words_that_fit(type) == 8;
    int g = first + i;
    ints w[PARTS][4], part[WIDEST][PARTS], sum[WIDEST][PARTS];
    load_half(type, chunk, first, i, 0, w);
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        add_half_words(type, 0, w, column[c] + at->q, part[c]);
#pragma GCC unroll 2
        for (int p = 0; p < PARTS && !whole; p++)
            sum[c][p] = add_words(begin_sum(type, &s[p], g, column[c] + at->sum, group[p][c]), part[c][p],
                                  s[p].code[two ? 2 * g : g]);
    }
    load_half(type, chunk, first, i, 1, w);
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        add_half_words(type, 1, w, column[c] + at->q + 16, part[c]);
#pragma GCC unroll 2
        for (int p = 0; p < PARTS; p++) {
            ints from = whole ? begin_sum(type, &s[p], g, column[c] + at->sum, group[p][c]) : sum[c][p];
            group[p][c] = end_sum(type, add_words(from, part[c][p], s[p].code[two ? 2 * g + 1 : g]), group[p][c]);
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

/* sum and 16 values more, from w->value[first] on, times 1 or a scale. */
INLINE ints add_values(enum tensor_type type, const int n, const struct codes *w, int first, const uint8_t *q, ints by,
                       ints sum)
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
        sum = add_words(sum, (ints) part, by);
        __asm__("" : "+x"(sum));
    }
    return sum;
}

INLINE void add_part(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                     const struct scales *s, const uint8_t *const column[], const struct place *at, floats y[WIDEST])
{
    const ints one = dwords(0x00010001);
    struct codes w;
    load_signed(type, chunk, first, i, &w);
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        const uint8_t *q = column[c] + at->q;
        ints half = add_values(type, n, &w, 0, q, one, zero_sums(type, 0, column[c] + at->sum));
        floats t = to_floats(add_values(type, n, &w, 4, q, one, half)) * s->scale[first + i];
        y[c] = add_product(type, t, s, column[c], at, y[c]);
    }
}

/*
 * Columns in a row. Four blocks of Q6_K and all 16 columns are 41 KB of instructions, for which the first level of the
 * cache has no room: a few columns at a time are 2.6 times as fast (Zen 5).
 */
INLINE int columns_at_once(enum tensor_type type, const int n)
{
    return has_two_scales(type) && n >= 8 ? 4 : n;
}

INLINE void add_scaled_part(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                            const struct scales *s, const uint8_t *const column[], const struct place *at,
                            floats group[WIDEST])
{
    const bool two = has_two_scales(type);
    const int at_once = columns_at_once(type, n);
    int g = first + i;
    struct codes w;
    load_signed(type, chunk, first, i, &w);
    for (int c0 = 0; c0 < (at_once < n ? hidden(n) : n); c0 += at_once)
#pragma GCC unroll 16
        for (int c = c0; c < c0 + at_once; c++) {
            const uint8_t *q = column[c] + at->q;
            ints sum = begin_sum(type, s, g, column[c] + at->sum, group[c]);
            sum = add_values(type, n, &w, 0, q, s->code[two ? 2 * g : g], sum);
            sum = add_values(type, n, &w, 4, q, s->code[two ? 2 * g + 1 : g], sum);
            group[c] = end_sum(type, sum, group[c]);
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

INLINE void add_scaled(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                       const struct scales s[PARTS], const uint8_t *const column[], const struct place *at,
                       floats group[PARTS][WIDEST])
{
    if (together(type) == PARTS)
        add_scaled_halves(type, n, chunk, first, i, s, column, at, group);
    else
        add_scaled_part(type, n, chunk, first, i, s, column, at, group[0]);
}

PANEL_Q8_TYPES(PRODUCT_Q8, avx2)
PANEL_FLOAT_TYPES(PRODUCT_FLOAT, avx2)
#endif
