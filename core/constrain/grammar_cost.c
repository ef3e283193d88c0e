/*
 * grammar_cost.c - how many tokens the shortest way to the end takes, from every node
 *
 * A way may go byte by byte, where the vocabulary has each byte as a token, or
 * over a whole token where the automaton leaves no choice (the names of
 * properties). Every step is one that a mask would allow, so the sum is a
 * number of tokens that suffices.
 *
 * Costs become known in rising order: Dijkstra's algorithm in Knuth's
 * generalisation to grammars (1977). Bytes without an alternative form chains;
 * once the node behind a chain is known, so is every node of it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "constrain/grammar.h"
#include "constrain/table.h"

struct candidate {
    int32_t cost;
    uint32_t node;
};

struct costs {
    struct grammar *g;
    const struct token_table *table;
    uint32_t *first, *users;    /* users[first[i]] to users[first[i + 1] - 1]: nodes whose cost depends on that of i */
    bool *done;
    struct candidate *heap;     /* the cheapest first */
    size_t n, heap_size;
    uint32_t *chain;            /* literals that are still to be looked at */
    size_t chain_size;
    bool failed;
};

/* ------------------------------------------------------------------ */
/* Candidates                                                          */
/* ------------------------------------------------------------------ */

static void offer(struct costs *c, uint32_t node, int32_t cost)
{
    if (cost == COST_NEVER || c->done[node])
        return;
    if (!table_room(&c->heap, c->n, 1, &c->heap_size, sizeof *c->heap)) {
        c->failed = true;
        return;
    }
    size_t at = c->n++;
    for (; at > 0 && c->heap[(at - 1) / 2].cost > cost; at = (at - 1) / 2)
        c->heap[at] = c->heap[(at - 1) / 2];
    c->heap[at] = (struct candidate){cost, node};
}

static struct candidate take_cheapest(struct costs *c)
{
    struct candidate best = c->heap[0], last = c->heap[--c->n];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < c->n; at = child) {
        if (child + 1 < c->n && c->heap[child + 1].cost < c->heap[child].cost)
            child++;
        if (c->heap[child].cost >= last.cost)
            break;
        c->heap[at] = c->heap[child];
    }
    if (c->n)
        c->heap[at] = last;
    return best;
}

/* ------------------------------------------------------------------ */
/* Who depends on whom                                                 */
/* ------------------------------------------------------------------ */

/* At most two. */
static int needs(const struct grammar *g, uint32_t id, uint32_t needed[2])
{
    const struct node *node = &g->nodes[id];
    switch ((enum node_kind) node->kind) {
    case NODE_RANGE:
        needed[0] = node->next;
        return 1;
    case NODE_SPLIT:
        needed[0] = node->next;
        needed[1] = node->other;
        return 2;
    case NODE_CALL:
        needed[0] = node->next;
        needed[1] = g->rules[node->other].start;
        return 2;
    case NODE_HEAD:
        needed[0] = g->loops[node->other].body;
        needed[1] = g->loops[node->other].exit;
        return 2;
    case NODE_FAIL:
    case NODE_RETURN:
    case NODE_COUNT:
        break;
    }
    return 0;
}

static bool costs_open(struct costs *c, struct grammar *g, const struct token_table *table)
{
    uint32_t needed[2];
    *c = (struct costs){.g = g, .table = table};
    c->first = memory_array((size_t) g->n_nodes + 2, sizeof *c->first);
    c->done = memory_array(g->n_nodes, sizeof *c->done);
    if (!c->first || !c->done)
        return false;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (int k = needs(g, i, needed); k-- > 0;)
            c->first[needed[k] + 2]++;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        c->first[i + 2] += c->first[i + 1];
    c->users = memory_array((size_t) c->first[g->n_nodes + 1] + 1, sizeof *c->users);
    if (!c->users)
        return false;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (int k = needs(g, i, needed); k-- > 0;)
            c->users[c->first[needed[k] + 1]++] = i;
    return true;
}

static void costs_close(struct costs *c)
{
    free(c->first);
    free(c->users);
    free(c->done);
    free(c->heap);
    free(c->chain);
}

/* ------------------------------------------------------------------ */
/* Costs                                                               */
/* ------------------------------------------------------------------ */

static bool is_literal(const struct node *node)
{
    return node->kind == NODE_RANGE && node->lo == node->hi;
}

/* The cheapest token that goes on from here over bytes without an alternative; where it leads in *past. */
static int32_t cost_of_tokens(const struct grammar *g, const struct token_table *table, uint32_t at, uint32_t *past)
{
    int32_t best = COST_NEVER;
    uint32_t trie = 0;
    while (is_literal(&g->nodes[at])) {
        trie = token_table_child(table, trie, g->nodes[at].lo);
        if (!trie)
            break;
        at = g->nodes[at].next;
        if (table->nodes[trie].token >= 0 && cost_add(1, g->nodes[at].cost) < best) {
            best = cost_add(1, g->nodes[at].cost);
            *past = at;
        }
    }
    return best;
}

