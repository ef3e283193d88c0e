/*
 * quantize_scalar.c - activations to 8 bits in plain C: the definition
 *
 * The record is described in kernel.h. The maximum is taken over the bits without
 * their sign, which as integers stand in the order of the numbers, infinity and
 * then NaN last: no order of comparisons can lose a NaN.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/panel.h"

#include <math.h>

static float block_scale(const float *x)
{
    uint32_t max = 0;
    for (int i = 0; i < 32; i++) {
        uint32_t bits = f32_bits(x[i]) & 0x7fffffff;
        max = bits > max ? bits : max;
    }
    return act_q8_scale(max);
}

/* Returns the sum. */
static int16_t quantize16(const float *x, float d, int8_t *q)
{
    int sum = 0;
    for (int i = 0; i < 16; i++) {
        q[i] = d > 0 ? (int8_t) rintf(x[i] / d) : 0;
        sum += q[i];
    }
    return (int16_t) sum;
}

void quantize_row_scalar(const float *x, int n, void *row)
{
    struct act_q8 act = act_q8_at(row, n);
    for (int b = 0; b < n / 32; b++) {
        float d = block_scale(x + 32 * b);
        act.sum[2 * b] = quantize16(x + 32 * b, d, act.q + 32 * b);
        act.sum[2 * b + 1] = quantize16(x + 32 * b + 16, d, act.q + 32 * b + 16);
        act.d[b] = d;
        act.dsum[b] = d * (float) (act.sum[2 * b] + act.sum[2 * b + 1]);
    }
}
