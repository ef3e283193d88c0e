/*
 * policy.h - the loss of group-relative policy optimisation, as a function of log-probabilities
 *
 * GRPO (DeepSeekMath, arXiv:2402.03300) and what has become of it: token-level means and clip-higher (DAPO,
 * arXiv:2503.14476), constant normalisers (Dr. GRPO, arXiv:2503.20783), ratios per sequence (GSPO,
 * arXiv:2507.18071), the two-sided clip. Nothing here knows of models: numbers in, a number and its gradient out.
 *
 * For each token with its ratio r = exp(logp - logp_old) and its answer's advantage A:
 *
 *     l = -min( min(r, delta) A, clip(r, 1 - low, 1 + high) A ) + beta (e^(ref - logp) - (ref - logp) - 1)
 *
 * and the loss is a weighted sum of the l of tokens whose mask is set:
 *
 *     grpo      1 / (sequences * tokens of its sequence)
 *     dapo      1 / tokens of the whole batch
 *     bnpo      1 / tokens of this part, and 1 / parts
 *     dr_grpo   1 / (sequences * max_length)
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_POLICY_H
#define TRAIN_POLICY_H

#include "train/real.h"

#include <stdbool.h>
#include <stdint.h>

enum policy_mean { POLICY_DAPO, POLICY_GRPO, POLICY_BNPO, POLICY_DR_GRPO, POLICY_MEANS };
enum policy_scale { POLICY_SCALE_GROUP, POLICY_SCALE_NONE, POLICY_SCALE_BATCH, POLICY_SCALES };

struct policy_options {
    enum policy_mean mean;
    bool sequence_ratio;        /* r is the geometric mean over the sequence's tokens */
    double clip_low, clip_high; /* 0.2 and 0.2; DAPO takes 0.28 above */
    double delta;               /* r counts at most this where that is the smaller side; 0: no limit */
    double beta;                /* weight of the divergence from the reference; 0: none */
    int max_length;             /* tokens an answer may have: dr_grpo */
};

/* A batch of answers, or a part of one. Tokens of sequence s are start[s] .. start[s + 1] - 1 of each array. */
struct policy_part {
    int n_seqs;
    const int *start;           /* n_seqs + 1 */
    const real *logp;           /* under the policy that learns */
    const real *logp_old;       /* under the one that sampled; NULL: the same, so that r = 1 */
    const real *logp_ref;       /* under the reference; may be NULL where beta is 0 */
    const uint8_t *mask;        /* tokens that count; what stands at the others is never looked at */
    const real *advantage;      /* n_seqs */
};

/* Of the whole batch, which may come in parts. */
struct policy_totals {
    int64_t n_seqs, n_tokens;   /* tokens whose mask is set */
    int n_parts;
};

struct policy_report {
    double ratio, divergence;   /* means over this part's tokens that count */
    double clipped_low, clipped_high;   /* share of tokens where the clip holds the gradient back */
};

/* Of one part: add up. */
struct policy_totals policy_count(const struct policy_part *part);

/* The part's share of the loss. dlogp: gradient, by token, written; report may be NULL. */
double policy_loss(const struct policy_options *options, const struct policy_part *part,
                   const struct policy_totals *totals, real *dlogp, struct policy_report *report);

/*
 * Advantages of n_groups groups of `size` answers to one prompt: reward less the group's mean, divided by the sample
 * standard deviation (n - 1) + 1e-4 of the group or of the whole batch, or not at all. A reward that is NaN (could not
 * be told) leaves the mean and gets 0. Groups whose rewards are all the same get exactly 0. useful (n_groups, or NULL):
 * has the group any spread? Returns how many have.
 */
int policy_advantages(enum policy_scale scale, const double *reward, int n_groups, int size, real *advantage,
                      bool *useful);

/*
 * DAPO's soft penalty for long answers: 0 up to max_length - buffer tokens, then evenly down to -1 at
 * max_length and beyond.
 */
double policy_overlong(int length, int max_length, int buffer);

/* "dapo", "grpo", "bnpo", "dr_grpo"; "group", "none", "batch". False for others. */
bool policy_parse_mean(const char *text, enum policy_mean *mean);
bool policy_parse_scale(const char *text, enum policy_scale *scale);

#endif
