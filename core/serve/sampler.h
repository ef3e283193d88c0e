/*
 * sampler.h - from logits to one token
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_SAMPLER_H
#define SERVE_SAMPLER_H

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
 * Chooses a token. logits (n) are used up; work has room for n floats and n
 * ids. recent are the last n_recent tokens, for the penalty. draw numbers the
 * tokens of a request: together with the seed it decides the random number.
 * *logprob is the token's log-probability under the logits as given. Equal
 * logits: the lowest id wins. -INFINITY marks a token that must not be chosen.
 */
struct sampler_work {
    float *values;
    int *ids;
};
int32_t sampler_choose(const struct sampler *sampler, const struct kernels *kernels, float *logits, int n,
                       const int32_t *recent, int n_recent, uint64_t draw, struct sampler_work *work, float *logprob);

#endif
