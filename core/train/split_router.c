/*
 * split_router.c - a linear router that chooses the experts with the most energy
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/split_router.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 256, MAX_EXPERTS = 1024 };

static const double rate_first = 0.02, rate_last = 0.001, softness_first = 0.5, softness_last = 0.15;

void split_choose(const real *scores, int n, int n_experts, int n_used, real *mask)
{
    for (int r = 0; r < n; r++) {
        const real *s = scores + (size_t) r * (size_t) n_experts;
        real *m = mask + (size_t) r * (size_t) n_experts;
        for (int e = 0; e < n_experts; e++)
            m[e] = 0;
        for (int k = 0; k < n_used; k++) {
            int best = -1;
            for (int e = 0; e < n_experts; e++)
                if (m[e] == 0 && (best < 0 || s[e] > s[best]))
                    best = e;
            m[best] = 1;
        }
    }
}

double split_captured(const real *energy, const real *mask, int n, int n_experts, int judges_only)
{
    double kept = 0, all = 0;
    for (int r = 0; r < n; r++)
        for (int e = 0; e < n_experts && (!judges_only || split_is_judge(r)); e++) {
            size_t i = (size_t) r * (size_t) n_experts + (size_t) e;
            all += (double) energy[i];
            kept += (double) (energy[i] * mask[i]);
        }
    return all > 0 ? kept / all : 1;
}

struct improving {
    const struct split_problem *p;
    const real *energy;
    real *router, *best, *grad, *m, *v;         /* n_experts x d */
    real *x, *scores;                           /* BATCH x d, BATCH x n_experts */
    real *all_scores, *mask;                    /* n x n_experts */
    double mean;                                /* energy of a row */
    int step;
};

/* The threshold between the n_used-th score and the next. */
static real threshold(const real *scores, int n, int n_used)
{
    real copy[MAX_EXPERTS];
    memcpy(copy, scores, (size_t) n * sizeof *copy);
    real last = 0;
    for (int k = 0; k <= n_used; k++) {
        int best = k;
        for (int e = k + 1; e < n; e++)
            if (copy[e] > copy[best])
                best = e;
        real value = copy[best];
        copy[best] = copy[k];
        copy[k] = value;
        if (k == n_used)
            return (last + value) / 2;
        last = value;
    }
    return last;
}

/* scores become the gradient of the energy that is lost. */
static void row_gradient(const struct improving *s, const real *energy, double softness, real *scores)
{
    int n = s->p->n_experts;
    double w[MAX_EXPERTS], sum = 0, mean = 0, t = (double) threshold(scores, n, s->p->n_used);
    for (int e = 0; e < n; e++) {
        double chosen = 1 / (1 + exp((t - (double) scores[e]) / softness));
        w[e] = chosen * (1 - chosen);
        sum += w[e];
        mean += w[e] * (double) energy[e];
    }
    mean = sum > 0 ? mean / sum : 0;
    for (int e = 0; e < n; e++)
        scores[e] = (real) (-w[e] / softness * ((double) energy[e] - mean) / s->mean);
}

static void learn_batch(struct improving *s, const int *rows, int n, double softness, double rate)
{
    const struct split_problem *p = s->p;
    size_t d = (size_t) p->d, ne = (size_t) p->n_experts;
    for (int i = 0; i < n; i++)
        memcpy(s->x + (size_t) i * d, p->h + (size_t) rows[i] * d, d * sizeof *s->x);
    real_gemm_nt(n, p->n_experts, p->d, 1, s->x, p->d, s->router, p->d, 0, s->scores, p->n_experts);
    for (int i = 0; i < n; i++)
        row_gradient(s, s->energy + (size_t) rows[i] * ne, softness, s->scores + (size_t) i * ne);
    real_gemm_tn(p->n_experts, p->d, n, (real) 1 / (real) n, s->scores, p->n_experts, s->x, p->d, 0, s->grad, p->d);
    s->step++;
    struct vector_adamw a = {.rate = (real) rate, .beta1 = (real) 0.9, .beta2 = (real) 0.98, .epsilon = (real) 1e-10,
                             .correct1 = (real) (1 - pow(0.9, s->step)), .correct2 = (real) (1 - pow(0.98, s->step)),
                             .grad_scale = 1};
    p->ops->adamw(&a, s->router, s->grad, s->m, s->v, ne * d);
}

