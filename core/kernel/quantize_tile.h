/*
 * quantize_tile.h - activations to 8 bits on vectors of any width
 *
 * Included once by each quantize_LEVEL.c, which defines behind it
 *
 *   largest_bits()  the largest of n values' bits without their sign, n 32 or 128
 *   quantize16()    x / d of 16 values; returns their sum
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/panel.h"

static inline uint32_t largest_bits(const float *x, int n);
static inline int16_t quantize16(const float *x, float d, int8_t *q);

/* Where d is not positive, all q are 0. Returns the sum. */
static inline int quantize_block(const float *x, float d, int b, const struct act_q8 *act)
{
    static const float zeros[ACT_BLOCK];
    const float *from = d > 0 ? x : zeros;
    float divisor = d > 0 ? d : 1;
    act->sum[2 * b] = quantize16(from, divisor, act->q + 32 * b);
    act->sum[2 * b + 1] = quantize16(from + 16, divisor, act->q + 32 * b + 16);
    return act->sum[2 * b] + act->sum[2 * b + 1];
}

static inline void quantize_blocks(const float *x, int n, void *row)
{
    struct act_q8 act = act_q8_at(row, n);
    for (int b = 0; b < n / ACT_BLOCK; b++, x += ACT_BLOCK) {
        float d = act_q8_scale(largest_bits(x, ACT_BLOCK));
        act.d[b] = d;
        act.dsum[b] = d * (float) quantize_block(x, d, b, &act);
    }
}

static inline void quantize_groups(const float *x, int n, void *row)
{
    struct act_q8 act = act_q8_at(row, n);
    for (int g = 0; g < n / ACT_GROUP; g++) {
        float d = act_q8_scale(largest_bits(x, ACT_GROUP));
        act.d[g] = d;
        for (int b = 4 * g; b < 4 * g + 4; b++, x += ACT_BLOCK)
            act.block_sum[b] = (int16_t) quantize_block(x, d, b, &act);
    }
}
