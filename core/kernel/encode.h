/*
 * encode.h - floats to blocks of a weight format
 *
 * The way back is dequantize.c. Formats leave open how to choose scales; here each
 * block takes the one with the least weighted squared error among some candidates
 * around the obvious one.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef KERNEL_ENCODE_H
#define KERNEL_ENCODE_H

#include "base/tensor_type.h"

/* Can encode_row write this type? F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K and Q6_K. */
bool encode_knows(enum tensor_type type);

/* n floats, finite and a multiple of the type's block, to tensor_type_row(type, n) bytes. */
void encode_row(enum tensor_type type, const float *x, int n, void *out);

/*
 * Blocks of 32 whose values stand on an even grid, x = low + step q with least <= q <= most (Q4_0, Q4_1, Q5_0 and
 * Q5_1): for who chooses the integers by other rules than nearness.
 */
struct encode_grid {
    float step, low;
    int least, most;
};

bool encode_has_grid(enum tensor_type type);

/* The grid that encode_row takes for the block x. */
struct encode_grid encode_fit_grid(enum tensor_type type, const float *x);

/* The q of the grid's value nearest to x. */
int encode_nearest(const struct encode_grid *grid, float x);

/* Writes tensor_type_size(type) bytes. */
void encode_on_grid(enum tensor_type type, const struct encode_grid *grid, const int *q, void *out);

#endif
