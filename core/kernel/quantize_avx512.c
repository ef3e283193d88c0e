/*
 * quantize_avx512.c - activations to 8 bits for AVX-512
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#if defined(__x86_64__)
#include "kernel/quantize_tile.h"

#include <immintrin.h>

/* Bytes plus 128 are summed as unsigned ones. */
static inline int16_t quantize16(const float *x, float d, int8_t *q)
{
    __m128i v = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_div_ps(_mm512_loadu_ps(x), _mm512_set1_ps(d))));
    _mm_storeu_si128((void *) q, v);
    __m128i sum = _mm_sad_epu8(_mm_xor_si128(v, _mm_set1_epi8(-128)), _mm_setzero_si128());
    return (int16_t) (_mm_cvtsi128_si32(sum) + _mm_extract_epi16(sum, 4) - 16 * 128);
}

static inline __m512i without_sign(const float *x)
{
    return _mm512_and_si512(_mm512_loadu_si512(x), _mm512_set1_epi32(0x7fffffff));
}

static inline uint32_t largest_bits(const float *x, int n)
{
    __m512i max = without_sign(x);
    for (int i = 16; i < n; i += 16)
        max = _mm512_max_epi32(max, without_sign(x + i));
    return (uint32_t) _mm512_reduce_max_epi32(max);
}

void quantize_blocks_avx512(const float *x, int n, void *row)
{
    quantize_blocks(x, n, row);
}

void quantize_groups_avx512(const float *x, int n, void *row)
{
    quantize_groups(x, n, row);
}
#endif
