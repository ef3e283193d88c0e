/*
 * vector_body.h - the loops behind vector.h, included once per instruction set
 *
 * The including file defines VECTOR_TABLE. Loops are written so that the compiler
 * needs no licence to reorder sums: 16 lanes stand for the vector registers.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/vector.h"
#include "train/vector_tables.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 16 };

#ifdef TRAIN_F64
static inline real exp_of(real x)
{
    return exp(x);
}
#define real_sqrt sqrt
#define real_log log
#else
/* e^x within 2 ulp where it is a normal float, the smallest of them below that: 2^n times a polynomial (Cephes). */
static inline real exp_of(real x)
{
    x = x < -87.3f ? -87.3f : x;
    x = x > 88.3f ? 88.3f : x;
    float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    int32_t bits = ((int32_t) n + 127) * (1 << 23);
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}
#define real_sqrt sqrtf
#define real_log logf
#endif

static inline real lanes_sum(const real *lane)
{
    double sum = 0;
    for (int j = 0; j < LANES; j++)
        sum += (double) lane[j];
    return (real) sum;
}

static real dot(const real *x, const real *y, size_t n)
{
    real lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += x[i + (size_t) j] * y[i + (size_t) j];
    for (; i < n; i++)
        lane[i % LANES] += x[i] * y[i];
    return lanes_sum(lane);
}

static void add(real *restrict x, real a, const real *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += a * y[i];
}

static inline real inverse_rms(const real *x, int n, real eps)
{
    return 1 / real_sqrt(dot(x, x, (size_t) n) / (real) n + eps);
}

static void norm(const real *restrict x, const real *restrict w, int n, real eps, real *restrict y)
{
    real r = inverse_rms(x, n, eps);
    for (int i = 0; i < n; i++)
        y[i] = x[i] * r * w[i];
}

static void norm_backward(const real *restrict x, const real *restrict w, const real *restrict dy, int n, real eps,
                          real *restrict dx, real *restrict dw)
{
    real r = inverse_rms(x, n, eps), lane[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += dy[i + j] * w[i + j] * x[i + j];
    for (; i < n; i++)
        lane[i % LANES] += dy[i] * w[i] * x[i];
    real c = lanes_sum(lane) * r * r * r / (real) n;
    for (i = 0; i < n; i++)
        dx[i] += r * w[i] * dy[i] - c * x[i];
    for (i = 0; dw && i < n; i++)
        dw[i] += dy[i] * x[i] * r;
}

static void swiglu(const real *gate, const real *up, size_t n, real *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] / (1 + exp_of(-gate[i])) * up[i];
}

static void swiglu_backward(const real *gate, const real *up, const real *dy, size_t n, real *dgate, real *dup)
{
    for (size_t i = 0; i < n; i++) {
        real g = gate[i], u = up[i], d = dy[i];
        real s = 1 / (1 + exp_of(-g));
        dgate[i] = d * u * s * (1 + g * (1 - s));
        dup[i] = d * g * s;
    }
}

static inline real largest(const real *x, int n)
{
    real lane[LANES];
    int i = 0;
    for (int j = 0; j < LANES; j++)
        lane[j] = x[0];
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (; i < n; i++)
        lane[0] = x[i] > lane[0] ? x[i] : lane[0];
    for (int j = 1; j < LANES; j++)
        lane[0] = lane[j] > lane[0] ? lane[j] : lane[0];
    return lane[0];
}

static real softmax(real *x, int n)
{
    real top = largest(x, n), lane[LANES] = {0};
    for (int i = 0; i < n; i++)
        x[i] = exp_of(x[i] - top);
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += x[i + j];
    for (; i < n; i++)
        lane[i % LANES] += x[i];
    real sum = lanes_sum(lane), scale = 1 / sum;
    for (i = 0; i < n; i++)
        x[i] *= scale;
    return top + real_log(sum);
}

static void softmax_backward(const real *restrict p, real *restrict dp, int n)
{
    real mean = dot(p, dp, (size_t) n);
    for (int i = 0; i < n; i++)
        dp[i] = p[i] * (dp[i] - mean);
}

static void rotate(real *x, int n_rot, int neox, const real *cos_sin, real sign)
{
    int half = n_rot / 2, step = neox ? half : 1, stride = neox ? 1 : 2;
    for (int i = 0; i < half; i++) {
        real c = cos_sin[2 * i], s = sign * cos_sin[2 * i + 1];
        real a = x[i * stride], b = x[i * stride + step];
        x[i * stride] = a * c - b * s;
        x[i * stride + step] = a * s + b * c;
    }
}

static void adamw(const struct vector_adamw *a, real *restrict value, const real *restrict grad, real *restrict m,
                  real *restrict v, size_t n)
{
    struct vector_adamw o = *a;
    for (size_t i = 0; i < n; i++) {
        real g = grad[i] * o.grad_scale;
        m[i] = o.beta1 * m[i] + (1 - o.beta1) * g;
        v[i] = o.beta2 * v[i] + (1 - o.beta2) * g * g;
        real step = m[i] / o.correct1 / (real_sqrt(v[i] / o.correct2) + o.epsilon);
        value[i] -= o.rate * (step + o.decay * value[i]);
    }
}

const struct vector_ops VECTOR_TABLE = {
    .dot = dot,
    .add = add,
    .norm = norm,
    .norm_backward = norm_backward,
    .swiglu = swiglu,
    .swiglu_backward = swiglu_backward,
    .softmax = softmax,
    .softmax_backward = softmax_backward,
    .rotate = rotate,
    .adamw = adamw,
};
