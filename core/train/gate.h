/*
 * gate.h - the router's choice and its gradient
 *
 * DeepSeekMoE (arXiv:2401.06066) with softmax gates, DeepSeek-V3 (arXiv:2412.19437) with sigmoid gates. The
 * choice itself is the engine's own (model/step.h, router_choose) and constant to the
 * gradient, which flows through the values of the chosen gates.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_GATE_H
#define TRAIN_GATE_H

#include "train/net.h"

/*
 * From scores (n_experts, the router's output), which become probabilities in place, to the experts
 * chosen (n_used) and their weights. forced: chosen is an input (routing replay).
 */
void gate_forward(const struct net *net, const struct net_layer *layer, int n_used, bool forced, real *scores,
                  int *chosen, real *weight);

/* From the weights' gradient to the scores': probs as forward left them; dscores (n_experts) is written. */
void gate_backward(const struct net *net, const struct net_layer *layer, int n_used, const real *probs,
                   const int *chosen, const real *dweight, real *dscores);

#endif
