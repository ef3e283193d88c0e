/*
 * local.c - rules made deterministic, a state at a time as they are needed
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/local.h"

/* A head that was reached within this closure: a round without a byte counts for nothing. */
enum { FRESH = 1 << 30 };

/* ------------------------------------------------------------------ */
/* Closure: all that needs no byte                                     */
/* ------------------------------------------------------------------ */

static void closure_begin(struct locals *l)
{
    l->n_found = 0;
    l->n_seen = 0;
    if (++l->turn == 0) {
        memset(l->seen_turn, 0, l->seen_size * sizeof *l->seen_turn);
        l->turn = 1;
    }
}

static bool grow_seen(struct locals *l)
{
    size_t size = l->seen_size ? 2 * l->seen_size : 256;
    uint64_t *seen = memory_array(size, sizeof *seen);
    uint32_t *turns = memory_array(size, sizeof *turns);
    if (!seen || !turns) {
        free(seen);
        free(turns);
        l->failed = true;
        return false;
    }
    for (size_t i = 0; i < l->seen_size; i++) {
        if (l->seen_turn[i] != l->turn)
            continue;
        size_t at = (size_t) rng_mix(l->seen[i]);
        while (turns[at & (size - 1)] == l->turn)
            at++;
        seen[at & (size - 1)] = l->seen[i];
        turns[at & (size - 1)] = l->turn;
    }
    free(l->seen);
    free(l->seen_turn);
    l->seen = seen;
    l->seen_turn = turns;
    l->seen_size = size;
    return true;
}

/* Is it new? */
static bool see(struct locals *l, struct element e)
{
    uint64_t key = (uint64_t) e.node << 32 | (uint32_t) e.count;
    if (2 * (l->n_seen + 1) > l->seen_size && !grow_seen(l))
        return false;
    size_t at = (size_t) rng_mix(key);
    for (; l->seen_turn[at & (l->seen_size - 1)] == l->turn; at++)
        if (l->seen[at & (l->seen_size - 1)] == key)
            return false;
    l->seen[at & (l->seen_size - 1)] = key;
    l->seen_turn[at & (l->seen_size - 1)] = l->turn;
    l->n_seen++;
    return true;
}

static size_t push(struct locals *l, size_t n, uint32_t node, int32_t count)
{
    if (!table_room(&l->todo, n, 1, &l->todo_size, sizeof *l->todo)) {
        l->failed = true;
        return n;
    }
    l->todo[n] = (struct element){node, count};
    return n + 1;
}

static void find(struct locals *l, struct element e)
{
    e.count &= ~FRESH;
    if (l->n_found >= LOCAL_ELEMENTS_MAX)
        local_entangled(l);
    else if (table_room(&l->found, l->n_found, 1, &l->found_size, sizeof *l->found))
        l->found[l->n_found++] = e;
    else
        l->failed = true;
}

static size_t visit_head(struct locals *l, size_t n, uint32_t id, int32_t count)
{
    const struct loop *loop = &l->g->loops[id];
    if (loop->hi < 0 || count < loop->hi)
        n = push(l, n, loop->body, count | FRESH);
    if (count >= loop->lo)
        n = push(l, n, loop->exit, 0);
    return n;
}

static size_t visit_count(struct locals *l, size_t n, const struct node *node, int32_t count)
{
    const struct loop *loop = &l->g->loops[node->other];
    if (count & FRESH)
        return n;
    count++;
    return visit_head(l, n, node->other, loop->hi < 0 && count > loop->lo ? loop->lo : count);
}

