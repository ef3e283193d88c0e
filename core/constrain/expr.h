/*
 * expr.h - what a constraint says, as a tree
 *
 * Schemas, expressions and grammars are read into these, and grammar.c makes
 * automata of them. Trees are built from the leaves up and refer to each other
 * by number; parts may be shared. Failures stick (status) and are looked at once:
 * every function then returns EXPR_NOTHING.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_EXPR_H
#define CONSTRAIN_EXPR_H

#include "dsr1.h"

typedef uint32_t expr_id;

enum expr_kind {
    EXPR_IS_NOTHING,    /* no text at all */
    EXPR_IS_EMPTY,      /* the empty text */
    EXPR_IS_BYTES,      /* at, n: of the byte store */
    EXPR_IS_RANGE,      /* one byte, lo to hi */
    EXPR_IS_CLASS,      /* at, n: ranges of code points, as UTF-8 */
    EXPR_IS_SEQUENCE,   /* at, n: of the child store */
    EXPR_IS_CHOICE,
    EXPR_IS_REPEAT,     /* at: the child; lo to hi times, hi < 0: without end */
    EXPR_IS_RULE,       /* at: number of a rule */
    EXPR_IS_DFA         /* at: number of an automaton */
};

enum { EXPR_NOTHING = 0, EXPR_EMPTY = 1, EXPR_MAX = 1 << 20, EXPR_DEPTH_MAX = 500, EXPR_REPEAT_MAX = 1 << 20 };

struct expr {
    enum expr_kind kind;
    uint16_t depth;     /* of the tree below */
    uint32_t at, n;
    int32_t lo, hi;
};

struct code_range {
    uint32_t lo, hi;
};

struct dfa;

struct expr_store {
    struct expr *exprs;
    uint32_t n_exprs, exprs_size;
    uint8_t *bytes;
    uint32_t n_bytes, bytes_size;
    struct code_range *ranges;
    uint32_t n_ranges, ranges_size;
    expr_id *children;
    uint32_t n_children, children_size;
    expr_id *rules;             /* a rule's tree, EXPR_NOTHING until it is known */
    uint32_t n_rules, rules_size;
    struct dfa **dfas;          /* owned */
    uint32_t n_dfas, dfas_size;
    dsr1_status status;
};

bool expr_open(struct expr_store *store);
void expr_close(struct expr_store *store);

expr_id expr_bytes(struct expr_store *store, const void *bytes, size_t size);
expr_id expr_string(struct expr_store *store, const char *string);
expr_id expr_range(struct expr_store *store, uint8_t lo, uint8_t hi);

/* Ranges in any order, overlapping or not; surrogates and what lies beyond U+10FFFF are left out. */
expr_id expr_class(struct expr_store *store, const struct code_range *ranges, size_t n, bool negated);

expr_id expr_sequence(struct expr_store *store, const expr_id *children, size_t n);
expr_id expr_choice(struct expr_store *store, const expr_id *children, size_t n);
expr_id expr_pair(struct expr_store *store, expr_id a, expr_id b);
expr_id expr_either(struct expr_store *store, expr_id a, expr_id b);
expr_id expr_repeat(struct expr_store *store, expr_id child, int32_t lo, int32_t hi);
expr_id expr_optional(struct expr_store *store, expr_id child);

/* A rule may be used before it has a tree. */
uint32_t expr_new_rule(struct expr_store *store);
expr_id expr_rule(struct expr_store *store, uint32_t rule);

/* Takes dfa over. */
expr_id expr_dfa(struct expr_store *store, struct dfa *dfa);

/* Sorts, joins, cuts out surrogates: in place, returns how many are left (n + 1 must fit). */
size_t expr_tidy_ranges(struct code_range *ranges, size_t n);

/* What the n tidy ranges leave out: at most n + 2, into `to`. */
size_t expr_negate_ranges(const struct code_range *ranges, size_t n, struct code_range *to);

/* Makes room for one more item; false, and the status set, where there is none. */
bool expr_grow(struct expr_store *store, void *items, uint32_t n, uint32_t more, uint32_t *size, size_t item);

/* A list of trees, as they come. */
struct expr_list {
    expr_id *ids;
    uint32_t n, size;
};

void expr_list_add(struct expr_store *store, struct expr_list *list, expr_id id);

#endif
