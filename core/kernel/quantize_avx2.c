/*
 * quantize_avx2.c - activations to 8 bits for AVX2
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/panel.h"

#if defined(__x86_64__)
#include <immintrin.h>

static inline __m256i round8(const float *x, __m256 d)
{
    return _mm256_cvtps_epi32(_mm256_div_ps(_mm256_loadu_ps(x), d));
}

/* Returns the sum: bytes plus 128 are summed as unsigned ones. */
static inline int16_t quantize16(const float *x, __m256 d, int8_t *q)
{
    __m256i words = _mm256_packs_epi32(round8(x, d), round8(x + 8, d));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    __m128i v = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((void *) q, v);
    __m128i sum = _mm_sad_epu8(_mm_xor_si128(v, _mm_set1_epi8(-128)), _mm_setzero_si128());
    return (int16_t) (_mm_cvtsi128_si32(sum) + _mm_extract_epi16(sum, 4) - 16 * 128);
}

static inline __m256i without_sign(const float *x)
{
    return _mm256_and_si256(_mm256_loadu_si256((const void *) x), _mm256_set1_epi32(0x7fffffff));
}

/* The largest of 32 values' bits, in some of eight lanes. */
static inline __m256i largest32(const float *x)
{
    return _mm256_max_epi32(_mm256_max_epi32(without_sign(x), without_sign(x + 8)),
                            _mm256_max_epi32(without_sign(x + 16), without_sign(x + 24)));
}

static inline uint32_t largest_lane(__m256i max)
{
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return (uint32_t) _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

/* d is not 0. Returns the sum. */
static inline int quantize_block(const float *x, float d, int b, const struct act_q8 *act)
{
    __m256 divisor = _mm256_set1_ps(d);
    act->sum[2 * b] = quantize16(x, divisor, act->q + 32 * b);
    act->sum[2 * b + 1] = quantize16(x + 16, divisor, act->q + 32 * b + 16);
    return act->sum[2 * b] + act->sum[2 * b + 1];
}

static const float zeros[ACT_GROUP];

void quantize_blocks_avx2(const float *x, int n, void *row)
{
    struct act_q8 act = act_q8_at(row, n);
    for (int b = 0; b < n / ACT_BLOCK; b++, x += ACT_BLOCK) {
        float d = act_q8_scale(largest_lane(largest32(x)));
        act.d[b] = d;
        act.dsum[b] = d * (float) quantize_block(d > 0 ? x : zeros, d > 0 ? d : 1, b, &act);
    }
}

void quantize_groups_avx2(const float *x, int n, void *row)
{
    struct act_q8 act = act_q8_at(row, n);
    for (int g = 0; g < n / ACT_GROUP; g++, x += ACT_GROUP) {
        __m256i max = _mm256_max_epi32(_mm256_max_epi32(largest32(x), largest32(x + 32)),
                                       _mm256_max_epi32(largest32(x + 64), largest32(x + 96)));
        float d = act_q8_scale(largest_lane(max));
        const float *from = d > 0 ? x : zeros;
        act.d[g] = d;
        for (int b = 0; b < 4; b++)
            act.block_sum[4 * g + b] = (int16_t) quantize_block(from + 32 * b, d > 0 ? d : 1, 4 * g + b, &act);
    }
}
#endif
