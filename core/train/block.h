/*
 * block.h - one layer of the network, forward and backward
 *
 * x + attention(norm(x)), and to that + ffn(norm(..)). The two halves stand alone, too, for who
 * calibrates or refits a layer on stored rows.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_BLOCK_H
#define TRAIN_BLOCK_H

#include "train/attn.h"
#include "train/experts.h"

struct block_state {
    real *h;                    /* rows x d: normed input of attention */
    struct attn_state attn;
    real *x_mid;                /* rows x d: residual stream behind attention */
    real *h_mid;                /* rows x d: normed input of the feed-forward part */
    struct mlp_state mlp;       /* dense layers */
    struct experts_state experts;
};

struct block_scratch {
    real *y;                    /* rows x d */
    struct attn_scratch attn;
    struct mlp_scratch mlp;
    struct experts_scratch experts;
};

void block_carve(struct carve *c, const struct net *net, const struct net_layer *layer, const struct batch *b,
                 struct block_state *s);

void block_carve_scratch(struct carve *c, const struct net *net, const struct net_layer *layer, const struct batch *b,
                         struct block_scratch *s);

/* x_mid = x + attention(norm(x)), rows x d; x_mid may be x. Fills s->h and s->attn. */
void block_attention(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *x,
                     const struct block_state *s, real *x_mid, const struct block_scratch *scratch);

/* y = ffn(h), without norm and residual: dense or experts, as the layer is. forced: see batch.h. */
void block_ffn(const struct net *net, const struct net_layer *layer, const struct batch *b, const int *forced,
               const real *h, const struct block_state *s, real *y, const struct block_scratch *scratch);

/* Both halves; x_out may be x. */
void block_forward(const struct net *net, const struct net_layer *layer, const struct batch *b, const int *forced,
                   const real *x, const struct block_state *s, real *x_out, const struct block_scratch *scratch);

/* dx: gradient of x_out on entry, of x on return. grad may be NULL. */
void block_backward(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *x,
                    const struct block_state *s, real *dx, real *grad, const struct block_scratch *scratch);

/* Rows of RMSNorm. */
void block_norm(const struct net *net, const struct norm *norm, const real *x, int n, real *y);
void block_norm_backward(const struct net *net, const struct norm *norm, const real *x, const real *dy, int n,
                         real *dx, real *grad);

#endif