static double judge(struct improving *s)
{
    const struct split_problem *p = s->p;
    real_gemm_nt(p->n, p->n_experts, p->d, 1, p->h, p->d, s->router, p->d, 0, s->all_scores, p->n_experts);
    split_choose(s->all_scores, p->n, p->n_experts, p->n_used, s->mask);
    return split_captured(s->energy, s->mask, p->n, p->n_experts, 1);
}

/* Scores of spread one; the rate of learning then fits every layer. */
static double normalize(struct improving *s)
{
    size_t n = (size_t) s->p->n * (size_t) s->p->n_experts, size = (size_t) s->p->n_experts * (size_t) s->p->d;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double) s->all_scores[i];
        squares += (double) s->all_scores[i] * (double) s->all_scores[i];
        s->mean += (double) s->energy[i] / s->p->n;
    }
    double spread = sqrt(squares / (double) n - sum / (double) n * (sum / (double) n));
    for (size_t i = 0; i < size && spread > 0; i++)
        s->router[i] /= (real) spread;
    squares = 0;
    for (size_t i = 0; i < size; i++)
        squares += (double) s->router[i] * (double) s->router[i];
    return sqrt(squares / (double) size);       /* the size of a weight */
}

/* Rows 0 .. n - 1 but for the judges, in an order of their own in each epoch. */
static int shuffle(const struct split_problem *p, int epoch, int *rows)
{
    int n = 0;
    for (int r = 0; r < p->n; r++)
        if (!split_is_judge(r))
            rows[n++] = r;
    for (int i = n - 1; i > 0; i--) {
        int j = (int) (rng_at(p->seed + 77 + (uint64_t) epoch, (uint64_t) i) % ((uint64_t) i + 1)), row = rows[i];
        rows[i] = rows[j];
        rows[j] = row;
    }
    return n;
}

static void improve(struct improving *s, int *rows)
{
    const struct split_problem *p = s->p;
    size_t size = (size_t) p->n_experts * (size_t) p->d * sizeof(real);
    double best = judge(s), weight = normalize(s);
    memcpy(s->best, s->router, size);
    for (int epoch = 0; epoch < p->epochs && s->mean > 0; epoch++) {
        double at = p->epochs > 1 ? (double) epoch / (p->epochs - 1) : 1;
        double softness = softness_first * pow(softness_last / softness_first, at);
        double rate = weight * rate_first * pow(rate_last / rate_first, at);
        int n = shuffle(p, epoch, rows);
        for (int i = 0; i < n; i += BATCH)
            learn_batch(s, rows + i, n - i < BATCH ? n - i : BATCH, softness, rate);
        double kept = judge(s);
        if (kept > best) {
            best = kept;
            memcpy(s->best, s->router, size);
        }
    }
    memcpy(s->router, s->best, size);
}

dsr1_status split_router_improve(const struct split_problem *p, const real *energy, real *router, dsr1_error *err)
{
    size_t size = (size_t) p->n_experts * (size_t) p->d, pairs = (size_t) p->n * (size_t) p->n_experts;
    if (p->n_used >= p->n_experts || p->n_experts > MAX_EXPERTS)
        return DSR1_OK;
    real *block = memory_array(4 * size + BATCH * (size_t) (p->d + p->n_experts) + 2 * pairs, sizeof *block);
    int *rows = memory_array((size_t) p->n, sizeof *rows);
    dsr1_status status = block && rows ? DSR1_OK : error_nomem(err, "the router's gradient");
    if (status == DSR1_OK) {
        struct improving s = {.p = p, .energy = energy, .router = router, .best = block, .grad = block + size,
                              .m = block + 2 * size, .v = block + 3 * size, .x = block + 4 * size};
        s.scores = s.x + BATCH * (size_t) p->d;
        s.all_scores = s.scores + BATCH * (size_t) p->n_experts;
        s.mask = s.all_scores + pairs;
        improve(&s, rows);
    }
    free(block);
    free(rows);
    return status;
}
