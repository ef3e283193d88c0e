/*
 * name_index.c - from a name to its place in a table
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "gguf/name_index.h"

#include "base/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static uint64_t seed;
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

/* Not a secret worth a blocking wait: early in boot the clock must do. */
static void seed_choose(void)
{
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t) sizeof seed) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        seed = (uint64_t) now.tv_nsec * 0x9e3779b97f4a7c15u ^ (uint64_t) (uintptr_t) &now;
    }
}

/* Both halves of the product: every input bit reaches every output bit. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128) a * b;
    return (uint64_t) product ^ (uint64_t) (product >> 64);
}

static inline uint64_t load(const unsigned char *bytes, size_t size)
{
    uint64_t word = 0;
    memcpy(&word, bytes, size);
    return word;
}

uint64_t name_hash(const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    pthread_once(&seed_once, seed_choose);
    uint64_t hash = seed ^ (uint64_t) size * 0xa0761d6478bd642fu;
    for (; size > 8; size -= 8, at += 8)
        hash = mix(hash ^ load(at, 8), 0xe7037ed1a0b428dbu ^ seed);
    if (size)
        hash = mix(hash ^ load(at, size), 0xe7037ed1a0b428dbu ^ seed);
    return mix(hash ^ 0x8ebc6af09c88c6e3u, 0x589965cc75374cc3u);
}

uint64_t name_seed(void)
{
    pthread_once(&seed_once, seed_choose);
    return seed | 1;
}

bool name_index_open(struct name_index *index, size_t n)
{
    *index = (struct name_index){0};
    if (n > (size_t) 1 << 30)
        return false;
    size_t n_slots = 4;
    while (n_slots < 2 * n)
        n_slots *= 2;
    index->slots = memory_array(n_slots, sizeof *index->slots);
    index->mask = n_slots - 1;
    return index->slots != NULL;
}

void name_index_close(struct name_index *index)
{
    free(index->slots);
    *index = (struct name_index){0};
}
