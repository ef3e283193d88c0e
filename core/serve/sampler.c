/*
 * sampler.c - from logits to one token
 *
 * Order: repetition penalty (CTRL, arXiv:1909.05858), temperature, top-k,
 * top-p (arXiv:1904.09751), min-p (arXiv:2407.01082), one draw. A draw depends
 * on (seed, index of the token in its answer) alone.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "serve/sampler.h"

#include "base/rng.h"
#include "kernel/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void penalize(float *logits, int n, float penalty, const int32_t *recent, int n_recent)
{
    for (int i = 0; i < n_recent; i++) {
        bool seen = recent[i] < 0 || recent[i] >= n;
        for (int j = 0; j < i && !seen; j++)
            seen = recent[j] == recent[i];
        if (!seen)
            logits[recent[i]] *= logits[recent[i]] > 0 ? 1 / penalty : penalty;
    }
}

/* A heap of candidates, largest probability on top, lowest id among equals. */
static bool before(const float *p, int a, int b)
{
    return p[a] > p[b] || (p[a] == p[b] && a < b);
}

static void sift_down(const float *p, int *heap, int n, int i)
{
    for (;;) {
        int child = 2 * i + 1;
        if (child >= n)
            return;
        if (child + 1 < n && before(p, heap[child + 1], heap[child]))
            child++;
        if (!before(p, heap[child], heap[i]))
            return;
        int swap = heap[i];
        heap[i] = heap[child];
        heap[child] = swap;
        i = child;
    }
}

/*
 * Pops candidates in descending order until one of the limits is reached; they
 * gather at the end of ids. Returns how many. A heap, because a limit is usually
 * met after a handful out of 10^5.
 */
static int pop_candidates(const struct sampler *s, const float *p, int *ids, int n, double total)
{
    int wanted = s->top_k > 0 && s->top_k < n ? s->top_k : n, found = 0;
    double mass = 0;
    for (int i = n / 2 - 1; i >= 0; i--)
        sift_down(p, ids, n, i);
    while (found < wanted && n > 0) {
        int best = ids[0];
        ids[0] = ids[n - 1];
        sift_down(p, ids, --n, 0);
        ids[n] = best;
        found++;
        mass += p[best];
        if (s->top_p > 0 && s->top_p < 1 && mass >= s->top_p * total)
            break;
    }
    return found;
}

static int draw(const float *p, const int *ids, int n, double u)
{
    double total = 0, sum = 0;
    for (int i = 0; i < n; i++)
        total += p[ids[i]];
    for (int i = 0; i < n; i++) {
        sum += p[ids[i]];
        if (u * total < sum)
            return ids[i];
    }
    return ids[n - 1];
}

/*
 * What cannot be among the candidates is below this, ids being room for some: of 10^5 tokens a few thousand at most are
 * left to be put in order. The largest is exp(0) = 1, so min_p is a plain comparison. All tokens below (1 - top_p) / n
 * of the total have less than 1 - top_p of it together; half of that, for the roundings of sums.
 */
static float least_candidate(const struct sampler *s, const float *p, int n, double total, int *ids)
{
    enum { FEW = 64 }; /* for which ops_top_k is meant */
    float least = s->min_p;
    if (s->top_k > 0 && s->top_k <= FEW && s->top_k < n)
        least = fmaxf(least, p[ids[ops_top_k(p, n, s->top_k, ids) - 1]]);
    if (s->top_p > 0 && s->top_p < 1)
        least = fmaxf(least, (float) ((1 - (double) s->top_p) * total / n / 2));
    return least;
}

static int sample(const struct sampler *s, const struct kernels *k, float *p, int n, uint64_t index, int *ids)
{
    int count = 0, likely = 0;
    for (int i = 0; i < n; i++)
        p[i] /= s->temperature;
    double total = k->softmax_exp(p, n);
    float least = least_candidate(s, p, n, total, ids);
    /* Without a branch, which would be taken at random. */
    for (int i = 0; i < n; i++) {
        ids[count] = i;
        count += p[i] > 0 && p[i] >= least;
        likely += p[i] > 0 && p[i] >= s->min_p;
    }
    bool limited = (s->top_k > 0 && s->top_k < likely) || (s->top_p > 0 && s->top_p < 1);
    double u = rng_uniform(s->seed, index);
    if (!limited)
        return draw(p, ids, count, u);
    int kept = pop_candidates(s, p, ids, count, total);
    return draw(p, ids + count - kept, kept, u);
}

int sampler_top(const float *logits, int n, double log_total, dsr1_top *top, int most)
{
    int count = 0;
    for (int i = 0; i < n && most > 0; i++) {
        if (count == most && logits[i] <= top[count - 1].logprob)
            continue;
        int at = count < most ? count++ : most - 1;
        for (; at > 0 && top[at - 1].logprob < logits[i]; at--)
            top[at] = top[at - 1];
        top[at] = (dsr1_top){i, logits[i]};
    }
    for (int i = 0; i < count; i++)
        top[i].logprob = (float) (top[i].logprob - log_total);
    return count;
}

static void forbid(float *values, int n, const uint64_t *allowed)
{
    for (int first = 0; first < n; first += 64) {
        uint64_t word = allowed[first / 64];
        int m = n - first < 64 ? n - first : 64;
        for (int i = 0; i < m && ~word; i++)
            values[first + i] = word >> i & 1 ? values[first + i] : -INFINITY;
    }
}

int32_t sampler_choose(const struct sampler *s, const struct kernels *k, const float *logits, int n,
                       const uint64_t *allowed, const int32_t *recent, int n_recent, uint64_t index,
                       struct sampler_work *work)
{
    memcpy(work->values, logits, (size_t) n * sizeof *logits);

    if (s->repeat_penalty > 0 && s->repeat_penalty != 1)
        penalize(work->values, n, s->repeat_penalty, recent, n_recent);
    if (allowed)
        forbid(work->values, n, allowed);
    return s->temperature > 0 ? sample(s, k, work->values, n, index, work->ids) : ops_argmax(work->values, n);
}
