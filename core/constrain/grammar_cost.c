/*
 * grammar_cost.c - how many tokens the shortest way to the end takes, from every node
 *
 * A way may go byte by byte, where the vocabulary has each byte as a token, or
 * over a whole token where the automaton leaves no choice (the names of
 * properties). Every step is one that a mask would allow, so the sum is a
 * number of tokens that suffices. Knuth's generalisation of Dijkstra, by passes
 * until nothing gets cheaper.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "constrain/grammar.h"

enum { WORK_MAX = 1 << 28 };

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

static int32_t cost_of_range(const struct grammar *g, const struct token_table *table, const struct node *node)
{
    for (int b = node->lo; b <= node->hi; b++)
        if (table->single[b])
            return cost_add(1, g->nodes[node->next].cost);
    return COST_NEVER;
}

static int32_t cost_of_head(const struct grammar *g, struct loop *loop)
{
    loop->round = g->nodes[loop->body].cost;
    return cost_add(cost_times(loop->lo, loop->round), g->nodes[loop->exit].cost);
}

static int32_t cost_of_node(struct grammar *g, const struct token_table *table, uint32_t id)
{
    const struct node *node = &g->nodes[id];
    uint32_t past;
    switch ((enum node_kind) node->kind) {
    case NODE_FAIL:
        return COST_NEVER;
    case NODE_RETURN:
    case NODE_COUNT:
        return 0;
    case NODE_RANGE: {
        int32_t one = cost_of_range(g, table, node);
        int32_t more = is_literal(node) ? cost_of_tokens(g, table, id, &past) : COST_NEVER;
        return one < more ? one : more;
    }
    case NODE_SPLIT: {
        int32_t a = g->nodes[node->next].cost, b = g->nodes[node->other].cost;
        return a < b ? a : b;
    }
    case NODE_CALL:
        return cost_add(g->rules[node->other].cost, g->nodes[node->next].cost);
    case NODE_HEAD:
        return cost_of_head(g, &g->loops[node->other]);
    }
    return COST_NEVER;
}

/* Callees often stand behind their callers, and what comes next before what leads there: two directions. */
static bool pass(struct grammar *g, const struct token_table *table, bool up)
{
    bool changed = false;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        uint32_t id = up ? i : g->n_nodes - 1 - i;
        int32_t cost = cost_of_node(g, table, id);
        if (cost < g->nodes[id].cost) {
            g->nodes[id].cost = cost;
            changed = true;
        }
    }
    for (uint32_t r = 0; r < g->n_rules; r++)
        g->rules[r].cost = g->nodes[g->rules[r].start].cost;
    return changed;
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
    uint64_t work = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        g->nodes[i].cost = COST_NEVER;
    for (uint32_t i = 0; i < g->n_loops; i++)
        g->loops[i].round = COST_NEVER;
    for (uint32_t r = 0; r < g->n_rules; r++)
        g->rules[r].cost = COST_NEVER;
    for (bool up = true; pass(g, table, up); up = !up) {
        work += g->n_nodes;
        if (work > WORK_MAX)
            return error_set(err, DSR1_ERR_LIMIT, "the constraint is too entangled");
    }
    keep_insides(g, table);
    if (g->rules[0].cost == COST_NEVER)
        return error_set(err, DSR1_ERR_ARGUMENT, "nothing fulfils the constraint");
    return DSR1_OK;
}
