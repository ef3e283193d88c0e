/*
 * name_index.h - from a name to its place in a table
 *
 * Open addressing over positions; the names stay where they are. The hash is
 * seeded per process: names come from files that strangers made, and a fixed
 * hash lets them choose names that all collide, which makes opening quadratic.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef GGUF_NAME_INDEX_H
#define GGUF_NAME_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Hash of size bytes, stable within this process. */
uint64_t name_hash(const void *bytes, size_t size);

/* An odd number, random per process: the factor of a multiplicative hash of numbers. */
uint64_t name_seed(void);

struct name_index {
    uint32_t *slots;            /* position + 1, 0 for empty */
    size_t mask;                /* slots - 1; a power of two at least twice the names */
};

/* Room for n names; false when memory is short or n is beyond 2^30. */
bool name_index_open(struct name_index *index, size_t n);
void name_index_close(struct name_index *index);

/*
 * Walks the slots of a name:
 *
 *     for (size_t slot = name_index_first(ix, hash); ix->slots[slot]; slot = name_index_next(ix, slot))
 *         ... ix->slots[slot] - 1 is a position that may hold the name ...
 *
 * and stops at an empty slot, where it belongs if it was absent.
 */
static inline size_t name_index_first(const struct name_index *index, uint64_t hash)
{
    return (size_t) hash & index->mask;
}

static inline size_t name_index_next(const struct name_index *index, size_t slot)
{
    return (slot + 1) & index->mask;
}

#endif
