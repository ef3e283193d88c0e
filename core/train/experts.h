/*
 * experts.h - a layer of routed experts and a shared one, forward and backward
 *
 * Rows are sorted by expert, gathered, multiplied and scattered: one product per
 * expert, whatever the order of the rows.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_EXPERTS_H
#define TRAIN_EXPERTS_H

#include "train/batch.h"
#include "train/mlp.h"

struct experts_state {
    real *probs;                /* rows x E: scores, then gates before the choice */
    real *u_router;
    int *chosen;                /* rows x K */
    real *weight;               /* rows x K */
    /* A pair is a row and one of its experts, sorted by expert. */
    int *first;                 /* E + 1: pairs of expert e are first[e] .. first[e + 1] - 1 */
    int *pair;                  /* pair -> row * K + choice */
    real *pair_weight;
    struct mlp_state routed, shared;
};

struct experts_scratch {
    real *x, *dx, *y;           /* rows x d: gathered */
    real *dweight;              /* rows x K, by pair, then by row */
    real *dscores;              /* rows x E */
    real *u;
    struct mlp_scratch mlp;
};

/* Experts per row of this batch: its own wish, at most all. */
int experts_used(const struct net_layer *layer, const struct batch *b);

void experts_carve(struct carve *c, const struct net_layer *layer, const struct batch *b, struct experts_state *s);
void experts_carve_scratch(struct carve *c, const struct net_layer *layer, const struct batch *b, int max_rank,
                           struct experts_scratch *s);

/* y (rows x d) of h (rows x d); forced: ids for s->chosen (rows x K) or NULL. */
void experts_forward(const struct net *net, const struct net_layer *layer, const struct batch *b, const int *forced,
                     const real *h, const struct experts_state *s, real *y, const struct experts_scratch *scratch);

/* dh (rows x d) is written; trainables' gradients are added into grad. */
void experts_backward(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *h,
                      const struct experts_state *s, const real *dy, real *dh, real *grad,
                      const struct experts_scratch *scratch);

#endif
