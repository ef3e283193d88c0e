/*
 * bench_attend.c - how fast attention reads the cache and how fast it multiplies
 *
 * Prints one JSON object. Decode: n_q heads of one token read 2048 positions, over
 * a cache too large for the last level of cache memory, as the layers of a model
 * would; in GB/s of cached bytes. Prefill: 64 queries see whole pieces of 64
 * positions that stay in the second level; in Gflop/s. One thread, best of five.
 *
 *   bench_attend [scalar|avx2|avx512|avx512bf16 [f16|f32|q8_0|bf16 [64|128|576/512]]]
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/clock.h"
#include "base/memory.h"
#include "kernel/ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POSITIONS = 2048, MOST_QUERIES = 128, CACHE_SIZE = 192 << 20 };

struct bench {
    const struct kernels *kernels;
    const char *type, *heads; /* NULL for all */
    uint8_t *cache;
    float *q_rows, *acc_rows;
    const void *q[MOST_QUERIES];
    float *acc[MOST_QUERIES];
    int from[MOST_QUERIES], to[MOST_QUERIES];
    struct attend_state state[MOST_QUERIES];
};

struct shape {
    const char *name;
    int n_k, n_v;
    bool latent;
};

static const struct shape shapes[] = {{"64", 64, 64, false}, {"128", 128, 128, false}, {"576/512", 576, 512, true}};

static size_t bytes_of(const struct shape *shape, enum kv_type type, int positions)
{
    size_t row = kv_row_size(type, (size_t) shape->n_k);
    if (!shape->latent)
        row += kv_row_size(type, (size_t) shape->n_v);
    return row * (size_t) positions;
}

static void start(struct bench *b, const struct shape *shape, enum kv_type type, int n_q)
{
    for (int i = 0; i < n_q; i++) {
        float q[576], *row = b->q_rows + (size_t) i * (size_t) shape->n_k;
        for (int j = 0; j < shape->n_k; j++)
            q[j] = (float) ((i * 31 + j * 7) % 17 - 8) * 0.01f;
        b->kernels->load_query(type, 1, q, shape->n_k, row);
        b->q[i] = row;
        b->acc[i] = b->acc_rows + (size_t) i * (size_t) shape->n_v;
        memset(b->acc[i], 0, (size_t) shape->n_v * sizeof(float));
        b->state[i] = (struct attend_state){-INFINITY, 0};
        b->from[i] = 0;
        b->to[i] = ATTEND_PIECE;
    }
}

/* All positions of one sequence at rows; keys of a piece, then its values, as in the cache's pages. */
static void attend_all(struct bench *b, const struct shape *shape, enum kv_type type, int n_q, int positions,
                       const uint8_t *rows)
{
    size_t k_row = kv_row_size(type, (size_t) shape->n_k), v_row = kv_row_size(type, (size_t) shape->n_v);
    struct attend_piece piece = {.type = type,
                                 .n_k = shape->n_k,
                                 .n_v = shape->n_v,
                                 .k_stride = k_row,
                                 .v_stride = shape->latent ? k_row : v_row,
                                 .n_q = n_q,
                                 .q = b->q,
                                 .from = b->from,
                                 .to = b->to,
                                 .state = b->state,
                                 .acc = b->acc};
    size_t step = bytes_of(shape, type, ATTEND_PIECE);
    for (int p = 0; p < positions; p += ATTEND_PIECE, rows += step) {
        piece.k = rows;
        piece.v = shape->latent ? rows : rows + ATTEND_PIECE * k_row;
        b->kernels->attend(&piece);
    }
}

