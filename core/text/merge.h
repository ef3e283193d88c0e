/*
 * merge.h - merge neighbouring symbols, best pair first, in n log n
 *
 * The symbols of a word form a list; a heap holds every pair that may be merged,
 * ordered by rank and then by place. A pair that has changed since it was put
 * there is recognised when it comes out.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_MERGE_H
#define TEXT_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MERGE_NONE UINT32_MAX

struct merge_symbol {
    uint32_t id;                /* MERGE_NONE: a symbol of no token */
    uint32_t start, size;       /* bytes of the word; size 0: merged into the symbol before */
    uint32_t prev, next;        /* MERGE_NONE at the ends */
    uint32_t rank, merged;      /* of the pair this symbol begins; MERGE_NONE: no such pair */
};

struct merger {
    struct merge_symbol *symbols;
    size_t n, capacity;
    uint64_t *heap;             /* rank << 32 | symbol */
    size_t n_heap, heap_capacity;
    uint64_t work;              /* heap operations so far, for tests */
};

/* Room for n symbols (less than 2^31); the caller fills id, start and size, and sets n. False: no memory. */
bool merger_reserve(struct merger *m, size_t n);
void merger_free(struct merger *m);

/* Sets left->rank and left->merged of a pair; lower ranks merge first. */
typedef void (*merge_rank_fn)(const void *context, struct merge_symbol *left, const struct merge_symbol *right);

/* Merges until no pair has a rank. What is left is the list from symbol 0 on. */
void merger_run(struct merger *m, merge_rank_fn rank, const void *context);

#endif
