/*
 * grammar.c - a constraint as an automaton: rules, each a graph of bytes and calls
 *
 * A tree is laid out from its end: to lay out what comes before, one has to
 * know the node that comes after (Thompson 1968).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/grammar.h"

#include "base/error.h"
#include "base/memory.h"
#include "constrain/dfa.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { UNROLL_MAX = 24 };

struct layout {
    struct grammar *g;
    struct expr_store grown;    /* status and room alone: what grows, grows as it does */
    const struct expr_store *s;
    uint8_t *nullable;          /* of each tree */
    uint32_t *size;             /* nodes of each tree, at least */
    expr_id *rules;             /* trees; behind those of the store the counted repetitions inside others */
    uint32_t n_rules, rules_size;
    bool counts;                /* repetitions may count */
};

/* ------------------------------------------------------------------ */
/* What trees are like                                                 */
/* ------------------------------------------------------------------ */

static bool is_nullable(const struct layout *l, const struct expr *e)
{
    switch (e->kind) {
    case EXPR_IS_EMPTY:
        return true;
    case EXPR_IS_SEQUENCE:
        for (uint32_t i = 0; i < e->n; i++)
            if (!l->nullable[l->s->children[e->at + i]])
                return false;
        return true;
    case EXPR_IS_CHOICE:
        for (uint32_t i = 0; i < e->n; i++)
            if (l->nullable[l->s->children[e->at + i]])
                return true;
        return false;
    case EXPR_IS_REPEAT:
        return e->lo == 0 || l->nullable[e->at];
    case EXPR_IS_RULE:
        return l->nullable[l->s->rules[e->at]];
    case EXPR_IS_DFA:
        return dfa_accepts(l->s->dfas[e->at], 0);
    default:
        return false;
    }
}

static uint32_t tree_size(const struct layout *l, const struct expr *e)
{
    uint64_t size = e->kind == EXPR_IS_BYTES ? e->n : e->kind == EXPR_IS_CLASS ? 4ull * e->n : 1;
    if (e->kind == EXPR_IS_DFA)
        size = 4ull * dfa_n_states(l->s->dfas[e->at]);
    if (e->kind == EXPR_IS_REPEAT)
        size = 1ull + l->size[e->at];
    if (e->kind == EXPR_IS_SEQUENCE || e->kind == EXPR_IS_CHOICE)
        for (uint32_t i = 0; i < e->n; i++)
            size += l->size[l->s->children[e->at + i]];
    return size > UINT32_MAX ? UINT32_MAX : (uint32_t) size;
}

/* Children stand before their parents, so that a pass knows all but rules. */
static void measure(struct layout *l)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < l->s->n_exprs; i++) {
            bool nullable = l->nullable[i] || is_nullable(l, &l->s->exprs[i]);
            changed |= nullable != l->nullable[i] && l->s->n_rules > 0;
            l->nullable[i] = nullable;
        }
    }
    for (uint32_t i = 0; i < l->s->n_exprs; i++)
        l->size[i] = tree_size(l, &l->s->exprs[i]);
}

/* ------------------------------------------------------------------ */
/* Nodes                                                               */
/* ------------------------------------------------------------------ */

/* Where one stands while laying out: what comes after, and in which counted body. */
struct place {
    uint32_t next;
    int32_t loop;
};

static uint32_t add_node(struct layout *l, struct node node)
{
    struct grammar *g = l->g;
    if (!expr_grow(&l->grown, &g->nodes, g->n_nodes, 1, &g->nodes_size, sizeof *g->nodes))
        return 0;
    g->nodes[g->n_nodes] = node;
    return g->n_nodes++;
}

static uint32_t add_split(struct layout *l, uint32_t a, uint32_t b, int32_t loop)
{
    return add_node(l, (struct node){.kind = NODE_SPLIT, .next = a, .other = b, .loop = loop});
}

static uint32_t add_range(struct layout *l, int lo, int hi, uint32_t next, int32_t loop)
{
    return add_node(l, (struct node){.kind = NODE_RANGE, .lo = (uint8_t) lo, .hi = (uint8_t) hi, .next = next,
                                     .loop = loop});
}

