/*
 * machine.c - the pushdown automaton: sets of stacks, and how bytes lead from one to the next
 *
 * A rule that can be empty is skipped by its caller (local.c), so that nothing
 * returns before it has read a byte. A call at the very end of a rule leaves no
 * frame: lists that are written as recursion do not grow the stack.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/machine.h"

#include "constrain/mask.h"

/* What is to be added: a stack, and whether its top is where a rule starts. */
struct visit {
    uint32_t local, frame;
    bool starts;
};

/* ------------------------------------------------------------------ */
/* Frames                                                              */
/* ------------------------------------------------------------------ */

static uint32_t add_frame(struct machine *m, uint32_t local, uint32_t parent, uint64_t hash)
{
    if (!table_room(&m->frames, m->n_frames, 1, &m->frames_size, sizeof *m->frames) || m->n_frames >= UINT32_MAX ||
        !table_add(&m->frame_index, hash, (uint32_t) m->n_frames)) {
        m->failed = true;
        return FRAME_BOTTOM;
    }
    int32_t cost = local == LOCAL_DEAD ? 0 : cost_add(m->locals.items[local].cost, m->frames[parent].cost);
    m->frames[m->n_frames] = (struct frame){local, parent, STATE_UNKNOWN, cost};
    return (uint32_t) m->n_frames++;
}

/* The frame that returns to `local` with `parent` below. */
static uint32_t push_frame(struct machine *m, uint32_t local, uint32_t parent)
{
    const struct local *l = &m->locals.items[local];
    if (l->accepts && !l->has_bytes && !l->has_calls)
        return parent;
    uint64_t hash = table_hash(local, parent);
    size_t at = 0;
    for (uint32_t id; (id = table_next(&m->frame_index, hash, &at)) != UINT32_MAX;)
        if (m->frames[id].local == local && m->frames[id].parent == parent)
            return id;
    return add_frame(m, local, parent, hash);
}

/* ------------------------------------------------------------------ */
/* Collecting a set                                                    */
/* ------------------------------------------------------------------ */

static void collect_begin(struct machine *m)
{
    m->n_seen = 0;
    m->accepts = m->pops = false;
    memset(m->seen_index.slots, 0, m->seen_index.size * sizeof *m->seen_index.slots);
    m->seen_index.n = 0;
}

/* Remembers a stack once. */
static void collect(struct machine *m, uint32_t local, uint32_t frame, bool starts)
{
    uint64_t hash = table_hash(table_hash(local, frame), starts);
    size_t at = 0;
    if (local == LOCAL_DEAD || m->failed)
        return;
    if (m->n_seen >= STATE_STACKS_MAX || ++m->locals.work > LOCAL_WORK_MAX) {
        local_entangled(&m->locals);
        m->failed = true;
        return;
    }
    for (uint32_t id; (id = table_next(&m->seen_index, hash, &at)) != UINT32_MAX;) {
        const struct visit *v = &m->seen[id];
        if (v->local == local && v->frame == frame && v->starts == starts)
            return;
    }
    if (!table_room(&m->seen, m->n_seen, 1, &m->seen_size, sizeof *m->seen) ||
        !table_add(&m->seen_index, hash, (uint32_t) m->n_seen)) {
        m->failed = true;
        return;
    }
    m->seen[m->n_seen++] = (struct visit){local, frame, starts};
}

/* Follows returns and calls of all that was collected. */
static void collect_all(struct machine *m)
{
    for (size_t i = 0; i < m->n_seen && !m->failed; i++) {
        struct visit v = m->seen[i];
        if (m->locals.items[v.local].accepts && !v.starts) {
            if (v.frame == FRAME_BOTTOM)
                m->accepts = true;
            else if (v.frame == FRAME_ANY)
                m->pops = true;
            else
                collect(m, m->frames[v.frame].local, m->frames[v.frame].parent, false);
        }
        uint32_t n_calls = local_n_calls(&m->locals, v.local);
        for (uint32_t k = 0; k < n_calls && !m->failed; k++) {
            struct local_call call = m->locals.calls[m->locals.items[v.local].calls + k];
            if (call.after != LOCAL_DEAD)
                collect(m, local_start(&m->locals, call.rule), push_frame(m, call.after, v.frame), true);
        }
        m->failed |= m->locals.failed;
    }
}

/* ------------------------------------------------------------------ */
/* States                                                              */
/* ------------------------------------------------------------------ */

static int compare_stacks(const void *a, const void *b)
{
    const struct stack *x = a, *y = b;
    return x->local != y->local ? (x->local < y->local ? -1 : 1) : (x->frame > y->frame) - (x->frame < y->frame);
}

