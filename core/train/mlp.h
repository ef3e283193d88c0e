/*
 * mlp.h - a gated feed-forward layer, dense, shared or one expert, forward and backward
 *
 * y = down(weight silu(gate x) (up x)), with an optional weight per row: an expert's gate
 * multiplies the hidden values, which gives the same product as weighing the output and
 * makes the gate's gradient a dot product of hidden rows.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_MLP_H
#define TRAIN_MLP_H

#include "train/carve.h"
#include "train/net.h"

/* What the backward pass reads again, for the rows of all experts. */
struct mlp_state {
    real *gate, *up;            /* rows x n_ff, before the activation */
    real *u_gate, *u_up, *u_down;
};

/* For at most max_rows at a time. */
struct mlp_scratch {
    real *hidden, *dhidden, *dgate;     /* rows x n_ff */
    real *u;                            /* rows x rank */
};

void mlp_carve(struct carve *c, const struct mlp *m, size_t rows, struct mlp_state *s);
void mlp_carve_scratch(struct carve *c, size_t max_rows, int max_ff, int max_rank, struct mlp_scratch *s);

/* y (n x d) of x (n x d) by matrix `mat`; state rows first .. first + n - 1 are filled. weight: n, or NULL. */
void mlp_forward(const struct vector_ops *ops, const struct mlp *m, int mat, const real *x, int n, const real *weight,
                 const struct mlp_state *s, size_t first, real *y, const struct mlp_scratch *scratch);

/* dx = beta dx + ..; dweight (n; not used without weights) is written; trainables' gradients are added into grad. */
void mlp_backward(const struct vector_ops *ops, const struct mlp *m, int mat, const real *x, int n, const real *weight,
                  const struct mlp_state *s, size_t first, const real *dy, real *dx, real beta, real *dweight,
                  real *grad, const struct mlp_scratch *scratch);

#endif
