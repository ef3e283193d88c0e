/*
 * act.h - rows of activations in the forms that matrices want
 *
 * Float matrices read floats, quantised ones 8-bit records of one of two forms
 * (kernel.h). A row is quantised once for each form that any matrix reads, in
 * whole or part by part, and shared by all that do.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef MODEL_ACT_H
#define MODEL_ACT_H

#include "kernel/kernel.h"

struct act {
    int n;                          /* values per row */
    size_t record;                  /* bytes of a quantised row */
    bool wants[ACT_FORMS];          /* whether a matrix reads the form; floats are there in any case */
    uint8_t *bytes[ACT_FORMS];      /* rows x record, or x n floats; NULL where nobody wants them */
    float *f;                       /* the floats */
    const void **rows[ACT_FORMS];   /* pointers to each row, for matmul_panels; NULL likewise */
};

static inline float *act_row(const struct act *a, int row)
{
    return a->f + (size_t) row * (size_t) a->n;
}

/* The rows from `row` on, in the form that w reads. */
static inline const void *const *act_input(const struct act *a, const struct weight *w, int row)
{
    return a->rows[weight_act_form(w->type)] + row;
}

/* Can parts of n values be quantised by themselves? */
bool act_divides(const struct act *a, int n);

/* Quantises a row of floats in all forms that are wanted. */
void act_quantize(const struct kernels *k, const struct act *a, int row);

/* Values first .. first + n - 1 of a row from x, whole blocks or groups, in one form. */
void act_quantize_part(const struct kernels *k, const struct act *a, enum act_form form, int row, int first, int n,
                       const float *x);

#endif
