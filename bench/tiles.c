/*
 * tiles.c - products of several builds of matmul_LEVEL.c, in turns
 *
 * Prints one JSON object a line: for each type and number of columns the speed of every build and its ratio to the
 * first. Builds are shared objects (bench/compare-tiles makes them) with functions of the same
 * names; panels lie in the cache, or follow one another through memory as weights do. Medians of rounds in which every
 * build had its turn: a percent can be told apart in a second, where bench_matmul needs a minute.
 *
 *   tiles LEVEL TYPES COLUMNS cache|memory BUILD...      lists with commas
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "builds.h"
#include "median.h"

#include "base/clock.h"
#include "base/memory.h"
#include "kernel/panel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_IN = 2048, MOST_COLUMNS = 64, ROUNDS = 101, MEMORY_ROUNDS = 15, CACHED = 8 };

struct bench {
    struct builds builds;
    bool from_memory;
    uint8_t *panels;
    size_t size;            /* of all panels */
};

/* Products a second with n panels, one after the other. */
static double rate(product_function product, struct panel_product *p, const uint8_t *panels, int n, size_t panel_bytes)
{
    int repeats = 1 + 4000 / (n * p->n_cols);
    double began = clock_seconds();
    for (int r = 0; r < repeats; r++)
        for (int i = 0; i < n; i++) {
            const void *panel = panels + (size_t) i * panel_bytes;
            p->panels = &panel;
            p->next = panels + (size_t) (i + 1 < n ? i + 1 : 0) * panel_bytes;
            product(p);
        }
    return repeats * n / (clock_seconds() - began);
}

static bool measure(const struct bench *b, enum tensor_type type, const char *name, int n_columns)
{
    static _Alignas(64) uint8_t records[MOST_COLUMNS * 2 * N_IN];
    static float values[N_IN], results[MOST_COLUMNS][PANEL_ROWS];
    static double rates[MOST_BUILDS][ROUNDS];
    const void *x[MOST_COLUMNS];
    float *y[MOST_COLUMNS];
    product_function product[MOST_BUILDS];
    const int n_builds = b->builds.n;
    for (int i = 0; i < n_builds; i++) {
        product[i] = builds_product(&b->builds, i, name);
        if (!product[i])
            return false;
    }
    for (int c = 0; c < n_columns; c++) {
        for (int i = 0; i < N_IN; i++)
            values[i] = (float) ((c * 31 + i * 7) % 17 - 8) * 0.01f;
        uint8_t *record = records + (size_t) c * act_q8_size(N_IN); /* as in a step: not 4 KiB from one to the next */
        kernels_default()->quantize[weight_act_form(type)](values, N_IN, record);
        x[c] = record;
        y[c] = results[c];
    }
    struct panel_product p = {.n_panels = 1, .n_in = N_IN, .n_rows = PANEL_ROWS, .x = x, .n_cols = n_columns, .y = y};
    p.fetch = b->from_memory ? cpu_fetch(n_columns == 1) : CPU_FETCH_NOTHING;
    size_t panel_bytes = panel_size(type, N_IN);
    int n = b->from_memory ? (int) (b->size / panel_bytes) : CACHED, rounds = b->from_memory ? MEMORY_ROUNDS : ROUNDS;
    for (int r = 0; r < rounds; r++)
        for (int k = 0; k < n_builds; k++) {
            int i = (k + r) % n_builds;
            rates[i][r] = rate(product[i], &p, b->panels, n, panel_bytes);
        }
    printf("{\"type\": \"%s\", \"columns\": %d, \"from\": \"%s\", \"builds\": [", name, n_columns,
           b->from_memory ? "memory" : "cache");
    for (int i = 0; i < n_builds; i++) {
        double middle = median(rates[i], rounds);
        printf("%s{\"gop_s\": %.1f, \"gb_s\": %.2f, \"ratio\": %.3f}", i ? ", " : "",
               middle * 2e-9 * PANEL_ROWS * N_IN * n_columns, middle * (double) panel_bytes * 1e-9,
               middle / rates[0][rounds / 2]);
    }
    printf("]}\n");
    fflush(stdout);
    return true;
}

static bool measure_all(const struct bench *b, char *types, const char *columns)
{
    for (char *state = NULL, *name = strtok_r(types, ",", &state); name; name = strtok_r(NULL, ",", &state)) {
        int type = tensor_type_parse(name);
        if (type < 0 || weight_act_form((enum tensor_type) type) == ACT_FLOATS) {
            fprintf(stderr, "tiles: %s is no type of quantised weights\n", name);
            return false;
        }
        for (const char *c = columns; *c;) {
            int n = next_number(&c, MOST_COLUMNS);
            if (n == 0 || !measure(b, (enum tensor_type) type, name, n))
                return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 6 || argc - 5 > MOST_BUILDS) {
        fprintf(stderr, "Usage: %s LEVEL TYPES COLUMNS cache|memory BUILD...\n", argv[0]);
        return 2;
    }
    struct bench b = {.from_memory = strcmp(argv[4], "memory") == 0};
    if (!builds_open(&b.builds, argv[1], argc - 5, argv + 5))
        return 1;
    b.size = b.from_memory ? 256 << 20 : 1 << 20;
    b.panels = memory_map(b.size);
    if (!b.panels) {
        fprintf(stderr, "tiles: out of memory\n");
        return 1;
    }
    for (size_t i = 0; i < b.size; i += 2)
        memcpy(b.panels + i, "\x35\x24", 2); /* halves of an ordinary size wherever a scale is */
    return measure_all(&b, argv[2], argv[3]) ? 0 : 1;
}
