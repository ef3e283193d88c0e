/*
 * linear.c - a matrix with or without a low-rank adapter, forward and backward
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/linear.h"

static size_t times(size_t a, int b)
{
    return a * (size_t) b;
}

static void add_bias(const struct linear *l, int mat, real *y, int n)
{
    const real *bias = l->bias + times((size_t) mat, l->n_out);
    for (int r = 0; r < n; r++)
        for (int i = 0; i < l->n_out; i++)
            y[times((size_t) r, l->n_out) + (size_t) i] += bias[i];
}

void linear_forward(const struct linear *l, int mat, const real *x, int n, real *y, real *u)
{
    real_gemm_nt(n, l->n_out, l->n_in, 1, x, l->n_in, linear_w(l, mat), l->n_in, 0, y, l->n_out);
    if (l->bias)
        add_bias(l, mat, y, n);
    if (l->rank == 0)
        return;
    const real *a = l->a + times(times((size_t) mat, l->rank), l->n_in);
    const real *b = l->b + times(times((size_t) mat, l->rank), l->n_out);
    real_gemm_nt(n, l->rank, l->n_in, 1, x, l->n_in, a, l->n_in, 0, u, l->rank);
    real_gemm_nt(n, l->n_out, l->rank, l->scale, u, l->rank, b, l->rank, 1, y, l->n_out);
}

/* du = scale dy B stays in scratch for the gradients of A and x. */
static void adapter_backward(const struct linear *l, int mat, const real *x, const real *u, const real *dy, int n,
                             real *dx, real *grad, real *scratch)
{
    size_t a_mat = times(times((size_t) mat, l->rank), l->n_in), b_mat = times(times((size_t) mat, l->rank), l->n_out);
    real_gemm_nn(n, l->rank, l->n_out, l->scale, dy, l->n_out, l->b + b_mat, l->rank, 0, scratch, l->rank);
    if (dx)
        real_gemm_nn(n, l->n_in, l->rank, 1, scratch, l->rank, l->a + a_mat, l->n_in, 1, dx, l->n_in);
    if (grad && l->a_at != LINEAR_FROZEN) {
        real_gemm_tn(l->rank, l->n_in, n, 1, scratch, l->rank, x, l->n_in, 1, grad + l->a_at + a_mat, l->n_in);
        real_gemm_tn(l->n_out, l->rank, n, l->scale, dy, l->n_out, u, l->rank, 1, grad + l->b_at + b_mat, l->rank);
    }
}

void linear_backward(const struct linear *l, int mat, const real *x, const real *u, const real *dy, int n, real *dx,
                     real beta, real *grad, real *scratch)
{
    if (dx)
        real_gemm_nn(n, l->n_in, l->n_out, 1, dy, l->n_out, linear_w(l, mat), l->n_in, beta, dx, l->n_in);
    if (grad && l->w_at != LINEAR_FROZEN)
        real_gemm_tn(l->n_out, l->n_in, n, 1, dy, l->n_out, x, l->n_in, 1,
                     grad + l->w_at + times(times((size_t) mat, l->n_out), l->n_in), l->n_in);
    if (l->rank > 0)
        adapter_backward(l, mat, x, u, dy, n, dx, grad, scratch);
}
