/*
 * constraint_parts.h - what the files of a constraint share
 *
 * A constraint is shared: its grammar never changes, its machine grows while
 * answers are written, under a lock that hardly anybody else wants.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_CONSTRAINT_PARTS_H
#define CONSTRAIN_CONSTRAINT_PARTS_H

#include "constrain/constraint.h"
#include "constrain/mask.h"

#include <pthread.h>
#include <stdatomic.h>

struct constraint {
    atomic_int holders;
    struct token_table *table;
    struct constraint *inner;           /* with a prefix: what comes behind it, or NULL */
    uint8_t *prefix;                    /* NULL where there is none */
    size_t prefix_size;
    bool open_end;                      /* without a prefix: an answer may stop anywhere */
    int32_t *prefix_cost;               /* tokens from each byte of the prefix to the end of the answer */
    struct grammar grammar;             /* without a prefix */
    pthread_mutex_t lock;               /* guards all below */
    struct machine machine;
    size_t machine_limit;
    struct constraint_state *states;    /* which live */
};

struct constraint_state {
    struct constraint *constraint;      /* held */
    struct constraint *c;               /* whose machine `at` belongs to: without a prefix; or NULL: free */
    struct constraint_state *next, *previous;
    size_t prefix_at;                   /* bytes of the prefix that are written */
    uint32_t at;
    bool ended;
    uint64_t *bits;
};

/* Locks, and makes sure that the machine works and is not too large. False, and not locked, when memory is short. */
bool constraint_enter(struct constraint *c);
void constraint_leave(struct constraint *c);

/* Where bytes lead: through what is left of the prefix, then through the machine. False: nowhere. Under the lock. */
bool constraint_advance(const struct constraint_state *state, const uint8_t *bytes, size_t size, size_t *prefix_at,
                        uint32_t *at);

/* Tokens that an answer needs that stands there, COST_NEVER inside a token. Under the lock. */
int32_t constraint_cost(const struct constraint_state *state, size_t prefix_at, uint32_t at);

/* constraint_prefix.c: tokens within the prefix, and those that begin with all that is left of it. Under the lock. */
bool constraint_prefix_mask(struct constraint_state *state, int32_t left);

/* constraint.c: one that holds nothing yet. NULL when memory is short. */
struct constraint *constraint_allocate(struct token_table *table);

/* Bytes of the prefix that are still to be written. */
static inline size_t constraint_prefix_left(const struct constraint_state *s)
{
    return s->constraint->prefix ? s->constraint->prefix_size - s->prefix_at : 0;
}

#endif
