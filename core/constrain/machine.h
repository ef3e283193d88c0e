/*
 * machine.h - the pushdown automaton: sets of stacks, and how bytes lead from one to the next
 *
 * A stack is a local state on top of frames, each the local state to return to;
 * frames are shared and never change. A state is a set of stacks. States and
 * frames are numbered by content, and a state remembers where each byte leads:
 * a step that was made before is one look-up.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_MACHINE_H
#define CONSTRAIN_MACHINE_H

#include "constrain/local.h"

enum {
    FRAME_BOTTOM = 0,       /* the answer's end */
    FRAME_ANY = 1,          /* some frame: whatever stands below does not matter yet (mask.c) */
    STATE_DEAD = 0,
    STATE_UNKNOWN = UINT32_MAX,
    STATE_STACKS_MAX = 1 << 14,
    MACHINE_SIZE_SOFT = 32 << 20,   /* bytes beyond which it is built anew between two masks, */
    MACHINE_SIZE_MAX = 128 << 20    /* and beyond which a mask is given up */
};

struct frame {
    uint32_t local, parent;
    uint32_t popped;        /* the state after a return to it, or STATE_UNKNOWN */
    int32_t cost;           /* tokens from there to the end of the answer */
};

struct stack {
    uint32_t local, frame;
};

struct state {
    uint32_t stacks, n_stacks;
    uint32_t next;          /* its row of `next`, or STATE_UNKNOWN */
    int32_t cost;           /* tokens to the end of the answer, COST_NEVER where only inside a token */
    bool accepts;           /* the answer may end here */
    bool pops;              /* FRAME_ANY was returned to */
    struct mask *mask;      /* mask.c, or NULL */
};

struct machine {
    const struct grammar *g;
    struct locals locals;
    struct frame *frames;
    size_t n_frames, frames_size;
    struct state *states;   /* 0 is dead */
    size_t n_states, states_size;
    struct stack *stacks;
    size_t n_stacks, stacks_size;
    uint32_t *next;
    size_t n_next, next_size;
    struct table frame_index, state_index;
    struct visit *seen;     /* what is being collected for a state */
    size_t n_seen, seen_size;
    struct table seen_index;
    bool accepts, pops;
    struct leaf **leaves;   /* mask.c, owned */
    size_t n_leaves, leaves_size;
    struct table leaf_index;
    size_t mask_bytes;
    bool failed;            /* memory was short, or see locals.entangled: states are STATE_DEAD from then on */
};

bool machine_open(struct machine *machine, const struct grammar *grammar);
void machine_close(struct machine *machine);
size_t machine_size(const struct machine *machine);     /* bytes, about */

uint32_t machine_start(struct machine *machine);

/* The state of the one stack (local, frame), before the calls it may make. */
uint32_t machine_single(struct machine *machine, uint32_t local, uint32_t frame);

/* The state right after a return to this frame, which is not FRAME_BOTTOM or FRAME_ANY. */
uint32_t machine_popped(struct machine *machine, uint32_t frame);

/* A state of another machine of the same grammar, here. */
uint32_t machine_import(struct machine *machine, const struct machine *from, uint32_t state);

uint32_t machine_compute_step(struct machine *machine, uint32_t state, int byte_class);

static inline uint32_t machine_step(struct machine *m, uint32_t state, uint8_t byte)
{
    int c = m->g->class_of[byte];
    uint32_t row = m->states[state].next;
    if (row != STATE_UNKNOWN) {
        uint32_t to = m->next[(size_t) row * (size_t) m->g->n_classes + (size_t) c];
        if (to != STATE_UNKNOWN)
            return to;
    }
    return machine_compute_step(m, state, c);
}

/* The only byte that can follow, or -1 where there is none or a choice. */
int machine_only_byte(struct machine *machine, uint32_t state);

#endif
