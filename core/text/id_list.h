/*
 * id_list.h - token ids as they come
 *
 * A failed allocation sticks, as in base/buffer.h.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_ID_LIST_H
#define TEXT_ID_LIST_H

#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct id_list {
    int32_t *ids;
    size_t n, capacity;
    bool failed;
};

static inline bool id_list_reserve(struct id_list *list, size_t n)
{
    if (list->capacity - list->n >= n)
        return true;
    size_t capacity = 2 * list->capacity + n + 32;
    int32_t *ids = list->failed ? NULL : (int32_t *) memory_resize(list->ids, capacity, sizeof *ids);
    if (!ids) {
        list->failed = true;
        return false;
    }
    list->ids = ids;
    list->capacity = capacity;
    return true;
}

static inline void id_list_add(struct id_list *list, int32_t id)
{
    if (id_list_reserve(list, 1))
        list->ids[list->n++] = id;
}

/* Adds again the n ids that stand at `from`. */
static inline void id_list_repeat(struct id_list *list, size_t from, size_t n)
{
    if (!id_list_reserve(list, n))
        return;
    memcpy(list->ids + list->n, list->ids + from, n * sizeof *list->ids);
    list->n += n;
}

#endif
