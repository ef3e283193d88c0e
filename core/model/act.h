/*
 * act.h - rows of activations in the two forms that matrices want
 *
 * Quantised matrices read 8-bit records, float matrices read floats (kernel.h).
 * A row is quantised once, in whole or block by block, and shared by all
 * matrices that read it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef MODEL_ACT_H
#define MODEL_ACT_H

#include "kernel/kernel.h"

struct act {
    int n;                  /* values per row */
    size_t record;          /* bytes of a quantised row; 0 when n has no whole blocks */
    float *f;               /* rows x n; NULL where nobody reads floats */
    uint8_t *q;             /* rows x record */
    const void **f_rows;    /* pointers to each row, for matmul_panels */
    const void **q_rows;
};

static inline float *act_row(const struct act *a, int row)
{
    return a->f + (size_t) row * (size_t) a->n;
}

/* The rows from `row` on, in the form that w reads. */
static inline const void *const *act_input(const struct act *a, const struct weight *w, int row)
{
    return (weight_wants_q8(w->type) ? a->q_rows : a->f_rows) + row;
}

/* Quantises values first .. first + n - 1 of a row, both multiples of 32, from x. */
void act_quantize(const struct kernels *k, const struct act *a, int row, int first, int n, const float *x);

#endif
