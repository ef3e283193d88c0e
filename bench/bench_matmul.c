/*
 * bench_matmul.c - how fast matrix products compute, and how fast they read
 *
 * Prints one JSON object. Matrices of 128 rows follow one another in a block that no
 * cache holds, as the weights of a large model do, and each meets all columns before the
 * next is read. gb_s counts bytes of weights, gop_s multiplications and additions in
 * 1e9 a second. "file" is the same from file format, packed on the fly. Every measurement is
 * the best of five, each taken right behind a plain loop that reads the same memory:
 * read_gb_s is the best of those, so both saw the same neighbours.
 *
 *   bench_matmul [scalar|avx2|avx512 [TYPE]...]
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/clock.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "kernel/panel.h"
#include "read_piece.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_IN = 2048, N_OUT = 128, MOST_COLUMNS = 512, MOST_THREADS = 2, MEMORY_SIZE = 1 << 30, ROUNDS = 5 };

static const double seconds = 0.03; /* of a round */

/* What a thread needs for itself, and where it has come to in its share of the memory. */
struct worker {
    uint8_t *scratch;
    float *results;
    float *y[MOST_COLUMNS];
    int mat;
    size_t position;
    double rate;
};

struct bench {
    const struct kernels *k;
    uint8_t *memory;
    uint8_t *records;
    float *values;
    const void *x[MOST_COLUMNS];
    struct weight weight;
    int n_columns;
    struct worker workers[MOST_THREADS];
};

/* Bytes a second that one of n_threads reads from its share. */
static void read_work(void *context, int thread, int n_threads)
{
    enum { PIECE = 1 << 18 };
    struct bench *b = context;
    struct worker *w = &b->workers[thread];
    size_t share = MEMORY_SIZE / (size_t) n_threads;
    double began = clock_seconds(), now, done = 0;
    do {
        if (w->position + PIECE > share)
            w->position = 0;
        read_piece_sink = read_piece(b->memory + (size_t) thread * share + w->position, PIECE);
        w->position += PIECE;
        done += PIECE;
        now = clock_seconds();
    } while (now - began < seconds);
    w->rate = done / (now - began);
}

/* Matrices a second that one of n_threads multiplies with all columns. */
static void product_work(void *context, int thread, int n_threads)
{
    struct bench *b = context;
    struct worker *w = &b->workers[thread];
    int share = b->weight.n_mats / n_threads;
    double began = clock_seconds(), now, done = 0;
    do {
        w->mat = (w->mat + 1) % share;
        matmul_panels(b->k, &b->weight, thread * share + w->mat, 0, weight_panels(&b->weight), b->x, b->n_columns, w->y,
                      NULL, w->scratch);
        done++;
        now = clock_seconds();
    } while (now - began < seconds);
    w->rate = done / (now - began);
}

static double rate_of(struct bench *b, struct thread_pool *pool, thread_work work)
{
    double sum = 0;
    thread_pool_run(pool, work, b);
    for (int t = 0; t < thread_pool_size(pool); t++)
        sum += b->workers[t].rate;
    return sum;
}

static void measure(struct bench *b, struct thread_pool *pool, int n_columns)
{
    static const char *separator = "";
    double best = 0, best_read = 0;
    const struct weight *w = &b->weight;
    b->n_columns = n_columns;
    for (int round = 0; round < ROUNDS; round++) {
        double reads = rate_of(b, pool, read_work), products = rate_of(b, pool, product_work);
        best_read = reads > best_read ? reads : best_read;
        best = products > best ? products : best;
    }
    size_t panels = (size_t) weight_panels(w) * panel_size(w->type, N_IN);
    double size = (double) (w->panels ? panels : w->row_size * N_OUT);
    printf("%s\n  {\"type\": \"%s\", \"layout\": \"%s\", \"columns\": %d, \"threads\": %d, \"gb_s\": %.2f, "
           "\"gop_s\": %.1f, \"read_gb_s\": %.2f}",
           separator, tensor_type_name(w->type), w->panels ? "panels" : "file", n_columns, thread_pool_size(pool),
           best * size * 1e-9, best * 2e-9 * N_OUT * N_IN * n_columns, best_read * 1e-9);
    fflush(stdout);
    separator = ",";
}

/* Column c in a form of 8 bits. */
static uint8_t *record(const struct bench *b, enum act_form form, int c)
{
    return b->records + ((size_t) form * MOST_COLUMNS + (size_t) c) * act_q8_size(N_IN);
}

