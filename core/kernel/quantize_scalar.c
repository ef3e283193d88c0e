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

static float scale_of(const float *x, int n)
{
    uint32_t max = 0;
    for (int i = 0; i < n; i++) {
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

static int quantize_block(const float *x, float d, int b, const struct act_q8 *act)
{
    act->sum[2 * b] = quantize16(x, d, act->q + 32 * b);
    act->sum[2 * b + 1] = quantize16(x + 16, d, act->q + 32 * b + 16);
    return act->sum[2 * b] + act->sum[2 * b + 1];
}

void quantize_blocks_scalar(const float *x, int n, void *row)
{
    struct act_q8 act = act_q8_at(row, n);
    for (int b = 0; b < n / ACT_BLOCK; b++, x += ACT_BLOCK) {
        float d = scale_of(x, ACT_BLOCK);
        act.d[b] = d;
        act.dsum[b] = d * (float) quantize_block(x, d, b, &act);
    }
}

void quantize_groups_scalar(const float *x, int n, void *row)
{
    struct act_q8 act = act_q8_at(row, n);
    for (int g = 0; g < n / ACT_GROUP; g++) {
        float d = act.d[g] = scale_of(x, ACT_GROUP);
        for (int b = 4 * g; b < 4 * g + 4; b++, x += ACT_BLOCK)
            act.block_sum[b] = (int16_t) quantize_block(x, d, b, &act);
    }
}
