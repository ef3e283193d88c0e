/*
 * local.h - rules made deterministic, a state at a time as they are needed
 *
 * A local state is the set of nodes of one rule that a text may have led to
 * (Rabin and Scott 1959), each with its count. Calls are not followed: a state
 * lists them, and machine.c keeps the stack. Equal sets have equal numbers.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_LOCAL_H
#define CONSTRAIN_LOCAL_H

#include "constrain/grammar.h"
#include "constrain/table.h"

/* LOCAL_WORK_MAX: nodes looked at between two resets of `work`, about half a second at most. */
enum { LOCAL_DEAD = 0, LOCAL_UNKNOWN = UINT32_MAX, LOCAL_ELEMENTS_MAX = 1 << 14, LOCAL_WORK_MAX = 1 << 21 };

struct element {
    uint32_t node;
    int32_t count;
};

struct local_call {
    uint32_t rule, after;       /* the local state behind the call */
};

struct local {
    uint32_t elements, n_elements;
    uint32_t calls, n_calls;    /* known once calls_known */
    uint32_t next;              /* its row of `next`, or LOCAL_UNKNOWN */
    uint32_t leaf;              /* mask.c: what its mask is kept under, or LOCAL_UNKNOWN */
    int32_t cost;               /* tokens to the end of the rule */
    bool accepts, has_bytes, has_calls, calls_known, counts;
};

struct locals {
    const struct grammar *g;
    struct local *items;        /* 0 is dead */
    size_t n, items_size;
    struct element *elements;
    size_t n_elements, elements_size;
    struct local_call *calls;
    size_t n_calls, calls_size;
    uint32_t *next;             /* rows of g->n_classes */
    size_t n_next, next_size;
    uint32_t *starts;           /* of each rule, or LOCAL_UNKNOWN */
    struct table index;
    struct element *todo;       /* closure: what is still to be looked at */
    size_t todo_size;
    uint64_t *seen;             /* closure: a hash set of what was */
    uint32_t *seen_turn, turn;
    size_t n_seen, seen_size;
    struct element *found;
    size_t n_found, found_size;
    uint64_t work;
    bool failed;                /* memory was short: results are LOCAL_DEAD from then on */
    bool entangled;             /* and this is why: a set or the work was over its limit */
};

static inline void local_entangled(struct locals *locals)
{
    locals->failed = locals->entangled = true;
}

bool locals_open(struct locals *locals, const struct grammar *grammar);
void locals_close(struct locals *locals);
size_t locals_size(const struct locals *locals);        /* bytes, about */

uint32_t local_start(struct locals *locals, uint32_t rule);

/* The state of exactly these elements, as taken from another `locals` of the same grammar. */
uint32_t local_import(struct locals *locals, const struct element *elements, size_t n);

uint32_t local_compute_step(struct locals *locals, uint32_t at, int byte_class);
void local_compute_calls(struct locals *locals, uint32_t at);

static inline uint32_t local_step(struct locals *l, uint32_t at, int byte_class)
{
    uint32_t row = l->items[at].next;
    if (row != LOCAL_UNKNOWN) {
        uint32_t to = l->next[(size_t) row * (size_t) l->g->n_classes + (size_t) byte_class];
        if (to != LOCAL_UNKNOWN)
            return to;
    }
    return local_compute_step(l, at, byte_class);
}

/* How many calls can be made here, before another byte: those of `calls` from items[at].calls on. */
static inline uint32_t local_n_calls(struct locals *l, uint32_t at)
{
    if (!l->items[at].calls_known)
        local_compute_calls(l, at);
    return l->items[at].n_calls;
}

#endif