/* A node that the next alternative goes to as well. */
static uint32_t add_choice(struct layout *l, uint32_t so_far, uint32_t more, int32_t loop)
{
    return so_far ? add_split(l, more, so_far, loop) : more;
}

/* Continuation bytes 80-BF, as many as one wants, before `next`: shared by all of a class. */
struct tails {
    uint32_t at[4];
};

static uint32_t tail(struct layout *l, struct tails *tails, int n, struct place p)
{
    if (n == 0)
        return p.next;
    if (!tails->at[n])
        tails->at[n] = add_range(l, 0x80, 0xbf, tail(l, tails, n - 1, p), p.loop);
    return tails->at[n];
}

/*
 * UTF-8 of all from lo to hi, which have equally many bytes: bytes from `at` on.
 * Cut where the bytes behind the first do not run through all their values.
 */
static uint32_t lay_span(struct layout *l, struct tails *tails, const uint8_t *lo, const uint8_t *hi, int left,
                         struct place p)
{
    if (left == 1)
        return add_range(l, lo[0], hi[0], p.next, p.loop);
    static const uint8_t lowest[3] = {0x80, 0x80, 0x80}, highest[3] = {0xbf, 0xbf, 0xbf};
    if (lo[0] == hi[0])
        return add_range(l, lo[0], hi[0], lay_span(l, tails, lo + 1, hi + 1, left - 1, p), p.loop);
    int from = lo[0], to = hi[0];
    uint32_t node = 0;
    if (memcmp(lo + 1, lowest, (size_t) left - 1) != 0)
        node = add_range(l, from++, lo[0], lay_span(l, tails, lo + 1, highest, left - 1, p), p.loop);
    if (memcmp(hi + 1, highest, (size_t) left - 1) != 0) {
        uint32_t last = add_range(l, to--, hi[0], lay_span(l, tails, lowest, hi + 1, left - 1, p), p.loop);
        node = add_choice(l, node, last, p.loop);
    }
    if (from <= to)
        node = add_choice(l, node, add_range(l, from, to, tail(l, tails, left - 1, p), p.loop), p.loop);
    return node;
}

static uint32_t lay_class(struct layout *l, const struct expr *e, struct place p)
{
    static const uint32_t last[4] = {0x7f, 0x7ff, 0xffff, 0x10ffff};
    struct tails tails = {{0}};
    uint32_t node = 0;
    for (uint32_t i = 0; i < e->n; i++) {
        struct code_range r = l->s->ranges[e->at + i];
        for (int k = 0; k < 4; k++) {
            uint32_t first = k ? last[k - 1] + 1 : 0;
            uint32_t lo = r.lo > first ? r.lo : first, hi = r.hi < last[k] ? r.hi : last[k];
            uint8_t lo_bytes[4], hi_bytes[4];
            if (lo > hi)
                continue;
            utf8_encode(lo, lo_bytes);
            utf8_encode(hi, hi_bytes);
            node = add_choice(l, node, lay_span(l, &tails, lo_bytes, hi_bytes, k + 1, p), p.loop);
        }
    }
    return node;
}

static uint32_t lay_bytes(struct layout *l, const struct expr *e, struct place p)
{
    for (uint32_t i = e->n; i-- > 0;)
        p.next = add_range(l, l->s->bytes[e->at + i], l->s->bytes[e->at + i], p.next, p.loop);
    return p.next;
}

/* ------------------------------------------------------------------ */
/* Trees                                                               */
/* ------------------------------------------------------------------ */

static uint32_t lay(struct layout *l, expr_id id, struct place p);

