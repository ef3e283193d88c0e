/*
 * arena.h - scratch memory that is given back all at once
 *
 * One block, sized before the work starts; taking from it cannot wrap and is a
 * pointer bump. A step of the engine takes all its scratch here.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "dsr1.h"

struct arena {
    char *block;
    size_t size;
    size_t used;
};

dsr1_status arena_open(struct arena *arena, size_t size, dsr1_error *err);
void arena_close(struct arena *arena);

/* n items of size bytes, aligned to 64, not zeroed; NULL when the arena is full. */
void *arena_take(struct arena *arena, size_t n, size_t size);

static inline void arena_reset(struct arena *arena)
{
    arena->used = 0;
}

#endif
