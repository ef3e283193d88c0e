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

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int argmax(const float *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

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

static int sample(const struct sampler *s, const struct kernels *k, float *p, int n, uint64_t index, int *ids)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        p[i] /= s->temperature;
    double total = k->softmax_exp(p, n);
    /* The largest is exp(0) = 1, so min_p and the dropping of zeros are plain comparisons. */
    for (int i = 0; i < n; i++)
        if (p[i] > 0 && p[i] >= s->min_p)
            ids[count++] = i;
    bool limited = (s->top_k > 0 && s->top_k < count) || (s->top_p > 0 && s->top_p < 1);
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
    for (int i = 0; i < n; i++)
        if (!(allowed[i / 64] >> (i % 64) & 1))
            values[i] = -INFINITY;
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
    return s->temperature > 0 ? sample(s, k, work->values, n, index, work->ids) : argmax(work->values, n);
}
