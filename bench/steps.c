/*
 * steps.c - steps of a whole model with several builds of matmul_LEVEL.c, in turns
 *
 * What gains in a loop over panels (tiles.c) may gain nothing in a model, where two threads read, go from expert to
 * expert and wait for each other. Here builds take turns with the steps of the same sequences: a percent can be
 * told within a minute, on a machine whose memory is fast now and slow then. Prints one JSON object a line: for each number
 * of rows (sequences that decode a token) the median milliseconds of a step with every build, and the median over all
 * rounds of its time divided by the first build's; the same for the third of the rounds that were fastest and slowest.
 *
 *   steps LEVEL MODEL ROWS SECONDS BUILD...      ROWS is a list with commas; SECONDS each
 *
 * Builds and this program must have the same struct panel_product.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "builds.h"
#include "median.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "base/rng.h"
#include "gguf/gguf.h"
#include "kernel/panel.h"
#include "model/pack.h"
#include "model/step.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_ROWS = 256, MOST_ROUNDS = 1 << 14, CONTEXT = 256 };

struct round {
    double seconds[MOST_BUILDS], all;
};

struct bench {
    struct builds builds;
    struct kernels kernels[MOST_BUILDS];
    struct model model;
    struct thread_pool *pool;
    struct kv_cache cache;
    struct step step;
    struct kv_seq seqs[MOST_ROWS];
    uint64_t draws;
    struct round rounds[MOST_ROUNDS];
    int n_rounds;
};

static int faster(const void *a, const void *b)
{
    return ascending(&((const struct round *) a)->all, &((const struct round *) b)->all);
}

static bool take_product(struct bench *b, int build, enum tensor_type type, const char *name)
{
    product_function product = builds_product(&b->builds, build, name);
    b->kernels[build].panel_product[type] = product;
    return product;
}

/* This machine's kernels, with the products of quantised weights that each build has. */
static bool take_products(struct bench *b)
{
#define TAKE(i, name, type, ...) && take_product(b, i, type, #name)
    bool all = true;
    for (int i = 0; i < b->builds.n && all; i++) {
        b->kernels[i] = *kernels_default();
        all = true PANEL_Q8_TYPES(TAKE, i);
    }
    return all;
}

static dsr1_status open_model(struct bench *b, const char *path, dsr1_error *err)
{
    struct gguf *gguf;
    dsr1_status status = gguf_open(path, &gguf, err);
    if (status == DSR1_OK)
        status = model_open(gguf, &b->model, err);
    if (status == DSR1_OK)
        status = thread_pool_open(cpu_count(), &b->pool, err);
    if (status == DSR1_OK && !pack_find(&b->model.weights, path))
        status = pack_memory(&b->model.weights, b->pool, err);
    struct kv_shape shape = model_kv_shape(&b->model, KV_BF16);
    if (status == DSR1_OK)
        status = kv_cache_open(&b->cache, &shape, 0, MOST_ROWS * kv_pages_for(CONTEXT), err);
    if (status == DSR1_OK)
        status = step_open(&b->model, &b->cache, b->pool, &b->kernels[0], MOST_ROWS, MOST_ROWS, 0, &b->step, err);
    for (int i = 0; i < MOST_ROWS && status == DSR1_OK; i++)
        status = kv_seq_reserve(&b->cache, &b->seqs[i], CONTEXT, err);
    return status;
}

static double time_step(struct bench *b, int build, int n_rows, int position)
{
    struct step *s = &b->step;
    s->kernels = &b->kernels[build];
    s->n_rows = n_rows;
    for (int r = 0; r < n_rows; r++) {
        int32_t token = (int32_t) (rng_uniform(1, b->draws++) * b->model.shape.n_vocab);
        s->rows[r] = (struct step_row){.token = token, .position = position, .seq = &b->seqs[r], .logits = r};
    }
    double began = clock_seconds();
    step_run(s);
    return clock_seconds() - began;
}

/* Sequences start anew when the context is full. */
static void run_rounds(struct bench *b, int n_rows, double seconds)
{
    int position = 0;
    double began = clock_seconds();
    for (b->n_rounds = 0; b->n_rounds < MOST_ROUNDS && clock_seconds() - began < seconds; b->n_rounds++) {
        struct round *round = &b->rounds[b->n_rounds];
        round->all = 0;
        for (int k = 0; k < b->builds.n; k++) {
            int i = (k + b->n_rounds) % b->builds.n;
            round->seconds[i] = time_step(b, i, n_rows, position++ % CONTEXT);
            round->all += round->seconds[i];
        }
    }
}

/* Of rounds from .. to - 1: the median of what a build took, in milliseconds or of the first build's time. */
static double summary(const struct bench *b, int build, bool ratio, int from, int to)
{
    static double values[MOST_ROUNDS];
    for (int r = from; r < to; r++)
        values[r - from] = b->rounds[r].seconds[build] * (ratio ? 1 / b->rounds[r].seconds[0] : 1e3);
    return median(values, to - from);
}

static void report(struct bench *b, int n_rows)
{
    int n = b->n_rounds, third = (n + 2) / 3;
    qsort(b->rounds, (size_t) n, sizeof *b->rounds, faster);
    printf("{\"rows\": %d, \"rounds\": %d, \"builds\": [", n_rows, n);
    for (int i = 0; i < b->builds.n; i++)
        printf("%s{\"ms\": %.3f, \"ratio\": %.4f, \"fast\": {\"ms\": %.3f, \"ratio\": %.4f}, \"slow\": {\"ms\": %.3f, "
               "\"ratio\": %.4f}}", i ? ", " : "", summary(b, i, false, 0, n), summary(b, i, true, 0, n),
               summary(b, i, false, 0, third), summary(b, i, true, 0, third), summary(b, i, false, n - third, n),
               summary(b, i, true, n - third, n));
    printf("]}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct bench b;
    dsr1_error err = {0};
    double seconds = argc > 4 ? strtod(argv[4], NULL) : 0;
    if (argc < 6 || argc - 5 > MOST_BUILDS || !(seconds > 0)) {
        fprintf(stderr, "Usage: %s LEVEL MODEL ROWS SECONDS BUILD...\n", argv[0]);
        return 2;
    }
    if (!builds_open(&b.builds, argv[1], argc - 5, argv + 5) || !take_products(&b))
        return 1;
    if (open_model(&b, argv[2], &err) != DSR1_OK) {
        fprintf(stderr, "steps: %s\n", err.message);
        return 1;
    }
    for (const char *rows = argv[3]; *rows;) {
        int n = next_number(&rows, MOST_ROWS);
        if (n == 0)
            return 2;
        run_rounds(&b, n, seconds);
        report(&b, n);
    }
    return 0;
}
