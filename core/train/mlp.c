/*
 * mlp.c - a gated feed-forward layer, dense, shared or one expert, forward and backward
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/mlp.h"

void mlp_carve(struct carve *c, const struct mlp *m, size_t rows, struct mlp_state *s)
{
    s->gate = carve_real(c, rows, (size_t) m->gate.n_out);
    s->up = carve_real(c, rows, (size_t) m->up.n_out);
    s->u_gate = carve_real(c, rows, (size_t) m->gate.rank);
    s->u_up = carve_real(c, rows, (size_t) m->up.rank);
    s->u_down = carve_real(c, rows, (size_t) m->down.rank);
}

void mlp_carve_scratch(struct carve *c, size_t max_rows, int max_ff, int max_rank, struct mlp_scratch *s)
{
    s->hidden = carve_real(c, max_rows, (size_t) max_ff);
    s->dhidden = carve_real(c, max_rows, (size_t) max_ff);
    s->dgate = carve_real(c, max_rows, (size_t) max_ff);
    s->u = carve_real(c, max_rows, (size_t) max_rank);
}

/* The part of a state array that starts at a row; NULL stays NULL. */
static real *from_row(real *rows, size_t first, int width)
{
    return rows ? rows + first * (size_t) width : NULL;
}

static void scale_rows(const real *weight, const real *x, int n, int width, real *y)
{
    for (int r = 0; r < n; r++)
        for (int i = 0; i < width; i++)
            y[(size_t) r * (size_t) width + (size_t) i] = weight[r] * x[(size_t) r * (size_t) width + (size_t) i];
}

void mlp_forward(const struct vector_ops *ops, const struct mlp *m, int mat, const real *x, int n, const real *weight,
                 const struct mlp_state *s, size_t first, real *y, const struct mlp_scratch *scratch)
{
    int n_ff = m->gate.n_out;
    real *gate = from_row(s->gate, first, n_ff), *up = from_row(s->up, first, n_ff);
    linear_forward(&m->gate, mat, x, n, gate, from_row(s->u_gate, first, m->gate.rank));
    linear_forward(&m->up, mat, x, n, up, from_row(s->u_up, first, m->up.rank));
    ops->swiglu(gate, up, (size_t) n * (size_t) n_ff, scratch->hidden);
    if (weight)
        scale_rows(weight, scratch->hidden, n, n_ff, scratch->hidden);
    linear_forward(&m->down, mat, scratch->hidden, n, y, from_row(s->u_down, first, m->down.rank));
}

void mlp_backward(const struct vector_ops *ops, const struct mlp *m, int mat, const real *x, int n, const real *weight,
                  const struct mlp_state *s, size_t first, const real *dy, real *dx, real beta, real *dweight,
                  real *grad, const struct mlp_scratch *scratch)
{
    int n_ff = m->gate.n_out;
    size_t size = (size_t) n * (size_t) n_ff;
    real *gate = from_row(s->gate, first, n_ff), *up = from_row(s->up, first, n_ff);
    real *hidden = scratch->hidden, *dhidden = scratch->dhidden, *weighed = hidden;
    ops->swiglu(gate, up, size, hidden);
    if (weight) {
        weighed = scratch->dgate;
        scale_rows(weight, hidden, n, n_ff, weighed);
    }
    linear_backward(&m->down, mat, weighed, from_row(s->u_down, first, m->down.rank), dy, n, dhidden, 0, grad,
                    scratch->u);
    if (weight) {
        for (int r = 0; r < n; r++)
            dweight[r] = ops->dot(dhidden + (size_t) r * (size_t) n_ff, hidden + (size_t) r * (size_t) n_ff,
                                  (size_t) n_ff);
        scale_rows(weight, dhidden, n, n_ff, dhidden);
    }
    ops->swiglu_backward(gate, up, dhidden, size, scratch->dgate, dhidden);
    linear_backward(&m->gate, mat, x, from_row(s->u_gate, first, m->gate.rank), scratch->dgate, n, dx, beta, grad,
                    scratch->u);
    linear_backward(&m->up, mat, x, from_row(s->u_up, first, m->up.rank), dhidden, n, dx, 1, grad, scratch->u);
}
