/*
 * split.h - one dense feed-forward layer into shared and routed experts
 *
 * Which neurons always run, which form an expert, and a linear router that tells from the layer's input
 * which experts matter. The three depend on each other, so they are found in turns:
 *
 *  - neurons start in groups of like gate rows, since those switch on together as a linear function of the input;
 *  - the router is fitted by ridge regression to the root of each expert's output energy;
 *  - each neuron moves to the expert whose tokens hold most of its energy (groups stay of equal size), and
 *    the neurons that would lose most by being routed at all become shared;
 *  - at the end the router's own choice is improved by gradient: a soft top-k of the energies it keeps.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_SPLIT_H
#define TRAIN_SPLIT_H

#include "base/thread_pool.h"
#include "train/vector.h"

#include <stdint.h>

struct split_problem {
    int n, d;                   /* calibration rows, width of the model */
    int n_ff;                   /* neurons = n_shared + n_experts x width */
    int n_shared, n_experts, width, n_used;
    int grain;                  /* neurons that stay side by side; divides n_shared and width */
    const real *h;              /* n x d: the layer's input */
    const real *a;              /* n x n_ff: what the neurons say, rows weighted as the layer's errors count */
    const real *gate;           /* n_ff x d */
    const real *down;           /* d x n_ff */
    int rounds, epochs;         /* of moving neurons, of improving the router */
    uint64_t seed;
    const struct vector_ops *ops;
    struct thread_pool *pool;
};

/* Shares of the routed neurons' energy in the chosen experts. */
struct split_report {
    double oracle, ridge, router;       /* best possible choice, first fit, final router (on rows it was not fitted to) */
    double shared;                      /* of all energy, in shared neurons */
};

/*
 * A grain of one block of the down matrix's format keeps that matrix's bits, too; with grain 1 experts fit better.
 * order (n_ff): shared neurons, then those of expert 0, 1, ..; router (n_experts x d), its scores of no particular
 * scale. DSR1_ERR_NOMEM, DSR1_ERR_ARGUMENT for too few rows.
 */
dsr1_status split_layer(const struct split_problem *p, int *order, real *router, struct split_report *report,
                        dsr1_error *err);

/* For qsort: the largest key first, of equal ones the first item. */
struct split_rank {
    real key;
    int item;
};
int split_by_key(const void *a, const void *b);

/* mask (n x n_experts): 1 where the router's n_used best scores are, else 0. */
void split_choose(const real *scores, int n, int n_experts, int n_used, real *mask);

/*
 * Puts n_items into groups of `width` so that the sum of gain[i x n_groups + group] is high: greedy, the most decided
 * first, then swaps while they help. group receives n_items numbers. False when out of memory.
 */
bool split_assign(const real *gain, int n_items, int n_groups, int width, int *group);

/* Groups of n_items directions (rows of d) by likeness, all of the same size. */
bool split_cluster(const real *rows, int n_items, int d, int n_groups, uint64_t seed, int *group);

#endif