/* A node a state, made first since they refer to each other. */
static uint32_t lay_dfa(struct layout *l, const struct dfa *dfa, struct place p)
{
    uint32_t n = dfa_n_states(dfa), first = l->g->n_nodes;
    for (uint32_t i = 0; i < n && l->grown.status == DSR1_OK; i++)
        add_split(l, 0, 0, p.loop);
    for (uint32_t i = 0; i < n && l->grown.status == DSR1_OK; i++) {
        uint32_t node = dfa_accepts(dfa, i) ? p.next : 0;
        for (int lo = 0, hi; lo < 256; lo = hi + 1) {
            uint32_t to = dfa_next(dfa, i, (uint8_t) lo);
            for (hi = lo; hi < 255 && dfa_next(dfa, i, (uint8_t) (hi + 1)) == to; hi++)
                ;
            if (to != DFA_DEAD)
                node = add_choice(l, node, add_range(l, lo, hi, first + to, p.loop), p.loop);
        }
        if (l->grown.status == DSR1_OK)
            l->g->nodes[first + i].next = node;
    }
    return first;
}

static uint32_t lay_star(struct layout *l, expr_id body, bool once, struct place p)
{
    uint32_t split = add_split(l, 0, p.next, p.loop);
    uint32_t start = lay(l, body, (struct place){split, p.loop});
    if (l->grown.status == DSR1_OK)
        l->g->nodes[split].next = start;
    return once ? start : split;
}

static uint32_t lay_unrolled(struct layout *l, const struct expr *e, struct place p)
{
    uint32_t end = p.next;
    if (e->hi < 0)
        p.next = lay_star(l, e->at, false, p);
    for (int32_t i = e->lo; i < e->hi && l->grown.status == DSR1_OK; i++)
        p.next = add_split(l, lay(l, e->at, p), end, p.loop);
    for (int32_t i = 0; i < e->lo && l->grown.status == DSR1_OK; i++)
        p.next = lay(l, e->at, p);
    return p.next;
}

static uint32_t lay_counted(struct layout *l, const struct expr *e, struct place p)
{
    struct grammar *g = l->g;
    if (!expr_grow(&l->grown, &g->loops, g->n_loops, 1, &g->loops_size, sizeof *g->loops))
        return 0;
    uint32_t id = g->n_loops++;
    int32_t lo = l->nullable[e->at] ? 0 : e->lo;
    g->loops[id] = (struct loop){.exit = p.next, .lo = lo, .hi = e->hi};
    uint32_t head = add_node(l, (struct node){.kind = NODE_HEAD, .other = id, .loop = -1});
    uint32_t count = add_node(l, (struct node){.kind = NODE_COUNT, .other = id, .next = head, .loop = (int32_t) id});
    uint32_t body = lay(l, e->at, (struct place){count, (int32_t) id});
    g->loops[id].body = body;
    return head;
}

/* A counted repetition in the body of another one: as a rule, so that its count has a place. */
static uint32_t lay_as_rule(struct layout *l, expr_id id, struct place p)
{
    if (!expr_grow(&l->grown, &l->rules, l->n_rules, 1, &l->rules_size, sizeof *l->rules))
        return 0;
    l->rules[l->n_rules] = id;
    return add_node(l, (struct node){.kind = NODE_CALL, .other = l->n_rules++, .next = p.next, .loop = p.loop});
}

static uint32_t lay_repeat(struct layout *l, expr_id id, const struct expr *e, struct place p)
{
    if (e->hi < 0 && e->lo <= 1)
        return lay_star(l, e->at, e->lo == 1, p);
    int64_t rounds = e->hi < 0 ? e->lo + 1 : e->hi;
    if (!l->counts || e->hi == 1 || rounds * l->size[e->at] <= UNROLL_MAX)
        return lay_unrolled(l, e, p);
    return p.loop >= 0 ? lay_as_rule(l, id, p) : lay_counted(l, e, p);
}