static void closure_add(struct locals *l, uint32_t from, int32_t from_count)
{
    size_t n = push(l, 0, from, from_count);
    while (n > 0 && !l->failed) {
        if (++l->work > LOCAL_WORK_MAX)
            local_entangled(l);
        struct element e = l->todo[--n];
        const struct node *node = &l->g->nodes[e.node];
        if ((node->cost == COST_NEVER && !node->kept) || !see(l, e))
            continue;
        switch ((enum node_kind) node->kind) {
        case NODE_FAIL:
            break;
        case NODE_CALL:
            if (l->g->rules[node->other].nullable)
                n = push(l, n, node->next, e.count);
            find(l, e);
            break;
        case NODE_RETURN:
        case NODE_RANGE:
            find(l, e);
            break;
        case NODE_SPLIT:
            n = push(l, n, node->other, e.count);
            n = push(l, n, node->next, e.count);
            break;
        case NODE_HEAD:
            n = visit_head(l, n, node->other, 0);
            break;
        case NODE_COUNT:
            n = visit_count(l, n, node, e.count);
            break;
        }
    }
}

/* ------------------------------------------------------------------ */
/* States                                                              */
/* ------------------------------------------------------------------ */

static int compare_elements(const void *a, const void *b)
{
    const struct element *x = a, *y = b;
    return x->node != y->node ? (x->node < y->node ? -1 : 1) : (x->count > y->count) - (x->count < y->count);
}

static void describe(const struct locals *l, struct local *local)
{
    const struct grammar *g = l->g;
    local->cost = COST_NEVER;
    for (uint32_t i = 0; i < local->n_elements; i++) {
        struct element e = l->elements[local->elements + i];
        const struct node *node = &g->nodes[e.node];
        int32_t cost = grammar_node_cost(g, e.node, e.count);
        local->cost = cost < local->cost ? cost : local->cost;
        local->accepts |= node->kind == NODE_RETURN;
        local->has_bytes |= node->kind == NODE_RANGE;
        local->has_calls |= node->kind == NODE_CALL;
        local->counts |= node->loop >= 0;
    }
}

static uint32_t add_local(struct locals *l, uint64_t hash)
{
    if (!table_room(&l->items, l->n, 1, &l->items_size, sizeof *l->items) ||
        !table_room(&l->elements, l->n_elements, l->n_found + 1, &l->elements_size, sizeof *l->elements) ||
        l->n >= UINT32_MAX / 2 || l->n_elements + l->n_found >= UINT32_MAX ||
        !table_add(&l->index, hash, (uint32_t) l->n)) {
        l->failed = true;
        return LOCAL_DEAD;
    }
    struct local local = {.elements = (uint32_t) l->n_elements, .n_elements = (uint32_t) l->n_found,
                          .next = LOCAL_UNKNOWN, .leaf = LOCAL_UNKNOWN};
    if (l->n_found)
        memcpy(l->elements + l->n_elements, l->found, l->n_found * sizeof *l->found);
    l->n_elements += l->n_found;
    describe(l, &local);
    l->items[l->n] = local;
    return (uint32_t) l->n++;
}

/* The number of the set in `found`. */
static uint32_t intern(struct locals *l)
{
    if (l->failed)
        return LOCAL_DEAD;
    uint64_t hash = 0;
    size_t n = 0;
    if (l->n_found)
        qsort(l->found, l->n_found, sizeof *l->found, compare_elements);
    for (size_t i = 0; i < l->n_found; i++)
        if (i == 0 || compare_elements(&l->found[i], &l->found[i - 1]) != 0)
            l->found[n++] = l->found[i];
    l->n_found = n;
    for (size_t i = 0; i < n; i++)
        hash = table_hash(hash, (uint64_t) l->found[i].node << 32 | (uint32_t) l->found[i].count);
    size_t at = 0;
    for (uint32_t id; (id = table_next(&l->index, hash, &at)) != UINT32_MAX;) {
        const struct local *item = &l->items[id];
        if (item->n_elements == n && (n == 0 || memcmp(l->elements + item->elements, l->found, n * sizeof *l->found) == 0))
            return id;
    }
    return add_local(l, hash);
}

uint32_t local_start(struct locals *l, uint32_t rule)
{
    if (l->starts[rule] != LOCAL_UNKNOWN)
        return l->starts[rule];
    closure_begin(l);
    closure_add(l, l->g->rules[rule].start, 0);
    uint32_t id = intern(l);
    if (!l->failed)
        l->starts[rule] = id;
    return id;
}

