/*
 * experts.c - a layer of routed experts and a shared one, forward and backward
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/experts.h"

#include "train/gate.h"

#include <string.h>

int experts_used(const struct net_layer *layer, const struct batch *b)
{
    int n = b->n_used > 0 ? b->n_used : layer->n_used;
    return n < layer->router.n_out ? n : layer->router.n_out;
}

void experts_carve(struct carve *c, const struct net_layer *layer, const struct batch *b, struct experts_state *s)
{
    size_t rows = (size_t) batch_rows(b), n = (size_t) layer->router.n_out;
    size_t pairs = rows * (size_t) experts_used(layer, b);
    s->probs = carve_real(c, rows, n);
    s->u_router = carve_real(c, rows, (size_t) layer->router.rank);
    s->chosen = carve_int(c, pairs);
    s->weight = carve_real(c, 1, pairs);
    s->first = carve_int(c, n + 1);
    s->pair = carve_int(c, pairs);
    s->pair_weight = carve_real(c, 1, pairs);
    mlp_carve(c, &layer->ffn, pairs, &s->routed);
    if (layer->shared.up.n_mats > 0)
        mlp_carve(c, &layer->shared, rows, &s->shared);
}

void experts_carve_scratch(struct carve *c, const struct net_layer *layer, const struct batch *b, int max_rank,
                           struct experts_scratch *s)
{
    size_t rows = (size_t) batch_rows(b), d = (size_t) layer->router.n_in;
    int n_ff = layer->ffn.up.n_out;
    if (layer->shared.up.n_out > n_ff)
        n_ff = layer->shared.up.n_out;
    s->x = carve_real(c, rows, d);
    s->dx = carve_real(c, rows, d);
    s->y = carve_real(c, rows, d);
    s->dweight = carve_real(c, 2 * rows, (size_t) experts_used(layer, b));
    s->dscores = carve_real(c, rows, (size_t) layer->router.n_out);
    s->u = carve_real(c, rows, (size_t) max_rank);
    mlp_carve_scratch(c, rows, n_ff, max_rank, &s->mlp);
}

/* A counting sort of the pairs by expert; rows stay in order. */
static void sort_pairs(const struct experts_state *s, int n_experts, int n_pairs)
{
    memset(s->first, 0, ((size_t) n_experts + 1) * sizeof *s->first);
    for (int i = 0; i < n_pairs; i++)
        s->first[s->chosen[i] + 1]++;
    for (int e = 0; e < n_experts; e++)
        s->first[e + 1] += s->first[e];
    for (int i = 0; i < n_pairs; i++) {
        int at = s->first[s->chosen[i]]++;
        s->pair[at] = i;
        s->pair_weight[at] = s->weight[i];
    }
    /* Each start has moved to its end, which is the next one's start. */
    for (int e = n_experts; e > 0; e--)
        s->first[e] = s->first[e - 1];
    s->first[0] = 0;
}

static void route(const struct net *net, const struct net_layer *layer, const struct batch *b, const int *forced,
                  const real *h, const struct experts_state *s)
{
    int n = batch_rows(b), n_experts = layer->router.n_out, n_used = experts_used(layer, b);
    linear_forward(&layer->router, 0, h, n, s->probs, s->u_router);
    if (forced)
        memcpy(s->chosen, forced, (size_t) n * (size_t) n_used * sizeof *forced);
    for (int r = 0; r < n; r++)
        gate_forward(net, layer, n_used, forced != NULL, s->probs + (size_t) r * (size_t) n_experts,
                     s->chosen + (size_t) r * (size_t) n_used, s->weight + (size_t) r * (size_t) n_used);
    sort_pairs(s, n_experts, n * n_used);
}

/* Rows of x that chose an expert, one after the other. */
static void gather(const int *pair, int n, int n_used, const real *x, size_t d, real *gathered)
{
    for (int i = 0; i < n; i++)
        memcpy(gathered + (size_t) i * d, x + (size_t) (pair[i] / n_used) * d, d * sizeof *x);
}

static void scatter_add(const struct vector_ops *ops, const int *pair, int n, int n_used, const real *gathered,
                        size_t d, real *x)
{
    for (int i = 0; i < n; i++)
        ops->add(x + (size_t) (pair[i] / n_used) * d, 1, gathered + (size_t) i * d, d);
}

void experts_forward(const struct net *net, const struct net_layer *layer, const struct batch *b, const int *forced,
                     const real *h, const struct experts_state *s, real *y, const struct experts_scratch *scratch)
{
    int n = batch_rows(b), n_used = experts_used(layer, b);
    size_t d = (size_t) layer->router.n_in;
    route(net, layer, b, forced, h, s);
    if (layer->shared.up.n_mats > 0)
        mlp_forward(net->ops, &layer->shared, 0, h, n, NULL, &s->shared, 0, y, &scratch->mlp);
    else
        memset(y, 0, (size_t) n * d * sizeof *y);
    for (int e = 0; e < layer->router.n_out; e++) {
        int first = s->first[e], m = s->first[e + 1] - first;
        if (m == 0)
            continue;
        gather(s->pair + first, m, n_used, h, d, scratch->x);
        mlp_forward(net->ops, &layer->ffn, e, scratch->x, m, s->pair_weight + first, &s->routed, (size_t) first,
                    scratch->y, &scratch->mlp);
        scatter_add(net->ops, s->pair + first, m, n_used, scratch->y, d, y);
    }
}

static void router_backward(const struct net *net, const struct net_layer *layer, int n, int n_used, const real *h,
                            const struct experts_state *s, const real *by_pair, real *dh, real *grad,
                            const struct experts_scratch *scratch)
{
    size_t n_experts = (size_t) layer->router.n_out, k = (size_t) n_used;
    real *by_row = scratch->dweight + (size_t) n * k;
    for (int i = 0; i < n * n_used; i++)
        by_row[s->pair[i]] = by_pair[i];
    for (size_t r = 0; r < (size_t) n; r++)
        gate_backward(net, layer, n_used, s->probs + r * n_experts, s->chosen + r * k, by_row + r * k,
                      scratch->dscores + r * n_experts);
    linear_backward(&layer->router, 0, h, s->u_router, scratch->dscores, n, dh, 1, grad, scratch->u);
}

void experts_backward(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *h,
                      const struct experts_state *s, const real *dy, real *dh, real *grad,
                      const struct experts_scratch *scratch)
{
    int n = batch_rows(b), n_used = experts_used(layer, b);
    size_t d = (size_t) layer->router.n_in;
    if (layer->shared.up.n_mats > 0)
        mlp_backward(net->ops, &layer->shared, 0, h, n, NULL, &s->shared, 0, dy, dh, 0, NULL, grad, &scratch->mlp);
    else
        memset(dh, 0, (size_t) n * d * sizeof *dh);
    for (int e = 0; e < layer->router.n_out; e++) {
        int first = s->first[e], m = s->first[e + 1] - first;
        if (m == 0)
            continue;
        gather(s->pair + first, m, n_used, h, d, scratch->x);
        gather(s->pair + first, m, n_used, dy, d, scratch->y);
        mlp_backward(net->ops, &layer->ffn, e, scratch->x, m, s->pair_weight + first, &s->routed, (size_t) first,
                     scratch->y, scratch->dx, 0, scratch->dweight + first, grad, &scratch->mlp);
        scatter_add(net->ops, s->pair + first, m, n_used, scratch->dx, d, dh);
    }
    router_backward(net, layer, n, n_used, h, s, scratch->dweight, dh, grad, scratch);
}
