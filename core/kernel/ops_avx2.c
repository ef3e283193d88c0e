/*
 * ops_avx2.c - vector operations for AVX2 with FMA and F16C
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/ops.h"
#include "kernel/ops_avx2.h"

static __m256d add_squares(__m256d sum, const float *x)
{
    __m256d wide = _mm256_cvtps_pd(_mm_loadu_ps(x));
    return _mm256_fmadd_pd(wide, wide, sum);
}

/* The sum of 16 lanes, four in each of four vectors: ops_scalar.c. */
static double fold(const __m256d lane[4])
{
    __m256d four = _mm256_add_pd(_mm256_add_pd(lane[0], lane[2]), _mm256_add_pd(lane[1], lane[3]));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

static double sum_of_squares(const float *x, int n)
{
    __m256d lane[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
    int i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 4; j++)
            lane[j] = add_squares(lane[j], x + i + 4 * j);
    if (i < n) {
        float tail[16] = {0};
        memcpy(tail, x + i, (size_t) (n - i) * sizeof *x);
        for (int j = 0; j < 4; j++)
            lane[j] = add_squares(lane[j], tail + 4 * j);
    }
    return fold(lane);
}

void rms_norm_avx2(const float *x, const float *w, int n, float eps, float *y)
{
    float scale = rms_scale(sum_of_squares(x, n), n, eps);
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(scale));
        _mm256_storeu_ps(y + i, w ? _mm256_mul_ps(v, _mm256_loadu_ps(w + i)) : v);
    }
    for (; i < n; i++)
        y[i] = w ? x[i] * scale * w[i] : x[i] * scale;
}

/* x / (1 + e^-z) */
static __m256 times_sigmoid(__m256 x, __m256 z)
{
    return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0f), exp_avx2(negate_avx2(z))));
}

void swiglu_avx2(const float *gate, const float *up, int n, float *y)
{
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = _mm256_loadu_ps(gate + i);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(times_sigmoid(g, g), _mm256_loadu_ps(up + i)));
    }
    for (; i < n; i++)
        y[i] = silu_mul_scalar(gate[i], up[i]);
}

void swiglu_oai_avx2(const float *gate, const float *up, int n, float *y)
{
    const __m256 limit = _mm256_set1_ps(7.0f);
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = _mm256_min_ps(limit, _mm256_loadu_ps(gate + i));
        __m256 u = _mm256_min_ps(limit, _mm256_loadu_ps(up + i));
        u = _mm256_add_ps(_mm256_max_ps(negate_avx2(limit), u), _mm256_set1_ps(1.0f));
        g = times_sigmoid(g, _mm256_mul_ps(g, _mm256_set1_ps(1.702f)));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(g, u));
    }
    for (; i < n; i++)
        y[i] = swiglu_oai_one(gate[i], up[i]);
}

void scale_avx2(float a, const float *x, int n, float *y)
{
    const __m256 factor = _mm256_set1_ps(a);
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_mul_ps(factor, _mm256_loadu_ps(x + i)));
    for (; i < n; i++)
        y[i] = a * x[i];
}

void add_scaled_avx2(float *x, float a, const float *y, int n)
{
    const __m256 factor = _mm256_set1_ps(a);
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_fmadd_ps(factor, _mm256_loadu_ps(y + i), _mm256_loadu_ps(x + i)));
    for (; i < n; i++)
        x[i] = fmaf(a, y[i], x[i]);
}

/* Pairs (i, i + half), 8 at a time; cosines and sines are pulled apart on the way. */
static void rope_halves(float *x, int half, const float *cos_sin)
{
    int i = 0;
    for (; i + 8 <= half; i += 8) {
        __m256 u = _mm256_loadu_ps(cos_sin + 2 * i), v = _mm256_loadu_ps(cos_sin + 2 * i + 8);
        __m256 low = _mm256_permute2f128_ps(u, v, 0x20), high = _mm256_permute2f128_ps(u, v, 0x31);
        __m256 c = _mm256_shuffle_ps(low, high, 0x88), s = _mm256_shuffle_ps(low, high, 0xdd);
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + half);
        _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(x + i + half, _mm256_fmadd_ps(b, c, _mm256_mul_ps(a, s)));
    }
    for (; i < half; i++)
        rotate_scalar(&x[i], &x[i + half], cos_sin[2 * i], cos_sin[2 * i + 1]);
}

