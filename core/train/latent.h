/*
 * latent.h - multi-head latent attention, forward and backward
 *
 * DeepSeek-V2, section 2.1 (arXiv:2405.04434). Keys and values of all heads come from one latent row per token; a file
 * holds either the absorbed matrices (attn_k_b, attn_v_b: queries are turned into the latent's space) or one attn_kv_b
 * that expands the latent. Both are here, each as the file's tensors imply.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_LATENT_H
#define TRAIN_LATENT_H

#include "train/batch.h"
#include "train/carve.h"
#include "train/net.h"

/* What the backward pass reads again; r: n_kv_lora, dk: n_nope + n_rot, dv: n_v_head, H: heads. */
struct latent_state {
    real *q_low, *q_low_normed; /* rows x n_q_lora, where queries have a low rank */
    real *q;                    /* rows x H dk, rotated */
    real *kv;                   /* rows x (r + n_rot), as projected */
    real *c;                    /* rows x r, normed */
    real *query;                /* absorbed: rows x H (r + n_rot) */
    real *key;                  /* absorbed: rows x (r + n_rot), normed and rotated; expanded: rows x H dk */
    real *kv_b;                 /* expanded: rows x H (n_nope + dv) */
    real *value;                /* expanded: rows x H dv */
    real *mixed;                /* absorbed: rows x H r, the attended latents */
    real *p;                    /* probabilities */
    real *o;                    /* rows x H dv */
    real *head_in, *head_out;   /* rows of one head: scratch */
    real *u_q_a, *u_q, *u_kv_a, *u_kv_b, *u_o;
    real *u_k_b, *u_v_b;        /* H x rows x rank */
};

struct latent_scratch {
    real *dq, *d_low, *d_low_normed, *dquery, *dkey, *dvalue, *dkv_b, *dmixed, *d_o, *dc, *dkv, *dp;
    real *head_in, *head_dy, *head_dx;  /* rows of one head */
    real *u;
};

void latent_carve(struct carve *c, const struct net *net, const struct net_layer *layer, const struct batch *b,
                  struct latent_state *s);
void latent_carve_scratch(struct carve *c, const struct net *net, const struct batch *b, int max_rank,
                          struct latent_scratch *s);

/* As attn_forward and attn_backward. */
void latent_forward(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *h,
                    const struct latent_state *s, real *y);
void latent_backward(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *h,
                     const struct latent_state *s, const real *dy, real *dh, real *grad,
                     const struct latent_scratch *scratch);

#endif
