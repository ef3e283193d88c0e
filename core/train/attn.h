/*
 * attn.h - the attention part of a layer, forward and backward
 *
 * From the normed rows h to what the layer adds to the residual stream. Grouped
 * queries with rotary positions; multi-head latent attention is latent.h.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_ATTN_H
#define TRAIN_ATTN_H

#include "train/batch.h"
#include "train/carve.h"
#include "train/latent.h"

/* What the backward pass reads again. */
struct attn_state {
    real *q, *k, *v;            /* rows x their width, rotated */
    real *p;                    /* probabilities: causal_size */
    real *o;                    /* rows x heads */
    real *u_q, *u_k, *u_v, *u_o;
    struct latent_state latent; /* instead of all this, where attention is latent */
};

/* The backward pass's own; attn_carve_scratch. */
struct attn_scratch {
    real *dq, *dk, *dv, *d_o, *dp, *u;
    struct latent_scratch latent;
};

void attn_carve(struct carve *c, const struct net *net, const struct net_layer *layer, const struct batch *b,
                struct attn_state *s);
void attn_carve_scratch(struct carve *c, const struct net *net, const struct batch *b, int max_rank,
                        struct attn_scratch *s);

/* y (rows x d) = attention of h (rows x d). */
void attn_forward(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *h,
                  const struct attn_state *s, real *y);

/* dh (rows x d) is written; trainables' gradients are added into grad. */
void attn_backward(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *h,
                   const struct attn_state *s, const real *dy, real *dh, real *grad,
                   const struct attn_scratch *scratch);

#endif