/* Pairs (2i, 2i + 1): fmaddsub subtracts in even lanes and adds in odd ones. */
static void rope_neighbours(float *x, int n_rot, const float *cos_sin)
{
    int i = 0;
    for (; i + 8 <= n_rot; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i), cs = _mm256_loadu_ps(cos_sin + i);
        __m256 cross = _mm256_mul_ps(_mm256_permute_ps(v, 0xb1), _mm256_movehdup_ps(cs));
        _mm256_storeu_ps(x + i, _mm256_fmaddsub_ps(v, _mm256_moveldup_ps(cs), cross));
    }
    for (; i + 2 <= n_rot; i += 2)
        rotate_scalar(&x[i], &x[i + 1], cos_sin[i], cos_sin[i + 1]);
}

void rope_avx2(float *x, int n_rot, bool neox, const float *cos_sin)
{
    if (neox)
        rope_halves(x, n_rot / 2, cos_sin);
    else
        rope_neighbours(x, n_rot, cos_sin);
}

static float max_of(const float *x, int n)
{
    __m256 most = _mm256_set1_ps(-INFINITY);
    int i = 0;
    for (; i + 8 <= n; i += 8)
        most = _mm256_max_ps(_mm256_loadu_ps(x + i), most);
    float max = max8_avx2(most);
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

/* e^(v - max), added to 8 lanes. */
static __m256 exp_below(__m256 v, __m256 max, __m256d lane[2])
{
    __m256 some = _mm256_cmp_ps(v, _mm256_set1_ps(-INFINITY), _CMP_NEQ_UQ);
    v = _mm256_and_ps(some, exp_avx2(_mm256_sub_ps(v, max)));
    lane[0] = _mm256_add_pd(lane[0], _mm256_cvtps_pd(_mm256_castps256_ps128(v)));
    lane[1] = _mm256_add_pd(lane[1], _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
    return v;
}

double softmax_exp_avx2(float *x, int n)
{
    __m256 max = _mm256_set1_ps(max_of(x, n));
    __m256d lane[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, exp_below(_mm256_loadu_ps(x + i), max, lane + i % 16 / 4));
    if (i < n) {
        float tail[8];
        for (int j = 0; j < 8; j++)
            tail[j] = i + j < n ? x[i + j] : -INFINITY;
        _mm256_storeu_ps(tail, exp_below(_mm256_loadu_ps(tail), max, lane + i % 16 / 4));
        memcpy(x + i, tail, (size_t) (n - i) * sizeof *x);
    }
    return fold(lane);
}

static void store_f16(const float *x, int n, uint8_t *out)
{
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i *) (out + 2 * (size_t) i), half);
    }
    for (; i < n; i++) {
        uint16_t half = f16_from_f32(x[i]);
        memcpy(out + 2 * (size_t) i, &half, 2);
    }
}

static void store_bf16(const float *x, int n, uint8_t *out)
{
    for (int i = 0; i < kv_bf16_columns(n); i += 16) {
        __m256i low = _mm256_srli_epi32(_mm256_castps_si256(bf16_avx2(load_first(x + i, n - i))), 16);
        __m256i high = _mm256_srli_epi32(_mm256_castps_si256(bf16_avx2(load_first(x + i + 8, n - i - 8))), 16);
        /* Packing works in 128-bit halves. */
        __m256i values = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
        _mm256_storeu_si256((__m256i *) (out + 2 * (size_t) i), values);
    }
}

/* Eight values to integers of -127 .. 127. */
static __m256i round_q8(__m256 x, __m256 factor)
{
    x = _mm256_max_ps(_mm256_mul_ps(x, factor), _mm256_set1_ps(-127.0f));
    x = _mm256_min_ps(x, _mm256_set1_ps(127.0f));
    return _mm256_cvtps_epi32(_mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static void store_q8_0(const float *x, uint8_t *block)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    /* The first operand of max loses to the second when it is a NaN. */
    __m256 max = _mm256_setzero_ps();
    for (int i = 0; i < 32; i += 8)
        max = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + i)), max);
    float factor;
    uint16_t d = q8_0_scale(max8_avx2(max), &factor);
    memcpy(block, &d, 2);
    __m256i q[4];
    for (int i = 0; i < 4; i++)
        q[i] = round_q8(_mm256_loadu_ps(x + 8 * i), _mm256_set1_ps(factor));
    /* Packing works in 128-bit halves; the permutation puts groups of four back in order. */
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *) (block + 2), bytes);
}

void kv_store_avx2(enum kv_type type, const float *x, int n, void *row)
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