uint32_t local_import(struct locals *l, const struct element *elements, size_t n)
{
    closure_begin(l);
    for (size_t i = 0; i < n; i++)
        find(l, elements[i]);
    return intern(l);
}

uint32_t local_compute_step(struct locals *l, uint32_t at, int byte_class)
{
    size_t n_classes = (size_t) l->g->n_classes;
    if (at == LOCAL_DEAD || l->failed)
        return LOCAL_DEAD;
    if (l->items[at].next == LOCAL_UNKNOWN) {
        if (!table_room(&l->next, l->n_next, n_classes, &l->next_size, sizeof *l->next)) {
            l->failed = true;
            return LOCAL_DEAD;
        }
        memset(l->next + l->n_next, 0xff, n_classes * sizeof *l->next);
        l->items[at].next = (uint32_t) (l->n_next / n_classes);
        l->n_next += n_classes;
    }
    uint8_t byte = l->g->bytes_of[byte_class];
    closure_begin(l);
    for (uint32_t i = 0; i < l->items[at].n_elements; i++) {
        struct element e = l->elements[l->items[at].elements + i];
        const struct node *node = &l->g->nodes[e.node];
        if (node->kind == NODE_RANGE && node->lo <= byte && byte <= node->hi)
            closure_add(l, node->next, e.count);
    }
    uint32_t to = intern(l);
    if (!l->failed)
        l->next[(size_t) l->items[at].next * n_classes + (size_t) byte_class] = to;
    return to;
}

/* One call for each rule: what comes behind several calls of it is one set. */
void local_compute_calls(struct locals *l, uint32_t at)
{
    struct local local = l->items[at];
    size_t first = l->n_calls;
    for (uint32_t i = 0; i < local.n_elements && local.has_calls; i++) {
        struct element e = l->elements[local.elements + i];
        const struct node *node = &l->g->nodes[e.node];
        bool known = node->kind != NODE_CALL;
        for (size_t k = first; k < l->n_calls && !known; k++)
            known = l->calls[k].rule == node->other;
        if (known)
            continue;
        closure_begin(l);
        for (uint32_t k = i; k < local.n_elements; k++) {
            struct element other = l->elements[local.elements + k];
            const struct node *call = &l->g->nodes[other.node];
            if (call->kind == NODE_CALL && call->other == node->other)
                closure_add(l, call->next, other.count);
        }
        uint32_t after = intern(l);
        if (l->failed || !table_room(&l->calls, l->n_calls, 1, &l->calls_size, sizeof *l->calls)) {
            l->failed = true;
            return;
        }
        l->calls[l->n_calls++] = (struct local_call){node->other, after};
    }
    l->items[at].calls = (uint32_t) first;
    l->items[at].n_calls = (uint32_t) (l->n_calls - first);
    l->items[at].calls_known = true;
}

/* ------------------------------------------------------------------ */
/* Opening                                                             */
/* ------------------------------------------------------------------ */

bool locals_open(struct locals *l, const struct grammar *grammar)
{
    *l = (struct locals){.g = grammar};
    l->starts = memory_array(grammar->n_rules, sizeof *l->starts);
    if (!l->starts || !table_open(&l->index) || !grow_seen(l)) {
        locals_close(l);
        return false;
    }
    memset(l->starts, 0xff, grammar->n_rules * sizeof *l->starts);
    closure_begin(l);
    if (intern(l) != LOCAL_DEAD || l->failed) {
        locals_close(l);
        return false;
    }
    return true;
}

void locals_close(struct locals *l)
{
    free(l->items);
    free(l->elements);
    free(l->calls);
    free(l->next);
    free(l->starts);
    free(l->todo);
    free(l->seen);
    free(l->seen_turn);
    free(l->found);
    table_close(&l->index);
    *l = (struct locals){0};
}

size_t locals_size(const struct locals *l)
{
    return l->items_size * sizeof *l->items + l->elements_size * sizeof *l->elements +
           l->calls_size * sizeof *l->calls + l->next_size * sizeof *l->next +
           l->index.size * sizeof *l->index.slots + l->seen_size * (sizeof *l->seen + sizeof *l->seen_turn);
}
