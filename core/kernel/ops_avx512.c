/*
 * ops_avx512.c - vector operations for AVX-512
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/ops.h"
#include "kernel/ops_avx512.h"

static __m512d add_squares(__m512d sum, __m256 x)
{
    __m512d wide = _mm512_cvtps_pd(x);
    return _mm512_fmadd_pd(wide, wide, sum);
}

/* The sum of 16 lanes, of which low holds 0 to 7: ops_scalar.c. */
static double fold(__m512d low, __m512d high)
{
    low = _mm512_add_pd(low, high);
    __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(low), _mm512_extractf64x4_pd(low, 1));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

static double sum_of_squares(const float *x, int n)
{
    __m512d low = _mm512_setzero_pd(), high = low;
    for (int i = 0; i < n; i += 16) {
        __m512 v = _mm512_maskz_loadu_ps(first_lanes(n - i), x + i);
        low = add_squares(low, _mm512_castps512_ps256(v));
        high = add_squares(high, _mm512_extractf32x8_ps(v, 1));
    }
    return fold(low, high);
}

void rms_norm_avx512(const float *x, const float *w, int n, float eps, float *y)
{
    __m512 scale = _mm512_set1_ps(rms_scale(sum_of_squares(x, n), n, eps));
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), scale);
        if (w)
            v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, w + i));
        _mm512_mask_storeu_ps(y + i, m, v);
    }
}

/* x / (1 + e^-z) */
static __m512 times_sigmoid(__m512 x, __m512 z)
{
    return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0f), exp_avx512(negate_avx512(z))));
}

void swiglu_avx512(const float *gate, const float *up, int n, float *y)
{
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        __m512 g = _mm512_maskz_loadu_ps(m, gate + i);
        __m512 u = _mm512_maskz_loadu_ps(m, up + i);
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(times_sigmoid(g, g), u));
    }
}

void swiglu_oai_avx512(const float *gate, const float *up, int n, float *y)
{
    const __m512 limit = _mm512_set1_ps(7.0f);
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        __m512 g = _mm512_min_ps(limit, _mm512_maskz_loadu_ps(m, gate + i));
        __m512 u = _mm512_min_ps(limit, _mm512_maskz_loadu_ps(m, up + i));
        u = _mm512_add_ps(_mm512_max_ps(negate_avx512(limit), u), _mm512_set1_ps(1.0f));
        g = times_sigmoid(g, _mm512_mul_ps(g, _mm512_set1_ps(1.702f)));
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(g, u));
    }
}

void scale_avx512(float a, const float *x, int n, float *y)
{
    const __m512 factor = _mm512_set1_ps(a);
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(factor, _mm512_maskz_loadu_ps(m, x + i)));
    }
}

void add_scaled_avx512(float *x, float a, const float *y, int n)
{
    const __m512 factor = _mm512_set1_ps(a);
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        __m512 v = _mm512_maskz_loadu_ps(m, y + i);
        _mm512_mask_storeu_ps(x + i, m, _mm512_fmadd_ps(factor, v, _mm512_maskz_loadu_ps(m, x + i)));
    }
}

/* Pairs (i, i + half), 16 at a time; cosines and sines are pulled apart on the way. */
static void rope_halves(float *x, int half, const float *cos_sin)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    for (int i = 0; i < half; i += 16) {
        __mmask16 m = first_lanes(half - i);
        __m512 low = _mm512_maskz_loadu_ps(first_lanes(2 * (half - i)), cos_sin + 2 * i);
        __m512 high = _mm512_setzero_ps();
        if (half - i > 8)
            high = _mm512_maskz_loadu_ps(first_lanes(2 * (half - i) - 16), cos_sin + 2 * i + 16);
        __m512 c = _mm512_permutex2var_ps(low, even, high);
        __m512 s = _mm512_permutex2var_ps(low, odd, high);
        __m512 a = _mm512_maskz_loadu_ps(m, x + i);
        __m512 b = _mm512_maskz_loadu_ps(m, x + i + half);
        _mm512_mask_storeu_ps(x + i, m, _mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s)));
        _mm512_mask_storeu_ps(x + i + half, m, _mm512_fmadd_ps(b, c, _mm512_mul_ps(a, s)));
    }
}

