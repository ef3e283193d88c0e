/*
 * pass.h - a batch through the whole network, and back
 *
 * A pass belongs to one thread. It keeps one block of memory from batch to batch, which grows
 * to what the largest one wants: about a megabyte per token for a model of 135 million weights
 * when activations are kept for the backward pass, one layer's share of that when not.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_PASS_H
#define TRAIN_PASS_H

#include "train/block.h"

struct pass {
    const struct net *net;
    bool keep;                  /* activations of all layers, for pass_backward */
    struct batch batch;         /* the one at hand */
    real **x;                   /* n_layers + 1 residual streams, rows x d; all the same without keep */
    struct block_state *states; /* n_layers; without keep they overlap */
    struct block_scratch *scratch;      /* n_layers, overlapping */
    real *out;                  /* rows x d: normed output, what the head reads */
    real *dx;                   /* rows x d: with keep */
    void *block;
    size_t block_size;
};

dsr1_status pass_open(const struct net *net, bool keep, struct pass *pass, dsr1_error *err);
void pass_close(struct pass *pass);

/*
 * Makes room for a batch, whose arrays must stay until pass_backward. DSR1_ERR_ARGUMENT for a
 * token that the model has not or a sequence longer than net_open was told, DSR1_ERR_NOMEM.
 */
dsr1_status pass_begin(struct pass *pass, const struct batch *batch, dsr1_error *err);

/* Fills pass->out. Cannot fail. */
void pass_forward(struct pass *pass);

/*
 * From d_out, the gradient of pass->out (rows x d): the gradients of all trainables are added into
 * grad, the flat vector (trainable.h). Cannot fail.
 */
void pass_backward(struct pass *pass, const real *d_out, real *grad);

/* The experts that layer chose, rows x K as in batch.h's `chosen`; NULL for a dense layer. Needs keep. */
const int *pass_chosen(const struct pass *pass, int layer, int *n_used);

#endif
