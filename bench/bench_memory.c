/*
 * bench_memory.c - how fast threads read memory together
 *
 * Prints one JSON object: gb_s is the median of seven rounds of 30 ms over a block that no cache holds. Shared machines
 * change between speeds within seconds, so compare.mjs runs this before and behind every program.
 *
 *   bench_memory [THREADS]
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "median.h"
#include "read_piece.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 18, SHARE = 384 << 20, ROUNDS = 7, MOST_THREADS = 64 };

static const double seconds = 0.03; /* of a round */

struct bench {
    uint8_t *memory;
    size_t position[MOST_THREADS];
    double rate[MOST_THREADS];
};

static void read_share(void *context, int thread, int n_threads)
{
    struct bench *b = context;
    (void) n_threads;
    double began = clock_seconds(), now, done = 0;
    do {
        b->position[thread] = (b->position[thread] + PIECE) % SHARE;
        read_piece_sink = read_piece(b->memory + (size_t) thread * SHARE + b->position[thread], PIECE);
        done += PIECE;
        now = clock_seconds();
    } while (now - began < seconds);
    b->rate[thread] = done / (now - began);
}

int main(int argc, char **argv)
{
    static struct bench b;
    int n = argc > 1 ? atoi(argv[1]) : cpu_count();
    n = n < 1 ? 1 : n > MOST_THREADS ? MOST_THREADS : n;
    struct thread_pool *pool;
    dsr1_error err;
    b.memory = memory_map((size_t) n * SHARE);
    if (!b.memory || thread_pool_open(n, &pool, &err) < 0) {
        fputs("bench_memory: out of memory\n", stderr);
        return 1;
    }
    memset(b.memory, 1, (size_t) n * SHARE);
    double rates[ROUNDS] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        thread_pool_run(pool, read_share, &b);
        for (int t = 0; t < n; t++)
            rates[round] += b.rate[t] * 1e-9;
    }
    printf("{\"benchmark\": \"memory\", \"cpu\": \"%s\", \"threads\": %d, \"gb_s\": %.1f}\n", cpu_brand(), n,
           median(rates, ROUNDS));
    thread_pool_close(pool);
    memory_unmap(b.memory, (size_t) n * SHARE);
    return 0;
}