static void bench_type(struct bench *b, struct thread_pool *pool, enum tensor_type type)
{
    enum act_form form = weight_act_form(type);
    static const int counts[] = {1, 4, 16, 64, 512};
    size_t size = N_OUT / PANEL_ROWS * panel_size(type, N_IN);
    b->weight = (struct weight){.type = type, .n_in = N_IN, .n_out = N_OUT, .n_mats = (int) (MEMORY_SIZE / size),
                                .row_size = tensor_type_row(type, N_IN), .data = b->memory};
    for (int c = 0; c < MOST_COLUMNS; c++)
        b->x[c] = form == ACT_FLOATS ? (const void *) (b->values + (size_t) c * N_IN) : record(b, form, c);
    for (int t = 0; t < MOST_THREADS; t++)
        b->workers[t].mat = 0;
    b->weight.panels = b->memory;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        measure(b, pool, counts[i]);
    b->weight.panels = NULL;
    measure(b, pool, 1);
    measure(b, pool, 64);
}

/* Room for everything, and columns of ordinary numbers. */
static bool prepare(struct bench *b)
{
    b->memory = memory_map(MEMORY_SIZE);
    b->records = aligned_alloc(64, ACT_FORMS * MOST_COLUMNS * act_q8_size(N_IN));
    b->values = aligned_alloc(64, MOST_COLUMNS * N_IN * sizeof(float));
    for (int t = 0; t < MOST_THREADS; t++) {
        struct worker *w = &b->workers[t];
        w->scratch = aligned_alloc(64, panel_size(TENSOR_F32, N_IN));
        w->results = memory_array(MOST_COLUMNS, N_OUT * sizeof(float));
        if (!w->scratch || !w->results)
            return false;
        for (int c = 0; c < MOST_COLUMNS; c++)
            w->y[c] = w->results + (size_t) c * N_OUT;
    }
    if (!b->memory || !b->records || !b->values)
        return false;
    /* 0x2435 is a small half, and as a float, an exponent or a code nothing special either. */
    for (size_t i = 0; i < MEMORY_SIZE; i += 2)
        memcpy(b->memory + i, "\x35\x24", 2);
    for (size_t c = 0; c < MOST_COLUMNS; c++) {
        for (size_t i = 0; i < N_IN; i++)
            b->values[c * N_IN + i] = (float) ((int) (c * 31 + i * 7) % 17 - 8) * 0.01f;
        for (enum act_form form = ACT_BLOCKS; form < ACT_FORMS; form++)
            b->k->quantize[form](b->values + c * N_IN, N_IN, record(b, form, (int) c));
    }
    return true;
}

static void release(struct bench *b)
{
    memory_unmap(b->memory, MEMORY_SIZE);
    free(b->records);
    free(b->values);
    for (int t = 0; t < MOST_THREADS; t++) {
        free(b->workers[t].scratch);
        free(b->workers[t].results);
    }
}

static enum cpu_level level_of(const char *name)
{
    for (int level = 0; level < CPU_LEVELS; level++)
        if (name && strcmp(name, cpu_level_name((enum cpu_level) level)) == 0 && level <= (int) cpu_level_hardware())
            return (enum cpu_level) level;
    return cpu_level();
}

static bool wanted(enum tensor_type type, int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        if (tensor_type_parse(argv[i]) == (int) type)
            return true;
    return argc <= 2 && tensor_type_known(type);
}

static int run(struct bench *b, int argc, char **argv)
{
    for (int n = 1; n <= MOST_THREADS && n <= cpu_count(); n++) {
        struct thread_pool *pool;
        if (thread_pool_open(n, &pool, NULL) < 0)
            return 1;
        for (int t = 0; t < TENSOR_TYPES; t++)
            if (wanted((enum tensor_type) t, argc, argv))
                bench_type(b, pool, (enum tensor_type) t);
        thread_pool_close(pool);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct bench b;
    int status = 1;
    b.k = kernels_for(level_of(argc > 1 ? argv[1] : NULL));
    if (prepare(&b)) {
        printf("{\"benchmark\": \"matmul\", \"cpu\": \"%s\", \"level\": \"%s\", \"n_in\": %d, \"results\": [", cpu_brand(),
               cpu_level_name(b.k->level), N_IN);
        status = run(&b, argc, argv);
        printf("]}\n");
    }
    if (status)
        fputs("bench_matmul: out of memory\n", stderr);
    release(&b);
    return status;
}
