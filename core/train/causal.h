/*
 * causal.h - softmax attention of each sequence to itself, forward and backward
 *
 * The probabilities of the forward pass are kept: at the lengths that training
 * uses they are smaller than the other activations, and the backward pass then
 * needs no second softmax. Queries go through in blocks, so that only the blocks
 * up to the diagonal are multiplied.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_CAUSAL_H
#define TRAIN_CAUSAL_H

#include "train/batch.h"
#include "train/real.h"
#include "train/vector.h"

enum { CAUSAL_BLOCK = 64 };

struct causal {
    const struct vector_ops *ops;
    int n_heads, n_kv_heads;    /* query head h reads key/value head h / (n_heads / n_kv_heads) */
    int n_k, n_v;               /* values per head of q and k, of v and the output */
    int q_stride, k_stride, v_stride, o_stride;     /* values from row to row */
    real scale;
};

/* Numbers that p holds for a batch: n_heads x length^2 for each sequence. */
static inline size_t causal_size(const struct causal *c, const struct batch *b)
{
    return (size_t) c->n_heads * batch_squares(b);
}

/* o = softmax(scale q k^T) v for all heads and sequences; p (causal_size) keeps the probabilities. */
void causal_forward(const struct causal *c, const struct batch *b, const real *q, const real *k, const real *v,
                    real *p, real *o);

/*
 * From do: dq is written, dk and dv are added to (they may be parts of the same rows, as in
 * MLA). scratch: CAUSAL_BLOCK x the longest sequence.
 */
void causal_backward(const struct causal *c, const struct batch *b, const real *q, const real *k, const real *v,
                     const real *p, const real *d_o, real *dq, real *dk, real *dv, real *scratch);

#endif