/* Pairs (2i, 2i + 1): fmaddsub subtracts in even lanes and adds in odd ones. */
static void rope_neighbours(float *x, int n_rot, const float *cos_sin)
{
    for (int i = 0; i < n_rot; i += 16) {
        __mmask16 m = first_lanes(n_rot - i);
        __m512 v = _mm512_maskz_loadu_ps(m, x + i);
        __m512 cs = _mm512_maskz_loadu_ps(m, cos_sin + i);
        __m512 cross = _mm512_mul_ps(_mm512_permute_ps(v, 0xb1), _mm512_movehdup_ps(cs));
        _mm512_mask_storeu_ps(x + i, m, _mm512_fmaddsub_ps(v, _mm512_moveldup_ps(cs), cross));
    }
}

void rope_avx512(float *x, int n_rot, bool neox, const float *cos_sin)
{
    if (neox)
        rope_halves(x, n_rot / 2, cos_sin);
    else
        rope_neighbours(x, n_rot, cos_sin);
}

double softmax_exp_avx512(float *x, int n)
{
    const __m512 lowest = _mm512_set1_ps(-INFINITY);
    __m512 max = lowest;
    for (int i = 0; i < n; i += 16)
        max = _mm512_max_ps(_mm512_mask_loadu_ps(lowest, first_lanes(n - i), x + i), max);
    max = _mm512_set1_ps(_mm512_reduce_max_ps(max));
    __m512d low = _mm512_setzero_pd(), high = low;
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        __m512 v = _mm512_mask_loadu_ps(lowest, m, x + i);
        __mmask16 some = _mm512_cmp_ps_mask(v, lowest, _CMP_NEQ_UQ);
        v = _mm512_maskz_mov_ps(some, exp_avx512(_mm512_sub_ps(v, max)));
        _mm512_mask_storeu_ps(x + i, m, v);
        low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_castps512_ps256(v)));
        high = _mm512_add_pd(high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)));
    }
    return fold(low, high);
}

static void store_f16(const float *x, int n, uint8_t *out)
{
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = first_lanes(n - i);
        __m256i half = _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, x + i), _MM_FROUND_TO_NEAREST_INT);
        _mm256_mask_storeu_epi16(out + 2 * (size_t) i, m, half);
    }
}

static void store_bf16(const float *x, int n, uint8_t *out)
{
    for (int i = 0; i < kv_bf16_columns(n); i += 16) {
        __m512 value = bf16_avx512(_mm512_maskz_loadu_ps(first_lanes(n - i), x + i));
        __m256i upper = _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(value), 16));
        _mm256_storeu_si256((__m256i *) (out + 2 * (size_t) i), upper);
    }
}

static __m128i round_q8(__m512 x, __m512 factor)
{
    x = _mm512_max_ps(_mm512_mul_ps(x, factor), _mm512_set1_ps(-127.0f));
    x = _mm512_min_ps(x, _mm512_set1_ps(127.0f));
    return _mm512_cvtepi32_epi8(_mm512_cvt_roundps_epi32(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static void store_q8_0(const float *x, uint8_t *block)
{
    __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
    /* The first operand of max loses to the second when it is a NaN. */
    __m512 max = _mm512_max_ps(_mm512_abs_ps(a), _mm512_setzero_ps());
    max = _mm512_max_ps(_mm512_abs_ps(b), max);
    float factor;
    uint16_t d = q8_0_scale(_mm512_reduce_max_ps(max), &factor);
    memcpy(block, &d, 2);
    _mm_storeu_si128((__m128i *) (block + 2), round_q8(a, _mm512_set1_ps(factor)));
    _mm_storeu_si128((__m128i *) (block + 18), round_q8(b, _mm512_set1_ps(factor)));
}

void kv_store_avx512(enum kv_type type, const float *x, int n, void *row)
{
    if (type == KV_F32)
        memcpy(row, x, (size_t) n * sizeof *x);
    else if (type == KV_F16)
        store_f16(x, n, row);
    else if (type == KV_BF16)
        store_bf16(x, n, row);
    else
        for (int i = 0; i < n / 32; i++)
            store_q8_0(x + 32 * i, (uint8_t *) row + 34 * i);
}
