/*
 * split_router.h - a linear router that chooses the experts with the most energy
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_SPLIT_ROUTER_H
#define TRAIN_SPLIT_ROUTER_H

#include "train/split.h"

/* Which rows only judge: every eighth. */
static inline int split_is_judge(int row)
{
    return row % 8 == 7;
}

/* The share of all energy (n x n_experts) that mask's choice holds, over the judging rows only or over all. */
double split_captured(const real *energy, const real *mask, int n, int n_experts, int judges_only);

/*
 * Improves router (n_experts x d) by gradient: the choice is softened to sigmoid((score - t) / T), with t such
 * that n_used are chosen, and the energy that it keeps goes up. Keeps the best epoch by the judging rows.
 */
dsr1_status split_router_improve(const struct split_problem *p, const real *energy, real *router, dsr1_error *err);

#endif
