/*
 * block.c - one layer of the network, forward and backward
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/block.h"

void block_carve(struct carve *c, const struct net *net, const struct net_layer *layer, const struct batch *b,
                 struct block_state *s)
{
    size_t n = (size_t) batch_rows(b), d = (size_t) net->shape.n_embd;
    s->h = carve_real(c, n, d);
    attn_carve(c, net, layer, b, &s->attn);
    s->x_mid = carve_real(c, n, d);
    s->h_mid = carve_real(c, n, d);
    if (net_has_experts(layer))
        experts_carve(c, layer, b, &s->experts);
    else
        mlp_carve(c, &layer->ffn, n, &s->mlp);
}

static int highest_rank(const struct net_layer *l)
{
    const struct linear *const all[] = {&l->q, &l->k, &l->v, &l->q_a, &l->q_b, &l->kv_a, &l->k_b, &l->v_b, &l->kv_b,
                                        &l->o, &l->router, &l->ffn.gate, &l->ffn.up, &l->ffn.down, &l->shared.gate,
                                        &l->shared.up, &l->shared.down};
    int rank = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        rank = all[i]->rank > rank ? all[i]->rank : rank;
    return rank;
}

void block_carve_scratch(struct carve *c, const struct net *net, const struct net_layer *layer, const struct batch *b,
                         struct block_scratch *s)
{
    size_t n = (size_t) batch_rows(b);
    int rank = highest_rank(layer);
    s->y = carve_real(c, n, (size_t) net->shape.n_embd);
    attn_carve_scratch(c, net, b, rank, &s->attn);
    if (net_has_experts(layer))
        experts_carve_scratch(c, layer, b, rank, &s->experts);
    else
        mlp_carve_scratch(c, n, layer->ffn.up.n_out, rank, &s->mlp);
}

void block_norm(const struct net *net, const struct norm *norm, const real *x, int n, real *y)
{
    for (int r = 0; r < n; r++)
        net->ops->norm(x + (size_t) r * (size_t) norm->n, norm->w, norm->n, (real) net->shape.norm_eps,
                       y + (size_t) r * (size_t) norm->n);
}

void block_norm_backward(const struct net *net, const struct norm *norm, const real *x, const real *dy, int n,
                         real *dx, real *grad)
{
    real *dw = grad && norm->at != LINEAR_FROZEN ? grad + norm->at : NULL;
    for (int r = 0; r < n; r++)
        net->ops->norm_backward(x + (size_t) r * (size_t) norm->n, norm->w, dy + (size_t) r * (size_t) norm->n, norm->n,
                                (real) net->shape.norm_eps, dx + (size_t) r * (size_t) norm->n, dw);
}

static void sum_rows(const struct net *net, const real *x, const real *y, int n, real *sum)
{
    size_t size = (size_t) n * (size_t) net->shape.n_embd;
    for (size_t i = 0; i < size; i++)
        sum[i] = x[i] + y[i];
}

void block_attention(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *x,
                     const struct block_state *s, real *x_mid, const struct block_scratch *scratch)
{
    int n = batch_rows(b);
    block_norm(net, &layer->attn_norm, x, n, s->h);
    attn_forward(net, layer, b, s->h, &s->attn, scratch->y);
    sum_rows(net, x, scratch->y, n, x_mid);
}

void block_ffn(const struct net *net, const struct net_layer *layer, const struct batch *b, const int *forced,
               const real *h, const struct block_state *s, real *y, const struct block_scratch *scratch)
{
    if (net_has_experts(layer))
        experts_forward(net, layer, b, forced, h, &s->experts, y, &scratch->experts);
    else
        mlp_forward(net->ops, &layer->ffn, 0, h, batch_rows(b), NULL, &s->mlp, 0, y, &scratch->mlp);
}

void block_forward(const struct net *net, const struct net_layer *layer, const struct batch *b, const int *forced,
                   const real *x, const struct block_state *s, real *x_out, const struct block_scratch *scratch)
{
    int n = batch_rows(b);
    block_attention(net, layer, b, x, s, s->x_mid, scratch);
    block_norm(net, &layer->ffn_norm, s->x_mid, n, s->h_mid);
    block_ffn(net, layer, b, forced, s->h_mid, s, scratch->y, scratch);
    sum_rows(net, s->x_mid, scratch->y, n, x_out);
}

void block_backward(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *x,
                    const struct block_state *s, real *dx, real *grad, const struct block_scratch *scratch)
{
    int n = batch_rows(b);
    real *dh = scratch->y;
    if (net_has_experts(layer))
        experts_backward(net, layer, b, s->h_mid, &s->experts, dx, dh, grad, &scratch->experts);
    else
        mlp_backward(net->ops, &layer->ffn, 0, s->h_mid, n, NULL, &s->mlp, 0, dx, dh, 0, NULL, grad, &scratch->mlp);
    block_norm_backward(net, &layer->ffn_norm, s->x_mid, dh, n, dx, grad);
    attn_backward(net, layer, b, s->h, &s->attn, dx, dh, grad, &scratch->attn);
    block_norm_backward(net, &layer->attn_norm, x, dh, n, dx, grad);
}
