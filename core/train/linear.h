/*
 * linear.h - a matrix with or without a low-rank adapter, forward and backward
 *
 * LoRA (arXiv:2106.09685): y = x W^T + bias + scale (x A^T) B^T. W may be many matrices
 * of one shape (experts); each then has an A and a B of its own, as in llama.cpp's
 * adapter files.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_LINEAR_H
#define TRAIN_LINEAR_H

#include "train/real.h"

#include <stddef.h>

enum { LINEAR_NAME = 80 };
#define LINEAR_FROZEN ((size_t) -1)

struct linear {
    char name[LINEAR_NAME];     /* of the tensor in the GGUF file, "blk.3.ffn_up_exps.weight" */
    int n_in, n_out, n_mats;    /* n_mats = 0: absent */
    const real *w;              /* n_mats x n_out x n_in */
    const real *bias;           /* n_mats x n_out, or NULL */
    int rank;                   /* 0: no adapter */
    real scale;                 /* alpha / rank */
    const real *a;              /* n_mats x rank x n_in */
    const real *b;              /* n_mats x n_out x rank */
    /* Where the gradients lie in the flat vector of trainables (trainable.h); LINEAR_FROZEN: nowhere. */
    size_t w_at, a_at, b_at;
};

static inline const real *linear_w(const struct linear *l, int mat)
{
    return l->w + (size_t) mat * (size_t) l->n_out * (size_t) l->n_in;
}

/*
 * y (n x n_out) = W_mat x (n x n_in). u receives the n x rank products with A, which
 * the backward pass reads again; not used for rank 0.
 */
void linear_forward(const struct linear *l, int mat, const real *x, int n, real *y, real *u);

/*
 * From dy, the gradient of y: dx = beta dx + W_eff^T dy (unless dx is NULL), and the
 * gradients of what is trainable are added into grad, the flat vector (unless it is
 * NULL). x and u as forward had them; x may be NULL where nothing of l is trained. scratch: n x rank.
 */
void linear_backward(const struct linear *l, int mat, const real *x, const real *u, const real *dy, int n, real *dx,
                     real beta, real *grad, real *scratch);

#endif
