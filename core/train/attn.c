/*
 * attn.c - the attention part of a layer, forward and backward
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/attn.h"

#include "train/causal.h"

#include <string.h>

static bool is_latent(const struct net *net)
{
    return net->shape.attention != ATTENTION_GQA;
}

static struct causal causal_of(const struct net *net)
{
    const struct model_shape *s = &net->shape;
    return (struct causal){.ops = net->ops, .n_heads = s->n_heads, .n_kv_heads = s->n_kv_heads, .n_k = s->n_k,
                           .n_v = s->n_v, .q_stride = s->n_heads * s->n_k, .k_stride = s->n_kv_heads * s->n_k,
                           .v_stride = s->n_kv_heads * s->n_v, .o_stride = s->n_heads * s->n_v,
                           .scale = (real) s->attention_scale};
}

void attn_carve(struct carve *c, const struct net *net, const struct net_layer *layer, const struct batch *b,
                struct attn_state *s)
{
    if (is_latent(net)) {
        latent_carve(c, net, layer, b, &s->latent);
        return;
    }
    size_t n = (size_t) batch_rows(b);
    struct causal causal = causal_of(net);
    s->q = carve_real(c, n, (size_t) causal.q_stride);
    s->k = carve_real(c, n, (size_t) causal.k_stride);
    s->v = carve_real(c, n, (size_t) causal.v_stride);
    s->o = carve_real(c, n, (size_t) causal.o_stride);
    s->p = carve_real(c, 1, causal_size(&causal, b));
    s->u_q = carve_real(c, n, (size_t) layer->q.rank);
    s->u_k = carve_real(c, n, (size_t) layer->k.rank);
    s->u_v = carve_real(c, n, (size_t) layer->v.rank);
    s->u_o = carve_real(c, n, (size_t) layer->o.rank);
}

void attn_carve_scratch(struct carve *c, const struct net *net, const struct batch *b, int max_rank,
                        struct attn_scratch *s)
{
    if (is_latent(net)) {
        latent_carve_scratch(c, net, b, max_rank, &s->latent);
        return;
    }
    size_t n = (size_t) batch_rows(b);
    struct causal causal = causal_of(net);
    s->dq = carve_real(c, n, (size_t) causal.q_stride);
    s->dk = carve_real(c, n, (size_t) causal.k_stride);
    s->dv = carve_real(c, n, (size_t) causal.v_stride);
    s->d_o = carve_real(c, n, (size_t) causal.o_stride);
    s->dp = carve_real(c, CAUSAL_BLOCK, (size_t) batch_longest(b));
    s->u = carve_real(c, n, (size_t) max_rank);
}

/* Every head of every row by the angles of its position. */
static void rotate(const struct net *net, const struct batch *b, real *x, int n_heads, real sign)
{
    const struct model_shape *shape = &net->shape;
    for (int s = 0; s < b->n_seqs; s++)
        for (int i = 0; i < batch_length(b, s); i++) {
            const real *cos_sin = net->cos_sin + (size_t) batch_position(b, s, i) * (size_t) shape->rope.n_rot;
            size_t row = (size_t) (batch_first(b, s) + i) * (size_t) n_heads;
            for (int h = 0; h < n_heads; h++)
                net->ops->rotate(x + (row + (size_t) h) * (size_t) shape->n_k, shape->rope.n_rot, shape->rope.neox,
                                 cos_sin, sign);
        }
}

void attn_forward(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *h,
                  const struct attn_state *s, real *y)
{
    if (is_latent(net)) {
        latent_forward(net, layer, b, h, &s->latent, y);
        return;
    }
    int n = batch_rows(b);
    struct causal causal = causal_of(net);
    linear_forward(&layer->q, 0, h, n, s->q, s->u_q);
    linear_forward(&layer->k, 0, h, n, s->k, s->u_k);
    linear_forward(&layer->v, 0, h, n, s->v, s->u_v);
    rotate(net, b, s->q, net->shape.n_heads, 1);
    rotate(net, b, s->k, net->shape.n_kv_heads, 1);
    causal_forward(&causal, b, s->q, s->k, s->v, s->p, s->o);
    linear_forward(&layer->o, 0, s->o, n, y, s->u_o);
}

void attn_backward(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *h,
                   const struct attn_state *s, const real *dy, real *dh, real *grad,
                   const struct attn_scratch *scratch)
{
    if (is_latent(net)) {
        latent_backward(net, layer, b, h, &s->latent, dy, dh, grad, &scratch->latent);
        return;
    }
    int n = batch_rows(b);
    struct causal causal = causal_of(net);
    linear_backward(&layer->o, 0, s->o, s->u_o, dy, n, scratch->d_o, 0, grad, scratch->u);
    memset(scratch->dk, 0, (size_t) n * (size_t) causal.k_stride * sizeof *scratch->dk);
    memset(scratch->dv, 0, (size_t) n * (size_t) causal.v_stride * sizeof *scratch->dv);
    causal_backward(&causal, b, s->q, s->k, s->v, s->p, scratch->d_o, scratch->dq, scratch->dk, scratch->dv,
                    scratch->dp);
    rotate(net, b, scratch->dq, net->shape.n_heads, -1);
    rotate(net, b, scratch->dk, net->shape.n_kv_heads, -1);
    linear_backward(&layer->q, 0, h, s->u_q, scratch->dq, n, dh, 0, grad, scratch->u);
    linear_backward(&layer->k, 0, h, s->u_k, scratch->dk, n, dh, 1, grad, scratch->u);
    linear_backward(&layer->v, 0, h, s->u_v, scratch->dv, n, dh, 1, grad, scratch->u);
}