static int32_t cost_of_range(const struct costs *c, const struct node *node, int32_t behind)
{
    for (int b = node->lo; b <= node->hi; b++)
        if (c->table->single[b])
            return cost_add(1, behind);
    return COST_NEVER;
}

/* Puts the literals right before `at` behind the n that wait; returns how many do then. */
static size_t push_literals(struct costs *c, size_t n, uint32_t at)
{
    for (uint32_t k = c->first[at]; k < c->first[at + 1]; k++) {
        uint32_t user = c->users[k];
        if (!is_literal(&c->g->nodes[user]))
            continue;
        if (!table_room(&c->chain, n, 1, &c->chain_size, sizeof *c->chain)) {
            c->failed = true;
            return 0;
        }
        c->chain[n++] = user;
    }
    return n;
}

/* All literals that lead to `end`, which is none: the nearest first, so that each knows those behind it. */
static void cost_chains(struct costs *c, uint32_t end)
{
    uint32_t past;
    for (size_t n = push_literals(c, 0, end); n > 0;) {
        uint32_t at = c->chain[--n];
        c->g->nodes[at].cost = cost_of_tokens(c->g, c->table, at, &past);
        offer(c, at, c->g->nodes[at].cost);
        n = push_literals(c, n, at);
    }
}

/* `node` needs `known`, whose cost is final now. */
static void relax(struct costs *c, uint32_t id, uint32_t known)
{
    struct grammar *g = c->g;
    const struct node *node = &g->nodes[id];
    int32_t cost = g->nodes[known].cost;
    if (node->kind == NODE_RANGE && !is_literal(node))
        offer(c, id, cost_of_range(c, node, cost));
    else if (node->kind == NODE_SPLIT)
        offer(c, id, cost);
    else if (node->kind == NODE_CALL && c->done[node->next] && c->done[g->rules[node->other].start])
        offer(c, id, cost_add(g->nodes[node->next].cost, g->nodes[g->rules[node->other].start].cost));
    else if (node->kind == NODE_HEAD) {
        const struct loop *loop = &g->loops[node->other];
        if (c->done[loop->exit] && (loop->lo == 0 || c->done[loop->body]))
            offer(c, id, cost_add(cost_times(loop->lo, g->nodes[loop->body].cost), g->nodes[loop->exit].cost));
    }
}

static void run(struct costs *c)
{
    struct grammar *g = c->g;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        g->nodes[i].cost = COST_NEVER;
        if (g->nodes[i].kind == NODE_RETURN || g->nodes[i].kind == NODE_COUNT)
            offer(c, i, 0);
    }
    while (c->n > 0 && !c->failed) {
        struct candidate best = take_cheapest(c);
        if (c->done[best.node])
            continue;
        c->done[best.node] = true;
        g->nodes[best.node].cost = best.cost;
        if (!is_literal(&g->nodes[best.node]))
            cost_chains(c, best.node);
        for (uint32_t k = c->first[best.node]; k < c->first[best.node + 1]; k++)
            relax(c, c->users[k], best.node);
    }
    for (uint32_t r = 0; r < g->n_rules; r++)
        g->rules[r].cost = g->nodes[g->rules[r].start].cost;
    for (uint32_t i = 0; i < g->n_loops; i++)
        g->loops[i].round = g->nodes[g->loops[i].body].cost;
}

/* Inside a token that must be taken as a whole, no way leads on by itself. */
static void keep_insides(struct grammar *g, const struct token_table *table)
{
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        uint32_t past;
        if (!is_literal(&g->nodes[i]) || g->nodes[i].cost == COST_NEVER ||
            cost_of_tokens(g, table, i, &past) != g->nodes[i].cost)
            continue;
        for (uint32_t at = g->nodes[i].next; at != past; at = g->nodes[at].next)
            g->nodes[at].kept = true;
    }
}

dsr1_status grammar_cost(struct grammar *g, const struct token_table *table, dsr1_error *err)
{
    struct costs c;
    bool ok = costs_open(&c, g, table);
    if (ok)
        run(&c);
    ok = ok && !c.failed;
    costs_close(&c);
    if (!ok)
        return error_nomem(err, "an automaton");
    keep_insides(g, table);
    if (g->rules[0].cost == COST_NEVER)
        return error_set(err, DSR1_ERR_ARGUMENT, "nothing fulfils the constraint");
    return DSR1_OK;
}
