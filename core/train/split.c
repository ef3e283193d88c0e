/*
 * split.c - one dense feed-forward layer into shared and routed experts
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/split.h"

#include "base/error.h"
#include "base/memory.h"
#include "train/gram.h"
#include "train/split_router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double router_ridge = 1e-3;

struct splitting {
    const struct split_problem *p;
    struct gram gram;           /* of the layer's input, factored */
    real *power;                /* n x n_ff: energy of single neurons */
    real *total;                /* n_ff: over all rows */
    real *energy, *target, *scores, *mask;      /* n x n_experts */
    real *kept;                 /* n_experts x n_ff: energy of a neuron in the rows that chose an expert */
    real *gain;                 /* n_routed x n_experts */
    real *rows;                 /* n x width, twice */
    real *gates;                /* n_routed x d */
    int *routed, *group;        /* n_routed: neurons, and where they go */
    bool *is_shared;            /* n_ff */
    int *best_order;
};

/* Neurons move in grains. */
static int n_grains(const struct split_problem *p)
{
    return p->n_ff / p->grain;
}

static int n_routed(const struct split_problem *p)
{
    return p->n_experts * p->width / p->grain;
}

static dsr1_status open_splitting(const struct split_problem *p, struct splitting *s, dsr1_error *err)
{
    size_t n = (size_t) p->n, ff = (size_t) p->n_ff, ne = (size_t) p->n_experts, nr = (size_t) n_routed(p);
    *s = (struct splitting){.p = p};
    dsr1_status status = gram_open(p->d, p->n_experts, &s->gram, err);
    s->power = memory_array(n * ff, sizeof *s->power);
    s->total = memory_array(ff, sizeof *s->total);
    s->energy = memory_array(4 * n * ne, sizeof *s->energy);
    s->kept = memory_array(ne * ff, sizeof *s->kept);
    s->gain = memory_array(nr * ne, sizeof *s->gain);
    s->rows = memory_array(2 * n * (size_t) p->width, sizeof *s->rows);
    s->gates = memory_array(nr * (size_t) p->d, sizeof *s->gates);
    s->routed = memory_array(2 * nr, sizeof *s->routed);
    s->is_shared = memory_array(ff, sizeof *s->is_shared);
    s->best_order = memory_array(ff, sizeof *s->best_order);
    if (status == DSR1_OK && !(s->power && s->total && s->energy && s->kept && s->gain && s->rows && s->gates &&
                               s->routed && s->is_shared && s->best_order))
        status = error_nomem(err, "a layer's calibration");
    if (s->energy) {
        s->target = s->energy + n * ne;
        s->scores = s->energy + 2 * n * ne;
        s->mask = s->energy + 3 * n * ne;
    }
    s->group = s->routed ? s->routed + nr : NULL;
    return status;
}

static void close_splitting(struct splitting *s)
{
    gram_close(&s->gram);
    free(s->power);
    free(s->total);
    free(s->energy);
    free(s->kept);
    free(s->gain);
    free(s->rows);
    free(s->gates);
    free(s->routed);
    free(s->is_shared);
    free(s->best_order);
}

/* power = a^2 |down's column|^2 */
static void measure_neurons(struct splitting *s)
{
    const struct split_problem *p = s->p;
    size_t ff = (size_t) p->n_ff;
    real *norm = s->kept;
    memset(norm, 0, ff * sizeof *norm);
    for (size_t r = 0; r < (size_t) p->d; r++)
        for (size_t j = 0; j < ff; j++)
            norm[j] += p->down[r * ff + j] * p->down[r * ff + j];
    for (size_t r = 0; r < (size_t) p->n; r++)
        for (size_t j = 0; j < ff; j++) {
            s->power[r * ff + j] = p->a[r * ff + j] * p->a[r * ff + j] * norm[j];
            s->total[j] += s->power[r * ff + j];
        }
}

static real grain_sum(const struct split_problem *p, const real *neurons, int grain)
{
    real sum = 0;
    for (int c = 0; c < p->grain; c++)
        sum += neurons[grain * p->grain + c];
    return sum;
}

