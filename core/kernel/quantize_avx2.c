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

static inline uint32_t largest_bits(const float *x)
{
    __m256i max = _mm256_max_epi32(_mm256_max_epi32(without_sign(x), without_sign(x + 8)),
                                   _mm256_max_epi32(without_sign(x + 16), without_sign(x + 24)));
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return (uint32_t) _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

void quantize_row_avx2(const float *x, int n, void *row)
{
    static const float zeros[32];
    struct act_q8 act = act_q8_at(row, n);
    for (int b = 0; b < n / 32; b++) {
        float d = act_q8_scale(largest_bits(x + 32 * b));
        const float *block = d > 0 ? x + 32 * b : zeros;
        __m256 divisor = _mm256_set1_ps(d > 0 ? d : 1);
        act.sum[2 * b] = quantize16(block, divisor, act.q + 32 * b);
        act.sum[2 * b + 1] = quantize16(block + 16, divisor, act.q + 32 * b + 16);
        act.d[b] = d;
        act.dsum[b] = d * (float) (act.sum[2 * b] + act.sum[2 * b + 1]);
    }
}
#endif
