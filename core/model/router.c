/*
 * router.c - which experts a row is sent to, and how much each counts
 *
 * DeepSeekMoE (arXiv:2401.06066) with softmax gates; DeepSeek-V3, section 2.1.2
 * (arXiv:2412.19437) with sigmoid gates, a bias that only selects, and groups.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/ops.h"
#include "model/step.h"

#include <math.h>

enum { MAX_EXPERTS = 1024 };

/* The sum of a group's two largest scores. */
static float group_score(const float *u, int n)
{
    int best[2];
    int found = ops_top_k(u, n, 2, best);
    return found < 2 ? u[best[0]] : u[best[0]] + u[best[1]];
}

/* Scores outside the best groups become -inf. */
static void keep_groups(const struct router_shape *router, float *u, int n_experts)
{
    float scores[MAX_EXPERTS];
    int kept[MAX_EXPERTS];
    bool keep[MAX_EXPERTS] = {false};
    int size = n_experts / router->n_groups;
    for (int g = 0; g < router->n_groups; g++)
        scores[g] = group_score(u + g * size, size);
    int n = ops_top_k(scores, router->n_groups, router->n_groups_used, kept);
    for (int i = 0; i < n; i++)
        keep[kept[i]] = true;
    for (int i = 0; i < n_experts; i++)
        if (!keep[i / size])
            u[i] = -INFINITY;
}

static void gate(const struct kernels *k, enum gating gating, float *scores, int n)
{
    if (gating == GATING_SIGMOID) {
        for (int i = 0; i < n; i++)
            scores[i] = ops_sigmoid(scores[i]);
    } else if (gating == GATING_SOFTMAX) {
        float scale = (float) (1 / k->softmax_exp(scores, n));
        for (int i = 0; i < n; i++)
            scores[i] *= scale;
    }
}

void router_choose(const struct kernels *kernels, const struct model_shape *shape, int n_used, const float *bias,
                   float *scores, int *chosen, float *weight)
{
    const struct router_shape *router = &shape->router;
    int n = shape->n_experts, k = n_used;
    float u[MAX_EXPERTS];
    gate(kernels, router->gating, scores, n);
    for (int i = 0; i < n; i++)
        u[i] = bias ? scores[i] + bias[i] : scores[i];
    if (router->n_groups)
        keep_groups(router, u, n);
    ops_top_k(u, n, k, chosen);

    float sum = 0;
    for (int i = 0; i < k; i++)
        weight[i] = scores[chosen[i]];
    if (router->gating == GATING_SOFTMAX_CHOSEN) {
        float scale = (float) (1 / kernels->softmax_exp(weight, k));
        for (int i = 0; i < k; i++)
            weight[i] *= scale;
    }
    for (int i = 0; i < k; i++)
        sum += weight[i];
    float scale = router->normalize ? router->scale / fmaxf(sum, 0x1p-14f) : router->scale;
    for (int i = 0; i < k; i++)
        weight[i] *= scale;
}
