/*
 * gate.c - the router's choice and its gradient
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/gate.h"

#include "model/step.h"

#include <math.h>
#include <string.h>

enum { MAX_EXPERTS = 1024, MAX_USED = 1024 };

/* As in router_choose: the least that a sum of chosen gates is divided by. */
static const real least_sum = (real) 0x1p-14;

static void choose(const struct net_layer *layer, int n_used, const real *scores, int *chosen)
{
    float copy[MAX_EXPERTS], ignored[MAX_USED];
    struct model_shape shape = {.n_experts = layer->router.n_out, .router = layer->gating};
    for (int i = 0; i < shape.n_experts; i++)
        copy[i] = (float) scores[i];
    router_choose(kernels_default(), &shape, n_used, layer->select_bias, copy, chosen, ignored);
}

void gate_forward(const struct net *net, const struct net_layer *layer, int n_used, bool forced, real *scores,
                  int *chosen, real *weight)
{
    const struct router_shape *gating = &layer->gating;
    int n = layer->router.n_out;
    if (!forced)
        choose(layer, n_used, scores, chosen);
    if (gating->gating == GATING_SIGMOID)
        for (int i = 0; i < n; i++)
            scores[i] = 1 / (1 + (real) exp(-(double) scores[i]));
    else
        net->ops->softmax(scores, n);
    real sum = 0;
    for (int k = 0; k < n_used; k++)
        sum += weight[k] = scores[chosen[k]];
    real scale = (real) gating->scale;
    if (gating->normalize)
        scale /= sum > least_sum ? sum : least_sum;
    for (int k = 0; k < n_used; k++)
        weight[k] *= scale;
}

void gate_backward(const struct net *net, const struct net_layer *layer, int n_used, const real *probs,
                   const int *chosen, const real *dweight, real *dscores)
{
    const struct router_shape *gating = &layer->gating;
    int n = layer->router.n_out;
    real sum = 0, through_sum = 0, scale = (real) gating->scale;
    for (int k = 0; k < n_used; k++)
        sum += probs[chosen[k]];
    if (gating->normalize) {
        scale /= sum > least_sum ? sum : least_sum;
        for (int k = 0; k < n_used && sum > least_sum; k++)
            through_sum += dweight[k] * probs[chosen[k]] / sum;
    }
    memset(dscores, 0, (size_t) n * sizeof *dscores);
    for (int k = 0; k < n_used; k++)
        dscores[chosen[k]] = scale * (dweight[k] - through_sum);
    if (gating->gating == GATING_SIGMOID)
        for (int i = 0; i < n; i++)
            dscores[i] *= probs[i] * (1 - probs[i]);
    else
        net->ops->softmax_backward(probs, dscores, n);
}
