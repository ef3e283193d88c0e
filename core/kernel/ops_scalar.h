/*
 * ops_scalar.h - exp and its relatives on one value, and the fold of 16 lanes
 *
 * The definition of what ops_avx2.h and ops_avx512.h do to vectors, and what
 * their callers use on odd tails. Every fmaf here is meant: it is one rounding.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef KERNEL_OPS_SCALAR_H
#define KERNEL_OPS_SCALAR_H

#include "base/float16.h"

#include <math.h>

/*
 * e^x = 2^n e^r with n = x / ln 2 rounded and |r| <= ln 2 / 2. The polynomial is
 * 1 + r + r^2 q(r) with q of degree 4, its coefficients the minimax ones for the
 * relative error (3e-9; with roundings 1.01 ulp over all floats, subnormal
 * results included). ln 2 is split so that n * EXP_LN2_HIGH is subtracted exactly.
 */
#define EXP_LOWEST -104.0f /* e^x rounds to 0 from here on */
#define EXP_HIGHEST 89.0f  /* and to INFINITY */
#define EXP_LOG2E 0x1.715476p+0f
#define EXP_LN2_HIGH 0x1.62e43p-1f
#define EXP_LN2_LOW -0x1.05c61p-29f
#define EXP_ROUND 0x1.8p23f /* adding it leaves the nearest integer in the low bits */
#define EXP_C2 0x1.fffffcp-2f
#define EXP_C3 0x1.555492p-3f
#define EXP_C4 0x1.5558f2p-5f
#define EXP_C5 0x1.1239e2p-7f
#define EXP_C6 0x1.6a2434p-10f

static inline float exp_scalar(float x)
{
    /* Written so that a NaN passes both limits. */
    x = EXP_LOWEST > x ? EXP_LOWEST : x;
    x = EXP_HIGHEST < x ? EXP_HIGHEST : x;
    float shifted = fmaf(x, EXP_LOG2E, EXP_ROUND);
    float n = shifted - EXP_ROUND;
    float r = fmaf(n, -EXP_LN2_HIGH, x);
    r = fmaf(n, -EXP_LN2_LOW, r);
    float q = fmaf(EXP_C6, r, EXP_C5);
    q = fmaf(q, r, EXP_C4);
    q = fmaf(q, r, EXP_C3);
    q = fmaf(q, r, EXP_C2);
    float p = fmaf(q, r * r, r) + 1.0f;
    /* Two factors, since 2^-150 and 2^128 are no floats; only the second product can round. */
    int32_t e = (int32_t) (f32_bits(shifted) - f32_bits(EXP_ROUND));
    int32_t half = e >> 1;
    return p * f32_from_bits((uint32_t) (half + 127) << 23) * f32_from_bits((uint32_t) (e - half + 127) << 23);
}

static inline float silu_mul_scalar(float gate, float up)
{
    return gate / (1.0f + exp_scalar(-gate)) * up;
}

static inline float swiglu_oai_one(float gate, float up)
{
    float g = 7.0f < gate ? 7.0f : gate;
    float u = 7.0f < up ? 7.0f : up;
    u = -7.0f > u ? -7.0f : u;
    return g / (1.0f + exp_scalar(-1.702f * g)) * (u + 1.0f);
}

/* (a, b) turned by (c, s) = (cos, sin). */
static inline void rotate_scalar(float *a, float *b, float c, float s)
{
    float x = *a, y = *b;
    *a = fmaf(x, c, -(y * s));
    *b = fmaf(y, c, x * s);
}

/* The sum of 16 lanes: lanes 8 apart first, then 4, 2 and 1. */
static inline float fold16_scalar(float lane[16])
{
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

/* The scale of RMS norm from the sum of squares. */
static inline float rms_scale(double sum, int n, float eps)
{
    return 1.0f / sqrtf((float) (sum / n) + eps);
}

/*
 * What attention over bf16 takes x for. Where every number is zero or at least this and has 8 bits, sums of their
 * products are multiples of 2^-126: none is subnormal, which vdpbf16ps would take for zero.
 */
#define BF16_LEAST 0x1p-56f

static inline float bf16_scalar(float x)
{
    return fabsf(x) < BF16_LEAST ? 0 : f32_from_bf16(bf16_from_f32(x));
}

/* A sum of such products times any factor is one no more; this makes it a multiple of 2^-126 again. */
#define BF16_LEAST_SUM 0x1p-100f

/* A q8_0 block's d as a half, and the factor that turns x into q. */
static inline uint16_t q8_0_scale(float max, float *factor)
{
    float d = max / 127.0f;
    d = d > 65504.0f ? 65504.0f : d;
    uint16_t half = f16_from_f32(d);
    *factor = half ? 1.0f / d : 0.0f;
    return half;
}

#endif
