/*
 * arena.c - scratch memory that is given back all at once
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/arena.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/size.h"

dsr1_status arena_open(struct arena *arena, size_t size, dsr1_error *err)
{
    arena->block = memory_map(size);
    arena->size = arena->block ? size : 0;
    arena->used = 0;
    return arena->block ? DSR1_OK : error_nomem(err, "scratch");
}

void arena_close(struct arena *arena)
{
    memory_unmap(arena->block, arena->size);
    *arena = (struct arena){0};
}

void *arena_take(struct arena *arena, size_t n, size_t size)
{
    size_t bytes;
    if (!size_mul(n, size, &bytes) || bytes > arena->size - arena->used)
        return NULL;
    void *result = arena->block + arena->used;
    size_t end = size_align(arena->used + bytes, 64);
    arena->used = end < arena->size ? end : arena->size;
    return result;
}
