/*
 * gram.h - least squares towards known weights, from many rows
 *
 * Collects X^T X and X^T Y over rows and solves for the W (k x m) that minimises
 * sum |W x - y|^2 + ridge |W - prior|^2. Sums and solution are in double precision,
 * products in the type of training; which thread computed what leaves no trace.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_GRAM_H
#define TRAIN_GRAM_H

#include "base/thread_pool.h"
#include "train/real.h"

#include <stddef.h>

struct gram {
    int m, k;                   /* widths of x and y */
    double *xx;                 /* m x m, the upper half in rows */
    double *xy;                 /* m x k */
    double *factor;             /* m x m */
    real *part;                 /* m x (m or k, the larger): products of one call */
};

dsr1_status gram_open(int m, int k, struct gram *g, dsr1_error *err);
void gram_close(struct gram *g);        /* accepts a zeroed one */

/* xx += weight x^T x and xy += weight x^T y, for n rows. */
void gram_add_xx(struct gram *g, struct thread_pool *pool, const real *x, int n, double weight);
void gram_add_xy(struct gram *g, struct thread_pool *pool, const real *x, const real *y, int n, double weight);
void gram_clear_xy(struct gram *g);

/*
 * ridge counts in units of the mean of xx's diagonal. DSR1_ERR_ARGUMENT when the sum is not positive definite.
 * Once factored, any number of right sides may be solved for.
 */
dsr1_status gram_factor(struct gram *g, double ridge, dsr1_error *err);

/* w (k x m); prior (k x m) or NULL for zero. */
dsr1_status gram_solve(struct gram *g, const real *prior, real *w, dsr1_error *err);

#endif