static uint32_t lay(struct layout *l, expr_id id, struct place p)
{
    const struct expr *e = &l->s->exprs[id];
    uint32_t node = 0;
    if (l->grown.status < 0)
        return 0;
    switch (e->kind) {
    case EXPR_IS_NOTHING:
        return add_node(l, (struct node){.kind = NODE_FAIL, .loop = p.loop});
    case EXPR_IS_EMPTY:
        return p.next;
    case EXPR_IS_BYTES:
        return lay_bytes(l, e, p);
    case EXPR_IS_RANGE:
        return add_range(l, e->lo, e->hi, p.next, p.loop);
    case EXPR_IS_CLASS:
        return lay_class(l, e, p);
    case EXPR_IS_SEQUENCE:
        for (uint32_t i = e->n; i-- > 0;)
            p.next = lay(l, l->s->children[e->at + i], p);
        return p.next;
    case EXPR_IS_CHOICE:
        for (uint32_t i = e->n; i-- > 0;)
            node = add_choice(l, node, lay(l, l->s->children[e->at + i], p), p.loop);
        return node;
    case EXPR_IS_REPEAT:
        return lay_repeat(l, id, e, p);
    case EXPR_IS_RULE:
        return add_node(l, (struct node){.kind = NODE_CALL, .other = e->at, .next = p.next, .loop = p.loop});
    case EXPR_IS_DFA:
        return lay_dfa(l, l->s->dfas[e->at], p);
    }
    return 0;
}

/* Rules appear while others are laid out. */
static void lay_rules(struct layout *l)
{
    struct grammar *g = l->g;
    add_node(l, (struct node){.kind = NODE_FAIL, .loop = -1});
    for (uint32_t r = 0; r < l->n_rules && l->grown.status == DSR1_OK; r++) {
        if (!expr_grow(&l->grown, &g->rules, g->n_rules, 1, &g->rules_size, sizeof *g->rules))
            return;
        g->rules[g->n_rules++] = (struct rule){.nullable = l->nullable[l->rules[r]]};
        uint32_t end = add_node(l, (struct node){.kind = NODE_RETURN, .loop = -1});
        uint32_t start = lay(l, l->rules[r], (struct place){end, -1});
        g->rules[r].start = start;
    }
}

/* ------------------------------------------------------------------ */
/* Checks                                                              */
/* ------------------------------------------------------------------ */

static void find_classes(struct grammar *g)
{
    bool cut[257] = {true};
    for (uint32_t i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].kind == NODE_RANGE)
            cut[g->nodes[i].lo] = cut[g->nodes[i].hi + 1] = true;
    for (int b = 0; b < 256; b++) {
        if (cut[b])
            g->bytes_of[g->n_classes++] = (uint8_t) b;
        g->class_of[b] = (uint8_t) (g->n_classes - 1);
        g->class_single[g->n_classes - 1] = cut[b];
    }
}

enum { NEW, OPEN, DONE };

/* One visit of nodes that need no byte, from the start of each rule: a rule met again while open calls itself first. */
struct recursion {
    const struct grammar *g;
    uint8_t *rule_state;
    uint32_t *seen;             /* rule + 1 in whose visit a node was met */
    struct step_back {
        uint32_t node, rule;    /* node 0: the rule is done */
    } *stack;
    size_t n, size;
    bool failed;
};

static void recursion_push(struct recursion *r, uint32_t node, uint32_t rule)
{
    if (r->n == r->size) {
        size_t size = 2 * r->size + 256;
        void *grown = memory_resize(r->stack, size, sizeof *r->stack);
        if (!grown) {
            r->failed = true;
            return;
        }
        r->stack = grown;
        r->size = size;
    }
    r->stack[r->n++] = (struct step_back){node, rule};
}

/* Returns a rule that is left recursive through this node, or UINT32_MAX. */
static uint32_t recursion_visit(struct recursion *r, uint32_t node, uint32_t rule)
{
    const struct node *at = &r->g->nodes[node];
    if (r->seen[node] == rule + 1)
        return UINT32_MAX;
    r->seen[node] = rule + 1;
    if (at->kind == NODE_SPLIT || at->kind == NODE_COUNT || (at->kind == NODE_CALL && r->g->rules[at->other].nullable))
        recursion_push(r, at->next, rule);
    if (at->kind == NODE_SPLIT)
        recursion_push(r, at->other, rule);
    if (at->kind == NODE_HEAD) {
        recursion_push(r, r->g->loops[at->other].body, rule);
        recursion_push(r, r->g->loops[at->other].exit, rule);
    }
    if (at->kind != NODE_CALL || r->rule_state[at->other] == DONE)
        return UINT32_MAX;
    if (r->rule_state[at->other] == OPEN)
        return at->other;
    r->rule_state[at->other] = OPEN;
    recursion_push(r, 0, at->other);
    recursion_push(r, r->g->rules[at->other].start, at->other);
    return UINT32_MAX;
}

