/*
 * quantize_avx2.c - activations to 8 bits for AVX2
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#if defined(__x86_64__)
#include "kernel/quantize_tile.h"

#include <immintrin.h>

static inline __m256i round8(const float *x, __m256 d)
{
    return _mm256_cvtps_epi32(_mm256_div_ps(_mm256_loadu_ps(x), d));
}

/* Bytes plus 128 are summed as unsigned ones. */
static inline int16_t quantize16(const float *x, float d, int8_t *q)
{
    __m256 divisor = _mm256_set1_ps(d);
    __m256i words = _mm256_packs_epi32(round8(x, divisor), round8(x + 8, divisor));
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

static inline uint32_t largest_bits(const float *x, int n)
{
    __m256i max = without_sign(x);
    for (int i = 8; i < n; i += 8)
        max = _mm256_max_epi32(max, without_sign(x + i));
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return (uint32_t) _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

void quantize_blocks_avx2(const float *x, int n, void *row)
{
    quantize_blocks(x, n, row);
}

void quantize_groups_avx2(const float *x, int n, void *row)
{
    quantize_groups(x, n, row);
}
#endif