/* Grains of the highest sum of key (n_ff) are shared, n_shared neurons in all; the others are listed in `routed`. */
static dsr1_status choose_shared(struct splitting *s, const real *key, dsr1_error *err)
{
    int n = n_grains(s->p), m = 0, grain = s->p->grain;
    struct split_rank *ranks = memory_array((size_t) n, sizeof *ranks);
    if (!ranks)
        return error_nomem(err, "a layer's calibration");
    for (int j = 0; j < n; j++)
        ranks[j] = (struct split_rank){grain_sum(s->p, key, j), j};
    qsort(ranks, (size_t) n, sizeof *ranks, split_by_key);
    for (int i = 0; i < n; i++)
        s->is_shared[ranks[i].item] = i < s->p->n_shared / grain;
    for (int j = 0; j < n; j++)
        if (!s->is_shared[j])
            s->routed[m++] = j;
    free(ranks);
    return DSR1_OK;
}

static int write_grain(const struct split_problem *p, int grain, int *order, int at)
{
    for (int c = 0; c < p->grain; c++)
        order[at++] = grain * p->grain + c;
    return at;
}

static void write_order(const struct splitting *s, int *order)
{
    const struct split_problem *p = s->p;
    int at = 0;
    for (int j = 0; j < n_grains(p); j++)
        if (s->is_shared[j])
            at = write_grain(p, j, order, at);
    for (int e = 0; e < p->n_experts; e++)
        for (int i = 0; i < n_routed(p); i++)
            if (s->group[i] == e)
                at = write_grain(p, s->routed[i], order, at);
}

/* |sum of the expert's neurons|^2 for each row: a G a with G = down's columns among themselves. */
static void measure_expert(struct splitting *s, const int *members, int expert, real *columns, real *products)
{
    const struct split_problem *p = s->p;
    size_t w = (size_t) p->width, ff = (size_t) p->n_ff, n = (size_t) p->n;
    real *a = s->rows, *ag = s->rows + n * w;
    for (size_t c = 0; c < w; c++)
        for (size_t r = 0; r < (size_t) p->d; r++)
            columns[c * (size_t) p->d + r] = p->down[r * ff + (size_t) members[c]];
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < w; c++)
            a[r * w + c] = p->a[r * ff + (size_t) members[c]];
    real_gemm_nt(p->width, p->width, p->d, 1, columns, p->d, columns, p->d, 0, products, p->width);
    real_gemm_nn(p->n, p->width, p->width, 1, a, p->width, products, p->width, 0, ag, p->width);
    for (size_t r = 0; r < n; r++) {
        real e = p->ops->dot(a + r * w, ag + r * w, w);
        s->energy[r * (size_t) p->n_experts + (size_t) expert] = e > 0 ? e : 0;
    }
}

static dsr1_status measure_experts(struct splitting *s, const int *order, dsr1_error *err)
{
    const struct split_problem *p = s->p;
    size_t w = (size_t) p->width;
    real *columns = memory_array(w * (size_t) p->d, sizeof *columns), *products = memory_array(w * w, sizeof *columns);
    for (int e = 0; e < p->n_experts && columns && products; e++)
        measure_expert(s, order + p->n_shared + e * p->width, e, columns, products);
    dsr1_status status = columns && products ? DSR1_OK : error_nomem(err, "an expert's energy");
    free(columns);
    free(products);
    return status;
}

/* Ridge regression to the roots of the energies, less their mean, which moves no choice. */
static dsr1_status fit_router(struct splitting *s, real *router, dsr1_error *err)
{
    const struct split_problem *p = s->p;
    size_t ne = (size_t) p->n_experts;
    for (size_t r = 0; r < (size_t) p->n; r++) {
        real mean = 0;
        for (size_t e = 0; e < ne; e++)
            mean += s->target[r * ne + e] = (real) sqrt((double) s->energy[r * ne + e]);
        for (size_t e = 0; e < ne; e++)
            s->target[r * ne + e] -= mean / (real) ne;
    }
    gram_clear_xy(&s->gram);
    gram_add_xy(&s->gram, p->pool, p->h, s->target, p->n, 1);
    return gram_solve(&s->gram, NULL, router, err);
}

static void choose(struct splitting *s, const real *router)
{
    const struct split_problem *p = s->p;
    real_gemm_nt(p->n, p->n_experts, p->d, 1, p->h, p->d, router, p->d, 0, s->scores, p->n_experts);
    split_choose(s->scores, p->n, p->n_experts, p->n_used, s->mask);
}

