/*
 * ops_scalar.c - vector operations in plain C: the definition of their siblings
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/ops.h"
#include "kernel/ops_scalar.h"

/* Sums over a row have 16 lanes in double, added up like this. */
static double fold(double lane[16])
{
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

void rms_norm_scalar(const float *x, const float *w, int n, float eps, float *y)
{
    /* A square of a float is exact in double, so only the additions round. */
    double lane[16] = {0};
    for (int i = 0; i < n; i++)
        lane[i % 16] += (double) x[i] * x[i];
    float scale = rms_scale(fold(lane), n, eps);
    for (int i = 0; i < n; i++)
        y[i] = w ? x[i] * scale * w[i] : x[i] * scale;
}

void swiglu_scalar(const float *gate, const float *up, int n, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = silu_mul_scalar(gate[i], up[i]);
}

void swiglu_oai_scalar(const float *gate, const float *up, int n, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = swiglu_oai_one(gate[i], up[i]);
}

void scale_scalar(float a, const float *x, int n, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = a * x[i];
}

void add_scaled_scalar(float *x, float a, const float *y, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = fmaf(a, y[i], x[i]);
}

void rope_scalar(float *x, int n_rot, bool neox, const float *cos_sin)
{
    int half = n_rot / 2;
    for (int i = 0; i < half; i++) {
        int a = neox ? i : 2 * i, b = neox ? i + half : 2 * i + 1;
        rotate_scalar(&x[a], &x[b], cos_sin[2 * i], cos_sin[2 * i + 1]);
    }
}

double softmax_exp_scalar(float *x, int n)
{
    float max = -INFINITY;
    for (int i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    double lane[16] = {0};
    for (int i = 0; i < n; i++) {
        x[i] = x[i] == -INFINITY ? 0 : exp_scalar(x[i] - max);
        lane[i % 16] += (double) x[i];
    }
    return fold(lane);
}

static void store_q8_0(const float *x, uint8_t *block)
{
    float max = 0, factor;
    for (int i = 0; i < 32; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    uint16_t d = q8_0_scale(max, &factor);
    memcpy(block, &d, 2);
    for (int i = 0; i < 32; i++) {
        float q = x[i] * factor;
        q = q > -127.0f ? q : -127.0f;
        q = q < 127.0f ? q : 127.0f;
        block[2 + i] = (uint8_t) (int8_t) rintf(q);
    }
}

void kv_store_scalar(enum kv_type type, const float *x, int n, void *row)
{
    uint8_t *out = row;
    if (type == KV_F32)
        memcpy(out, x, (size_t) n * sizeof *x);
    else if (type == KV_F16)
        for (int i = 0; i < n; i++) {
            uint16_t half = f16_from_f32(x[i]);
            memcpy(out + 2 * i, &half, 2);
        }
    else if (type == KV_BF16)
        for (int i = 0; i < kv_bf16_columns(n); i++) {
            uint16_t value = i < n ? (uint16_t) (f32_bits(bf16_scalar(x[i])) >> 16) : 0;
            memcpy(out + 2 * i, &value, 2);
        }
    else
        for (int i = 0; i < n / 32; i++)
            store_q8_0(x + 32 * i, out + 34 * i);
}
