/*
 * bench_matmul.c - how fast matrix products compute, and how fast they read
 *
 * Prints one JSON object. For each format and number of columns: a matrix of 128
 * rows that stays in the second level of cache memory, one too large for any cache
 * ("memory": decode of a large model), and the latter in file format, packed on the
 * fly ("unpacked"). Rates are 1e9 integer or float operations a second, and bytes of
 * weights. One thread, best of five.
 *
 *   bench_matmul [scalar|avx2|avx512] [TYPE]...
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/clock.h"
#include "base/memory.h"
#include "kernel/panel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_IN = 2048, MOST_COLUMNS = 64, SMALL_PANELS = 8, MEMORY_SIZE = 256 << 20, ROUNDS = 5 };

static const double seconds = 0.04;     /* of a round */

struct bench {
    const struct kernels *k;
    uint8_t *memory, *scratch;
    const void *x[MOST_COLUMNS];
    float *y[MOST_COLUMNS];
};

/* Panels first .. of a matrix, over and over for a while; panels a second. `at` goes on where the last round ended. */
static double panels_a_second(struct bench *b, const struct weight *w, int n_cols, int *at)
{
    int n_panels = weight_panels(w), step = n_panels < SMALL_PANELS ? n_panels : SMALL_PANELS;
    double began = clock_seconds(), now;
    long done = 0;
    do {
        if (*at + step > n_panels)
            *at = 0;
        matmul_panels(b->k, w, 0, *at, *at + step, b->x, n_cols, b->y, b->scratch);
        *at += step;
        done += step;
        now = clock_seconds();
    } while (now - began < seconds);
    return (double) done / (now - began);
}

static void measure(struct bench *b, const char *name, struct weight w, int n_cols)
{
    double best = 0;
    int at = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double rate = panels_a_second(b, &w, n_cols, &at);
        best = rate > best ? rate : best;
    }
    double size = w.panels ? (double) panel_size(w.type, w.n_in) : (double) w.row_size * PANEL_ROWS;
    printf(", \"%s\": {\"gop_s\": %.1f, \"gb_s\": %.2f}", name, best * 2e-9 * PANEL_ROWS * N_IN * n_cols,
           best * size * 1e-9);
}

/* Columns of ordinary numbers, in the format that the type wants. */
static void make_columns(struct bench *b, enum tensor_type type)
{
    static float values[MOST_COLUMNS][N_IN];
    static _Alignas(64) uint8_t rows[MOST_COLUMNS][2 * N_IN];
    for (int c = 0; c < MOST_COLUMNS; c++) {
        for (int i = 0; i < N_IN; i++)
            values[c][i] = (float) ((c * 31 + i * 7) % 17 - 8) * 0.01f;
        b->k->quantize_row(values[c], N_IN, rows[c]);
        b->x[c] = weight_wants_q8(type) ? (const void *) rows[c] : values[c];
    }
}

static void bench_type(struct bench *b, enum tensor_type type, const char *separator)
{
    static const int counts[] = {1, 2, 4, 8, 16, 64};
    size_t panel = panel_size(type, N_IN), row = tensor_type_row(type, N_IN);
    int small = SMALL_PANELS * PANEL_ROWS, large = (int) (MEMORY_SIZE / panel) * PANEL_ROWS;
    struct weight w = {.type = type, .n_in = N_IN, .n_mats = 1, .row_size = row, .data = b->memory};
    make_columns(b, type);
    printf("%s\n  {\"type\": \"%s\", \"columns\": [", separator, tensor_type_name(type));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        printf("%s\n    {\"n\": %d", i ? "," : "", counts[i]);
        w.n_out = small;
        w.panels = b->memory;
        measure(b, "cache", w, counts[i]);
        w.n_out = large;
        measure(b, "memory", w, counts[i]);
        w.panels = NULL;
        measure(b, "unpacked", w, counts[i]);
        printf("}");
        fflush(stdout);
    }
    printf("]}");
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

int main(int argc, char **argv)
{
    static struct bench b;
    static float results[MOST_COLUMNS][(MEMORY_SIZE / N_IN) * 4];
    b.k = kernels_for(level_of(argc > 1 ? argv[1] : NULL));
    b.memory = memory_map(MEMORY_SIZE);
    b.scratch = aligned_alloc(64, panel_size(TENSOR_F32, N_IN));
    if (!b.memory || !b.scratch) {
        fputs("bench_matmul: out of memory\n", stderr);
        return 1;
    }
    for (int c = 0; c < MOST_COLUMNS; c++)
        b.y[c] = results[c];
    /* 0x2435 is a small half, and as a float, an exponent or a code nothing special either. */
    for (size_t i = 0; i < MEMORY_SIZE; i += 2)
        memcpy(b.memory + i, "\x35\x24", 2);
    printf("{\"cpu\": \"%s\", \"level\": \"%s\", \"n_in\": %d, \"types\": [", cpu_brand(), cpu_level_name(b.k->level),
           N_IN);
    const char *separator = "";
    for (int t = 0; t < TENSOR_TYPES; t++) {
        if (!wanted((enum tensor_type) t, argc, argv))
            continue;
        bench_type(&b, (enum tensor_type) t, separator);
        separator = ",";
    }
    printf("]}\n");
    memory_unmap(b.memory, MEMORY_SIZE);
    free(b.scratch);
    return 0;
}