static double decode_gb_s(struct bench *b, const struct shape *shape, enum kv_type type, int n_q)
{
    size_t size = bytes_of(shape, type, POSITIONS);
    size_t n = CACHE_SIZE / size, most = 48 * 64 / (size_t) shape->n_k / (size_t) n_q + 6;
    n = n < most ? n : most;
    start(b, shape, type, n_q);
    double best = 0;
    for (int round = 0; round < 5; round++) {
        double began = clock_seconds();
        for (size_t i = 0; i < n; i++)
            attend_all(b, shape, type, n_q, POSITIONS,
                       b->cache + ((size_t) round * n + i) % (CACHE_SIZE / size) * size);
        double rate = (double) (n * size) / (clock_seconds() - began) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

static double prefill_gflop_s(struct bench *b, const struct shape *shape, enum kv_type type, int n_q, int positions)
{
    double flops = 2.0 * n_q * positions * (shape->n_k + shape->n_v), best = 0;
    int repeats = (int) (1e9 / flops) + 1;
    start(b, shape, type, n_q);
    for (int round = 0; round < 5; round++) {
        double began = clock_seconds();
        for (int i = 0; i < repeats; i++)
            attend_all(b, shape, type, n_q, positions, b->cache);
        double rate = flops * repeats / (clock_seconds() - began) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

static enum cpu_level level_of(const char *name)
{
    for (int level = 0; level < CPU_LEVELS; level++)
        if (name && strcmp(name, cpu_level_name((enum cpu_level) level)) == 0 && level <= (int) cpu_level_hardware())
            return (enum cpu_level) level;
    return cpu_level();
}

static const char *const types[KV_TYPES] = {"f16", "f32", "q8_0", "bf16"};

static bool is_wanted(const struct bench *b, enum kv_type type, const struct shape *shape)
{
    return (!b->type || strcmp(b->type, types[type]) == 0) && (!b->heads || strcmp(b->heads, shape->name) == 0);
}

static void print_decode(struct bench *b)
{
    static const int counts[] = {1, 3, 4, 8, 16};
    const char *comma = "";
    for (enum kv_type type = KV_F16; type < KV_TYPES; type++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
                if (!is_wanted(b, type, &shapes[s]))
                    continue;
                double rate = decode_gb_s(b, &shapes[s], type, counts[c]);
                printf("%s\n  {\"type\": \"%s\", \"heads\": \"%s\", \"n_q\": %d, \"gb_s\": %.1f, \"gflop_s\": %.1f}",
                       comma, types[type], shapes[s].name, counts[c], rate,
                       rate * 2 * counts[c] * (shapes[s].n_k + shapes[s].n_v) / (double) bytes_of(&shapes[s], type, 1));
                comma = ",";
            }
}

static void print_prefill(struct bench *b)
{
    static const int counts[] = {8, 16, 64, 128};
    const char *comma = "";
    for (enum kv_type type = KV_F16; type < KV_TYPES; type++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
                if (!is_wanted(b, type, &shapes[s]))
                    continue;
                printf("%s\n  {\"type\": \"%s\", \"heads\": \"%s\", \"n_q\": %d, \"gflop_s\": %.1f}", comma,
                       types[type], shapes[s].name, counts[c],
                       prefill_gflop_s(b, &shapes[s], type, counts[c], 4 * ATTEND_PIECE));
                comma = ",";
            }
}

int main(int argc, char **argv)
{
    static struct bench b;
    enum cpu_level level = level_of(argc > 1 ? argv[1] : NULL);
    b.kernels = kernels_for(level);
    b.type = argc > 2 ? argv[2] : NULL;
    b.heads = argc > 3 ? argv[3] : NULL;
    b.cache = memory_map(CACHE_SIZE);
    b.q_rows = memory_array(MOST_QUERIES * 576, sizeof(float));
    b.acc_rows = memory_array(MOST_QUERIES * 512, sizeof(float));
    if (!b.cache || !b.q_rows || !b.acc_rows) {
        fputs("bench_attend: out of memory\n", stderr);
        return 1;
    }
    /* 1/64 as a half; as floats and in blocks of q8_0 small numbers too. */
    for (size_t i = 0; i < CACHE_SIZE; i += 2)
        memcpy(b.cache + i, "\x00\x24", 2);
    printf("{\"cpu\": \"%s\", \"level\": \"%s\",\n \"decode\": [", cpu_brand(), cpu_level_name(level));
    print_decode(&b);
    printf("],\n \"prefill\": [");
    print_prefill(&b);
    printf("]}\n");
    memory_unmap(b.cache, CACHE_SIZE);
    free(b.q_rows);
    free(b.acc_rows);
    return 0;
}
