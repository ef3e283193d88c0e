/*
 * grammar.h - a constraint as an automaton: rules, each a graph of bytes and calls
 *
 * A rule is a nondeterministic automaton whose edges are ranges of bytes or
 * calls of rules. Repetitions {m,n} count where unrolling would be large: a
 * thread then carries a number, and a counted repetition inside another becomes
 * a rule of its own, so that one number is always enough.
 *
 * Every node knows how many tokens the shortest way to the end of its rule
 * takes (grammar_cost.c). Immutable once open.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_GRAMMAR_H
#define CONSTRAIN_GRAMMAR_H

#include "constrain/expr.h"
#include "constrain/token_table.h"

enum node_kind {
    NODE_FAIL,
    NODE_RETURN,
    NODE_RANGE,         /* a byte from lo to hi, then next */
    NODE_SPLIT,         /* next or other */
    NODE_CALL,          /* rule `other`, then next */
    NODE_HEAD,          /* counted repetition `other`: its body or its exit */
    NODE_COUNT          /* end of that body: one more, then the head again */
};

struct node {
    uint8_t kind, lo, hi;
    bool kept;          /* lies on the only way, though no token ends before it */
    int32_t loop;       /* of whose body it is part, or -1 */
    uint32_t next, other;
    int32_t cost;       /* tokens to the end of the rule; in a body, to the end of the body */
};

struct loop {
    uint32_t body, exit;
    int32_t lo, hi;     /* hi < 0: without end */
    int32_t round;      /* tokens of the cheapest round */
};

struct rule {
    uint32_t start;
    bool nullable;
    int32_t cost;
};

enum { COST_NEVER = 1 << 28, COST_MAX = COST_NEVER - 1, GRAMMAR_NODES_MAX = 1 << 20 };

struct grammar {
    struct node *nodes;
    uint32_t n_nodes, nodes_size;
    struct loop *loops;
    uint32_t n_loops, loops_size;
    struct rule *rules;         /* rule 0 is the answer */
    uint32_t n_rules, rules_size;
    uint8_t class_of[256];      /* bytes that no node tells apart share a class */
    uint8_t bytes_of[256];      /* the first byte of each class */
    bool class_single[256];     /* and its only one */
    int n_classes;
};

/*
 * Makes the automaton of rule 0 of the store. With `table`, costs are computed
 * and an answer that cannot be is DSR1_ERR_ARGUMENT; without, the result has no
 * calls and no counted repetitions unless a rule was used. DSR1_ERR_LIMIT, DSR1_ERR_NOMEM;
 * DSR1_ERR_ARGUMENT for left recursion, naming rule_names[rule] if there are names.
 */
dsr1_status grammar_open(struct grammar *grammar, const struct expr_store *store, const struct token_table *table,
                         const char *const *rule_names, dsr1_error *err);
void grammar_close(struct grammar *grammar);

/* grammar_cost.c: fills in every cost. DSR1_ERR_LIMIT, DSR1_ERR_NOMEM. */
dsr1_status grammar_cost(struct grammar *grammar, const struct token_table *table, dsr1_error *err);

static inline int32_t cost_add(int32_t a, int32_t b)
{
    if (a == COST_NEVER || b == COST_NEVER)
        return COST_NEVER;
    return a > COST_MAX - b ? COST_MAX : a + b;
}

static inline int32_t cost_times(int32_t n, int32_t a)
{
    if (n <= 0)
        return 0;
    if (a == COST_NEVER)
        return COST_NEVER;
    return (int64_t) n * a > COST_MAX ? COST_MAX : n * a;
}

/* Tokens from a node, met with this count, to the end of its rule. */
static inline int32_t grammar_node_cost(const struct grammar *g, uint32_t node, int32_t count)
{
    const struct node *at = &g->nodes[node];
    if (at->loop < 0)
        return at->cost;
    const struct loop *loop = &g->loops[at->loop];
    int32_t rounds = cost_times(loop->lo - count - 1, loop->round);
    return cost_add(at->cost, cost_add(rounds, g->nodes[loop->exit].cost));
}

#endif