/* Writes the stacks that can read a byte behind those in use, in order, each once; returns how many. */
static size_t sort_stacks(struct machine *m)
{
    struct stack *stacks = m->stacks + m->n_stacks;
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < m->n_seen; i++)
        if (m->locals.items[m->seen[i].local].has_bytes)
            stacks[n++] = (struct stack){m->seen[i].local, m->seen[i].frame};
    if (n)
        qsort(stacks, n, sizeof *stacks, compare_stacks);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || compare_stacks(&stacks[i], &stacks[i - 1]) != 0)
            stacks[kept++] = stacks[i];
    return kept;
}

static uint32_t add_state(struct machine *m, size_t n, uint64_t hash)
{
    if (machine_size(m) > MACHINE_SIZE_MAX) {
        local_entangled(&m->locals);
        m->failed = true;
        return STATE_DEAD;
    }
    struct state state = {.stacks = (uint32_t) m->n_stacks, .n_stacks = (uint32_t) n, .next = STATE_UNKNOWN,
                          .accepts = m->accepts, .pops = m->pops, .cost = m->accepts || m->pops ? 0 : COST_NEVER};
    /* The cost of a stack that is about to call: calls are counted in the local cost. */
    for (size_t i = 0; i < m->n_seen; i++) {
        const struct visit *v = &m->seen[i];
        int32_t cost = cost_add(m->locals.items[v->local].cost, m->frames[v->frame].cost);
        state.cost = cost < state.cost ? cost : state.cost;
    }
    if (!table_room(&m->states, m->n_states, 1, &m->states_size, sizeof *m->states) || m->n_states >= UINT32_MAX ||
        m->n_stacks + n >= UINT32_MAX || !table_add(&m->state_index, hash, (uint32_t) m->n_states)) {
        m->failed = true;
        return STATE_DEAD;
    }
    m->n_stacks += n;
    m->states[m->n_states] = state;
    return (uint32_t) m->n_states++;
}

/* The number of the set that was collected. */
static uint32_t intern(struct machine *m)
{
    if (!m->failed && !table_room(&m->stacks, m->n_stacks, m->n_seen + 1, &m->stacks_size, sizeof *m->stacks))
        m->failed = true;
    if (m->failed)
        return STATE_DEAD;
    size_t n = sort_stacks(m), at = 0;
    const struct stack *stacks = m->stacks + m->n_stacks;
    uint64_t hash = (uint64_t) m->accepts << 1 | m->pops;
    for (size_t i = 0; i < n; i++)
        hash = table_hash(hash, (uint64_t) stacks[i].local << 32 | stacks[i].frame);
    for (uint32_t id; (id = table_next(&m->state_index, hash, &at)) != UINT32_MAX;) {
        const struct state *s = &m->states[id];
        if (s->n_stacks == n && s->accepts == m->accepts && s->pops == m->pops &&
            (n == 0 || memcmp(m->stacks + s->stacks, stacks, n * sizeof *stacks) == 0))
            return id;
    }
    return add_state(m, n, hash);
}

uint32_t machine_start(struct machine *m)
{
    collect_begin(m);
    collect(m, local_start(&m->locals, 0), FRAME_BOTTOM, true);
    collect_all(m);
    m->accepts |= m->g->rules[0].nullable;
    return intern(m);
}

uint32_t machine_single(struct machine *m, uint32_t local, uint32_t frame)
{
    collect_begin(m);
    collect(m, local, frame, true);
    return intern(m);
}

uint32_t machine_popped(struct machine *m, uint32_t frame)
{
    if (m->frames[frame].popped == STATE_UNKNOWN) {
        collect_begin(m);
        collect(m, m->frames[frame].local, m->frames[frame].parent, false);
        collect_all(m);
        uint32_t state = intern(m);
        m->frames[frame].popped = state;
    }
    return m->frames[frame].popped;
}

uint32_t machine_compute_step(struct machine *m, uint32_t state, int byte_class)
{
    size_t n_classes = (size_t) m->g->n_classes;
    if (state == STATE_DEAD || m->failed)
        return STATE_DEAD;
    if (m->states[state].next == STATE_UNKNOWN) {
        if (!table_room(&m->next, m->n_next, n_classes, &m->next_size, sizeof *m->next)) {
            m->failed = true;
            return STATE_DEAD;
        }
        memset(m->next + m->n_next, 0xff, n_classes * sizeof *m->next);
        m->states[state].next = (uint32_t) (m->n_next / n_classes);
        m->n_next += n_classes;
    }
    collect_begin(m);
    for (uint32_t i = 0; i < m->states[state].n_stacks; i++) {
        struct stack s = m->stacks[m->states[state].stacks + i];
        collect(m, local_step(&m->locals, s.local, byte_class), s.frame, false);
    }
    m->failed |= m->locals.failed;
    collect_all(m);
    uint32_t to = intern(m);
    if (!m->failed)
        m->next[(size_t) m->states[state].next * n_classes + (size_t) byte_class] = to;
    return to;
}

