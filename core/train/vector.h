/*
 * vector.h - what training does to rows beside matrix products
 *
 * One body of plain loops (vector_body.h), compiled for each instruction set: the
 * compiler turns them into vectors. Each forward function has its backward one.
 * A sum runs over 16 lanes and then over the lanes, whatever the CPU.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_VECTOR_H
#define TRAIN_VECTOR_H

#include "train/real.h"

#include <stddef.h>

/* What AdamW needs to know beside the vectors (adamw.h). */
struct vector_adamw {
    real rate, beta1, beta2, epsilon, decay;
    real correct1, correct2;    /* 1 - beta^step */
    real grad_scale;            /* multiplies the gradient: global clipping */
};

struct vector_ops {
    real (*dot)(const real *x, const real *y, size_t n);
    void (*add)(real *x, real a, const real *y, size_t n);     /* x += a y */

    /* y = x / sqrt(mean(x^2) + eps) * w */
    void (*norm)(const real *x, const real *w, int n, real eps, real *y);
    /* dx += what dy makes of it; dw too, unless it is NULL. */
    void (*norm_backward)(const real *x, const real *w, const real *dy, int n, real eps, real *dx, real *dw);

    /* y = silu(gate) up; y may be gate. */
    void (*swiglu)(const real *gate, const real *up, size_t n, real *y);
    /* dgate and dup may be gate and up, or dup dy. */
    void (*swiglu_backward)(const real *gate, const real *up, const real *dy, size_t n, real *dgate, real *dup);

    /* x = softmax(x) in place; returns the logarithm of the sum of exp x. n > 0. */
    real (*softmax)(real *x, int n);
    /* dp = p (dp - <p, dp>): from the probabilities' gradient to the logits'. */
    void (*softmax_backward)(const real *p, real *dp, int n);

    /*
     * Rotates the n_rot leading values of a head in pairs by the angles in cos_sin; sign -1 turns back. neox:
     * pairs (i, i + n_rot/2), else (2i, 2i + 1). The magnitude within cos_sin makes this the transpose, not the
     * inverse: what a gradient wants.
     */
    void (*rotate)(real *x, int n_rot, int neox, const real *cos_sin, real sign);

    /* One step of AdamW for n parameters. */
    void (*adamw)(const struct vector_adamw *a, real *value, const real *grad, real *m, real *v, size_t n);
};

/* Those of cpu_level(). */
const struct vector_ops *vector_ops(void);

#endif
