/*
 * sampler.h - from logits to one token
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_SAMPLER_H
#define SERVE_SAMPLER_H

#include "dsr1.h"
#include "kernel/kernel.h"

struct sampler {
    float temperature;      /* 0: greedy */
    int top_k;              /* 0: off */
    float top_p, min_p;     /* 0: off */
    float repeat_penalty;   /* 0: off */
    uint64_t seed;
};

enum { REPEAT_WINDOW = 64 };

/*
 * Chooses a token. work has room for n floats and n ids. recent are the last
 * n_recent tokens, for the penalty. draw numbers the tokens of a request:
 * together with the seed it decides the random number. allowed is a bit for
 * each token that may be chosen, at least one of them; NULL: all. Equal logits:
 * the lowest id wins.
 */
struct sampler_work {
    float *values;
    int *ids;
};
int32_t sampler_choose(const struct sampler *sampler, const struct kernels *kernels, const float *logits, int n,
                       const uint64_t *allowed, const int32_t *recent, int n_recent, uint64_t draw,
                       struct sampler_work *work);

/* The `most` largest logits as log-probabilities (log_total: log(sum(exp(logits)))), in descending order, the lowest id first among equals; returns how many. */
int sampler_top(const float *logits, int n, double log_total, dsr1_top *top, int most);

#endif