int machine_only_byte(struct machine *m, uint32_t state)
{
    int found = -1;
    for (int c = 0; c < m->g->n_classes; c++) {
        if (machine_step(m, state, m->g->bytes_of[c]) == STATE_DEAD)
            continue;
        if (found >= 0 || !m->g->class_single[c])
            return -1;
        found = m->g->bytes_of[c];
    }
    return found;
}

/* ------------------------------------------------------------------ */
/* From one machine to the next                                        */
/* ------------------------------------------------------------------ */

static uint32_t import_local(struct machine *m, const struct machine *from, uint32_t local)
{
    const struct local *l = &from->locals.items[local];
    uint32_t id = local_import(&m->locals, from->locals.elements + l->elements, l->n_elements);
    m->failed |= m->locals.failed;
    return id;
}

/* From the bottom up, along a list of frames that is as long as the stack is deep. */
static uint32_t import_frame(struct machine *m, const struct machine *from, uint32_t frame)
{
    size_t depth = 0;
    for (uint32_t f = frame; f != FRAME_BOTTOM && f != FRAME_ANY; f = from->frames[f].parent)
        depth++;
    uint32_t *path = memory_array(depth + 1, sizeof *path);
    if (!path) {
        m->failed = true;
        return FRAME_BOTTOM;
    }
    path[0] = frame;
    for (size_t i = 0; i < depth; i++)
        path[i + 1] = from->frames[path[i]].parent;
    uint32_t here = path[depth];
    for (size_t i = depth; i-- > 0 && !m->failed;)
        here = push_frame(m, import_local(m, from, from->frames[path[i]].local), here);
    free(path);
    return here;
}

uint32_t machine_import(struct machine *m, const struct machine *from, uint32_t state)
{
    const struct state *s = &from->states[state];
    struct stack *stacks = memory_array(s->n_stacks + 1, sizeof *stacks);
    if (!stacks || m->failed) {
        free(stacks);
        m->failed = true;
        return STATE_DEAD;
    }
    for (uint32_t i = 0; i < s->n_stacks; i++) {
        struct stack old = from->stacks[s->stacks + i];
        stacks[i].frame = import_frame(m, from, old.frame);
        stacks[i].local = import_local(m, from, old.local);
    }
    collect_begin(m);
    for (uint32_t i = 0; i < s->n_stacks; i++)
        collect(m, stacks[i].local, stacks[i].frame, true);
    m->accepts = s->accepts;
    m->pops = s->pops;
    free(stacks);
    return intern(m);
}

/* ------------------------------------------------------------------ */
/* Opening                                                             */
/* ------------------------------------------------------------------ */

bool machine_open(struct machine *m, const struct grammar *grammar)
{
    *m = (struct machine){.g = grammar};
    if (locals_open(&m->locals, grammar) && table_open(&m->frame_index) && table_open(&m->state_index) &&
        table_open(&m->seen_index) && table_open(&m->leaf_index) &&
        table_room(&m->frames, 0, 2, &m->frames_size, sizeof *m->frames)) {
        m->n_frames = 2;
        m->frames[FRAME_BOTTOM] = m->frames[FRAME_ANY] = (struct frame){.popped = STATE_UNKNOWN};
        collect_begin(m);
        intern(m);
        if (!m->failed)
            return true;
    }
    machine_close(m);
    return false;
}

void machine_close(struct machine *m)
{
    mask_free_all(m);
    locals_close(&m->locals);
    free(m->frames);
    free(m->states);
    free(m->stacks);
    free(m->next);
    free(m->seen);
    free(m->leaves);
    table_close(&m->frame_index);
    table_close(&m->state_index);
    table_close(&m->seen_index);
    table_close(&m->leaf_index);
    *m = (struct machine){0};
}

size_t machine_size(const struct machine *m)
{
    return locals_size(&m->locals) + m->frames_size * sizeof *m->frames + m->states_size * sizeof *m->states +
           m->stacks_size * sizeof *m->stacks + m->next_size * sizeof *m->next + m->mask_bytes +
           (m->frame_index.size + m->state_index.size) * sizeof *m->state_index.slots;
}
