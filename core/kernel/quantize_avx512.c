/*
 * quantize_avx512.c - activations to 8 bits for AVX-512
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/panel.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Returns the sum: bytes plus 128 are summed as unsigned ones. */
static inline int16_t quantize16(__m512 x, float d, int8_t *q)
{
    __m128i v = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_div_ps(x, _mm512_set1_ps(d))));
    _mm_storeu_si128((void *) q, v);
    __m128i sum = _mm_sad_epu8(_mm_xor_si128(v, _mm_set1_epi8(-128)), _mm_setzero_si128());
    return (int16_t) (_mm_cvtsi128_si32(sum) + _mm_extract_epi16(sum, 4) - 16 * 128);
}

static inline __m512i without_sign(const float *x)
{
    return _mm512_and_si512(_mm512_loadu_si512(x), _mm512_set1_epi32(0x7fffffff));
}

/* The largest of 32 values' bits, in some of 16 lanes. */
static inline __m512i largest32(const float *x)
{
    return _mm512_max_epi32(without_sign(x), without_sign(x + 16));
}

/* d is not 0. Returns the sum. */
static inline int quantize_block(const float *x, float d, int b, const struct act_q8 *act)
{
    act->sum[2 * b] = quantize16(_mm512_loadu_ps(x), d, act->q + 32 * b);
    act->sum[2 * b + 1] = quantize16(_mm512_loadu_ps(x + 16), d, act->q + 32 * b + 16);
    return act->sum[2 * b] + act->sum[2 * b + 1];
}

static const float zeros[ACT_GROUP];

void quantize_blocks_avx512(const float *x, int n, void *row)
{
    struct act_q8 act = act_q8_at(row, n);
    for (int b = 0; b < n / ACT_BLOCK; b++, x += ACT_BLOCK) {
        float d = act_q8_scale((uint32_t) _mm512_reduce_max_epi32(largest32(x)));
        act.d[b] = d;
        act.dsum[b] = d * (float) quantize_block(d > 0 ? x : zeros, d > 0 ? d : 1, b, &act);
    }
}

void quantize_groups_avx512(const float *x, int n, void *row)
{
    struct act_q8 act = act_q8_at(row, n);
    for (int g = 0; g < n / ACT_GROUP; g++, x += ACT_GROUP) {
        __m512i max = _mm512_max_epi32(_mm512_max_epi32(largest32(x), largest32(x + 32)),
                                       _mm512_max_epi32(largest32(x + 64), largest32(x + 96)));
        float d = act_q8_scale((uint32_t) _mm512_reduce_max_epi32(max));
        const float *from = d > 0 ? x : zeros;
        act.d[g] = d;
        for (int b = 0; b < 4; b++)
            act.block_sum[4 * g + b] = (int16_t) quantize_block(from + 32 * b, d > 0 ? d : 1, 4 * g + b, &act);
    }
}
#endif
