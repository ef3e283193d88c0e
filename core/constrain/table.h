/*
 * table.h - room that grows, and numbers found by what they stand for
 *
 * The index holds numbers of items that live elsewhere, by the hash of their
 * contents: whoever looks one up compares for himself.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_TABLE_H
#define CONSTRAIN_TABLE_H

#include "base/memory.h"
#include "base/rng.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_EMPTY = 0 };

struct table_slot {
    uint64_t hash;
    uint32_t item;      /* its number + 1; TABLE_EMPTY */
};

struct table {
    struct table_slot *slots;
    size_t size, n;     /* size: a power of two */
};

static inline bool table_open(struct table *t)
{
    t->size = 64;
    t->n = 0;
    t->slots = (struct table_slot *) memory_array(t->size, sizeof *t->slots);
    return t->slots != NULL;
}

static inline void table_close(struct table *t)
{
    free(t->slots);
    *t = (struct table){0};
}

static inline uint64_t table_hash(uint64_t hash, uint64_t value)
{
    return rng_mix(hash * 0x9e3779b97f4a7c15u + value + 1);
}

/* Goes through the items with this hash: start with *at = 0; UINT32_MAX where there is no more. */
static inline uint32_t table_next(const struct table *t, uint64_t hash, size_t *at)
{
    for (size_t i = (size_t) hash + *at;; i++, ++*at) {
        const struct table_slot *slot = &t->slots[i & (t->size - 1)];
        if (slot->item == TABLE_EMPTY)
            return UINT32_MAX;
        if (slot->hash == hash) {
            ++*at;
            return slot->item - 1;
        }
    }
}

static inline void table_put(struct table *t, uint64_t hash, uint32_t item)
{
    size_t i = (size_t) hash;
    while (t->slots[i & (t->size - 1)].item != TABLE_EMPTY)
        i++;
    t->slots[i & (t->size - 1)] = (struct table_slot){hash, item + 1};
    t->n++;
}

/* False, and nothing added, when memory is short. */
static inline bool table_add(struct table *t, uint64_t hash, uint32_t item)
{
    if (2 * (t->n + 1) > t->size) {
        struct table old = *t;
        t->slots = (struct table_slot *) memory_array(2 * old.size, sizeof *t->slots);
        if (!t->slots) {
            *t = old;
            return false;
        }
        t->size = 2 * old.size;
        t->n = 0;
        for (size_t i = 0; i < old.size; i++)
            if (old.slots[i].item != TABLE_EMPTY)
                table_put(t, old.slots[i].hash, old.slots[i].item - 1);
        free(old.slots);
    }
    table_put(t, hash, item);
    return true;
}

/* Room for `more` items behind n; `items` is the address of a pointer. False (and nothing changed) when memory is short. */
static inline bool table_room(void *items, size_t n, size_t more, size_t *size, size_t item)
{
    void **at = (void **) items;
    if (n + more <= *size)
        return true;
    size_t wanted = 2 * (n + more) + 16;
    void *grown = memory_resize(*at, wanted, item);
    if (!grown)
        return false;
    *at = grown;
    *size = wanted;
    return true;
}

#endif
