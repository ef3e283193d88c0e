/*
 * carve.h - cutting one block into arrays, after counting what they need
 *
 * The code that cuts runs twice: without a block it only counts, so that the
 * block can be had in one piece and hot loops never allocate.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_CARVE_H
#define TRAIN_CARVE_H

#include "base/size.h"
#include "train/real.h"

struct carve {
    char *base;             /* NULL: count only */
    size_t used;
    bool failed;            /* a size wrapped */
};

/* n items of size bytes, aligned to 64; NULL while counting, or for n = 0. */
static inline void *carve_take(struct carve *c, size_t n, size_t size)
{
    size_t bytes, end;
    if (c->failed || !size_mul(n, size, &bytes) || bytes > SIZE_MAX / 2 ||
        !size_add(c->used, size_align(bytes, 64), &end)) {
        c->failed = true;
        return NULL;
    }
    void *taken = c->base && n > 0 ? c->base + c->used : NULL;
    c->used = end;
    return taken;
}

/* rows x columns numbers. */
static inline real *carve_real(struct carve *c, size_t rows, size_t columns)
{
    size_t n;
    if (!size_mul(rows, columns, &n))
        c->failed = true;
    return c->failed ? NULL : carve_take(c, n, sizeof(real));
}

static inline int *carve_int(struct carve *c, size_t n)
{
    return carve_take(c, n, sizeof(int));
}

#endif