static uint32_t recursion_run(struct recursion *r)
{
    for (uint32_t rule = 0; rule < r->g->n_rules; rule++) {
        if (r->rule_state[rule] != NEW)
            continue;
        r->rule_state[rule] = OPEN;
        recursion_push(r, 0, rule);
        recursion_push(r, r->g->rules[rule].start, rule);
        while (r->n && !r->failed) {
            struct step_back at = r->stack[--r->n];
            if (at.node == 0) {
                r->rule_state[at.rule] = DONE;
                continue;
            }
            uint32_t found = recursion_visit(r, at.node, at.rule);
            if (found != UINT32_MAX)
                return found;
        }
    }
    return UINT32_MAX;
}

static dsr1_status check_recursion(const struct grammar *g, const struct expr_store *s, const char *const *names,
                                   dsr1_error *err)
{
    struct recursion r = {.g = g};
    r.rule_state = memory_array(g->n_rules, 1);
    r.seen = memory_array(g->n_nodes, sizeof *r.seen);
    uint32_t found = r.rule_state && r.seen ? recursion_run(&r) : UINT32_MAX;
    bool failed = r.failed || !r.rule_state || !r.seen;
    free(r.rule_state);
    free(r.seen);
    free(r.stack);
    if (failed)
        return error_nomem(err, "an automaton");
    if (found == UINT32_MAX)
        return DSR1_OK;
    const char *name = names && found < s->n_rules ? names[found] : NULL;
    return error_set(err, DSR1_ERR_ARGUMENT, "%s%.60s begins with itself (left recursion)", name ? "rule " : "a rule",
                     name ? name : "");
}

/* ------------------------------------------------------------------ */
/* Opening                                                             */
/* ------------------------------------------------------------------ */

static dsr1_status lay_out(struct layout *l, dsr1_error *err)
{
    const struct expr_store *s = l->s;
    l->nullable = memory_array(s->n_exprs, sizeof *l->nullable);
    l->size = memory_array(s->n_exprs, sizeof *l->size);
    if (!l->nullable || !l->size ||
        !expr_grow(&l->grown, &l->rules, 0, s->n_rules, &l->rules_size, sizeof *l->rules))
        return error_nomem(err, "an automaton");
    memcpy(l->rules, s->rules, s->n_rules * sizeof *s->rules);
    l->n_rules = s->n_rules;
    measure(l);
    lay_rules(l);
    if (l->grown.status == DSR1_ERR_LIMIT)
        return error_set(err, DSR1_ERR_LIMIT, "the constraint is too large: more than %d nodes", GRAMMAR_NODES_MAX);
    return l->grown.status < 0 ? error_nomem(err, "an automaton") : DSR1_OK;
}

dsr1_status grammar_open(struct grammar *g, const struct expr_store *store, const struct token_table *table,
                         const char *const *rule_names, dsr1_error *err)
{
    struct layout l = {.g = g, .s = store, .counts = table != NULL};
    *g = (struct grammar){0};
    if (store->status == DSR1_ERR_LIMIT)
        return error_set(err, DSR1_ERR_LIMIT, "the constraint is too large or nested too deeply");
    if (store->status < 0)
        return error_nomem(err, "a constraint");
    dsr1_status status = lay_out(&l, err);
    free(l.nullable);
    free(l.size);
    free(l.rules);
    if (status == DSR1_OK)
        status = check_recursion(g, store, rule_names, err);
    if (status == DSR1_OK) {
        find_classes(g);
        status = table ? grammar_cost(g, table, err) : DSR1_OK;
    }
    if (status < 0)
        grammar_close(g);
    return status;
}

void grammar_close(struct grammar *g)
{
    free(g->nodes);
    free(g->loops);
    free(g->rules);
    *g = (struct grammar){0};
}