/* Neurons to where their energy is needed, by the choice at hand. */
static dsr1_status move_neurons(struct splitting *s, dsr1_error *err)
{
    const struct split_problem *p = s->p;
    size_t ff = (size_t) p->n_ff, ne = (size_t) p->n_experts;
    real *lost = memory_array(ff, sizeof *lost);
    if (!lost)
        return error_nomem(err, "a layer's calibration");
    real_gemm_tn(p->n_experts, p->n_ff, p->n, 1, s->mask, p->n_experts, s->power, p->n_ff, 0, s->kept, p->n_ff);
    for (size_t j = 0; j < ff; j++) {
        real best = 0;
        for (size_t e = 0; e < ne; e++)
            best = s->kept[e * ff + j] > best ? s->kept[e * ff + j] : best;
        lost[j] = s->total[j] - best;
    }
    dsr1_status status = choose_shared(s, lost, err);
    free(lost);
    for (int i = 0; i < n_routed(p); i++)
        for (size_t e = 0; e < ne; e++)
            s->gain[(size_t) i * ne + e] = grain_sum(p, s->kept + e * ff, s->routed[i]);
    if (status == DSR1_OK && !split_assign(s->gain, n_routed(p), p->n_experts, p->width / p->grain, s->group))
        status = error_nomem(err, "a layer's calibration");
    return status;
}

static dsr1_status start(struct splitting *s, dsr1_error *err)
{
    const struct split_problem *p = s->p;
    measure_neurons(s);
    gram_add_xx(&s->gram, p->pool, p->h, p->n, 1);
    dsr1_status status = gram_factor(&s->gram, router_ridge, err);
    if (status == DSR1_OK)
        status = choose_shared(s, s->total, err);
    for (int i = 0; i < n_routed(p) && status == DSR1_OK; i++)
        for (int c = 0; c < p->grain; c++)
            p->ops->add(s->gates + (size_t) i * (size_t) p->d, 1,
                        p->gate + ((size_t) s->routed[i] * (size_t) p->grain + (size_t) c) * (size_t) p->d, (size_t) p->d);
    if (status == DSR1_OK && !split_cluster(s->gates, n_routed(p), p->d, p->n_experts, p->seed, s->group))
        status = error_nomem(err, "a layer's calibration");
    return status;
}

/* Energy of the experts that are not chosen: what a round wants little of. */
static double dropped(const struct splitting *s)
{
    size_t pairs = (size_t) s->p->n * (size_t) s->p->n_experts;
    double sum = 0;
    for (size_t i = 0; i < pairs; i++)
        sum += (double) (s->energy[i] * (1 - s->mask[i]));
    return sum;
}

static dsr1_status finish(struct splitting *s, int *order, real *router, struct split_report *report, dsr1_error *err)
{
    const struct split_problem *p = s->p;
    dsr1_status status = measure_experts(s, order, err);
    if (status == DSR1_OK)
        status = fit_router(s, router, err);
    if (status != DSR1_OK)
        return status;
    split_choose(s->energy, p->n, p->n_experts, p->n_used, s->mask);
    report->oracle = split_captured(s->energy, s->mask, p->n, p->n_experts, 1);
    choose(s, router);
    report->ridge = split_captured(s->energy, s->mask, p->n, p->n_experts, 1);
    status = split_router_improve(p, s->energy, router, err);
    choose(s, router);
    report->router = split_captured(s->energy, s->mask, p->n, p->n_experts, 1);
    double shared = 0, all = 0;
    for (int i = 0; i < p->n_ff; i++) {
        all += (double) s->total[order[i]];
        shared += i < p->n_shared ? (double) s->total[order[i]] : 0;
    }
    report->shared = all > 0 ? shared / all : 0;
    return status;
}

dsr1_status split_layer(const struct split_problem *p, int *order, real *router, struct split_report *report,
                        dsr1_error *err)
{
    struct splitting s;
    double best = INFINITY;
    dsr1_status status = open_splitting(p, &s, err);
    if (status == DSR1_OK)
        status = start(&s, err);
    for (int round = 0; round <= p->rounds && status == DSR1_OK; round++) {
        write_order(&s, order);
        status = measure_experts(&s, order, err);
        if (status == DSR1_OK)
            status = fit_router(&s, router, err);
        if (status != DSR1_OK)
            break;
        choose(&s, router);
        double now = dropped(&s);
        if (now < best) {
            best = now;
            memcpy(s.best_order, order, (size_t) p->n_ff * sizeof *order);
        }
        if (round < p->rounds)
            status = move_neurons(&s, err);
    }
    if (status == DSR1_OK) {
        memcpy(order, s.best_order, (size_t) p->n_ff * sizeof *order);
        status = finish(&s, order, router, report, err);
    }
    close_splitting(&s);
    return status;
}
