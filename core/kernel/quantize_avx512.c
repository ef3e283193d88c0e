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

void quantize_row_avx512(const float *x, int n, void *row)
{
    struct act_q8 act = act_q8_at(row, n);
    const __m512i no_sign = _mm512_set1_epi32(0x7fffffff);
    for (int b = 0; b < n / 32; b++, x += 32) {
        __m512 low = _mm512_loadu_ps(x), high = _mm512_loadu_ps(x + 16);
        __m512i max = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(low), no_sign),
                                       _mm512_and_si512(_mm512_castps_si512(high), no_sign));
        float d = act_q8_scale((uint32_t) _mm512_reduce_max_epi32(max));
        if (!(d > 0))
            low = high = _mm512_setzero_ps();
        act.sum[2 * b] = quantize16(low, d > 0 ? d : 1, act.q + 32 * b);
        act.sum[2 * b + 1] = quantize16(high, d > 0 ? d : 1, act.q + 32 * b + 16);
        act.d[b] = d;
        act.dsum[b] = d * (float) (act.sum[2 * b] + act.sum[2 * b + 1]);
    }
}
#endif
