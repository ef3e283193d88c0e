/*
 * ops.h - vector operations and attention, one function per CPU level
 *
 * What the operations compute is said in kernel.h, beside the table that holds
 * them. All of them are canonical: the scalar functions define the order of
 * every sum (16 lanes, then a fold by 8, 4, 2, 1) and the polynomial of exp, and
 * the vector functions reproduce them bit for bit.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef KERNEL_OPS_H
#define KERNEL_OPS_H

#include "kernel/kernel.h"

/* The functions of one level. All pointers may be unaligned; n is any number >= 0 unless kernel.h says more. */
#define OPS_DECLARE(level)                                                             \
    void rms_norm_##level(const float *x, const float *w, int n, float eps, float *y); \
    void swiglu_##level(const float *gate, const float *up, int n, float *y);          \
    void swiglu_oai_##level(const float *gate, const float *up, int n, float *y);      \
    void scale_##level(float a, const float *x, int n, float *y);                      \
    void add_scaled_##level(float *x, float a, const float *y, int n);                 \
    void rope_##level(float *x, int n_rot, bool neox, const float *cos_sin);           \
    void kv_store_##level(enum kv_type type, const float *x, int n, void *row);        \
    void load_query_##level(enum kv_type type, float scale, const float *q, int n, void *out); \
    void attend_##level(const struct attend_piece *piece);                             \
    double softmax_exp_##level(float *x, int n);

OPS_DECLARE(scalar)
OPS_DECLARE(avx2)
OPS_DECLARE(avx512)

void load_query_avx512bf16(enum kv_type type, float scale, const float *q, int n, void *out);
void attend_avx512bf16(const struct attend_piece *piece);

/*
 * swiglu_oai is gpt-oss' activation: g = min(gate, 7), u = clamp(up, -7, 7),
 * y = g * sigmoid(1.702 g) * (u + 1). y may be gate.
 *
 * softmax_exp: an entry of -INFINITY becomes exactly 0; a row of nothing else
 * becomes all zeros with sum 0.
 *
 * kv_store to KV_Q8_0: d = max |x| / 127, at most the largest half; q = x * (1 / d)
 * rounded to nearest, halves to even. A block whose d is zero as a half is zero.
 *
 * To KV_BF16: rounded to nearest, halves to even, and zero below BF16_LEAST (ops_scalar.h).
 */

/* e^x within 1 ulp, the function behind all of the above: 0 below -104, INFINITY above 88.8, a NaN stays one. */
float ops_exp(float x);

/* 1 / (1 + e^-x) for every x, without cancellation or overflow on either side. */
float ops_sigmoid(float x);

/*
 * The k largest of n values: their indices in descending order of value, the
 * lowest index first among equals; NaN counts as the least of all. Returns how
 * many there are, min(k, n). O(n + k * insertions); meant for k <= 64.
 */
int ops_top_k(const float *x, int n, int k, int *ids);

/* The first of the largest of n > 0 values; 0 where the first is a NaN, others are passed over. */
int ops_argmax(const float *x, int n);

#endif
