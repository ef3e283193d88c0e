/*
 * schema_parts.h - what the files that read JSON schemas share
 *
 * A value must fulfil a set of schemas at once: that of a property and those
 * that `$ref` and `allOf` add to it. A set is compiled once, into a tree or a
 * rule; `anyOf` makes several sets of one. So `allOf` needs no merging, and a
 * schema that refers to itself is a set that is met again.
 *
 * Every function returns EXPR_NOTHING after a failure; schema->status and the
 * store's status tell it from a set that nothing fulfils.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_SCHEMA_PARTS_H
#define CONSTRAIN_SCHEMA_PARTS_H

#include "base/buffer.h"
#include "constrain/expr.h"
#include "constrain/json_expr.h"
#include "constrain/table.h"

#include <jansson.h>

enum {
    SCHEMA_NULL = 1,
    SCHEMA_BOOLEAN = 2,
    SCHEMA_OBJECT = 4,
    SCHEMA_ARRAY = 8,
    SCHEMA_STRING = 16,
    SCHEMA_INTEGER = 32,
    SCHEMA_NUMBER = 64,         /* numbers that need not be integers; comes with SCHEMA_INTEGER */
    SCHEMA_ANY = 127
};

/* Objects and arrays of the document, numbered as they stand there. */
struct schema_node {
    json_t *json;
    uint32_t parent;            /* its own number: the root */
    const char *key;            /* in the parent; NULL: at `index` */
    size_t index;
    uint8_t mark;               /* schema.c: looked at for references without end */
};

struct schema_list {
    uint32_t *ids;
    size_t n, size;
};

struct schema_set {
    size_t at, n;               /* in members */
    expr_id tree;
    bool known;
    uint32_t rule;              /* asked for before the tree was known, or UINT32_MAX */
};

/* Trees of sets. */
struct schema_trees {
    struct expr_store *s;
    struct json_rules rules;
    struct schema_set *sets;
    size_t n_sets, sets_size;
    struct schema_list members;
    struct table index;
};

struct schema_pattern {
    const char *text;
    bool is_format;
    struct dfa *dfa;
};

struct schema {
    struct schema_trees trees;
    struct schema_node *nodes;
    size_t n_nodes, nodes_size;
    struct table node_index;    /* by address */
    struct schema_pattern *patterns;    /* as automata */
    size_t n_patterns, patterns_size;
    bool asks;                  /* only whether a set is empty: trees may then hold more than they should, never less */
    int depth;
    uint32_t work;
    dsr1_error *err;
    dsr1_status status;
};

/* ------------------------------------------------------------------ */
/* schema.c                                                            */
/* ------------------------------------------------------------------ */

/* Reports what is wrong with a keyword of node id (or the node, with NULL) and where it stands. */
expr_id schema_fail(struct schema *schema, dsr1_status status, uint32_t id, const char *keyword, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static inline bool schema_failed(const struct schema *schema)
{
    return schema->status < 0 || schema->trees.s->status < 0;
}

/* What an automaton adds to the work, beside the sets of schemas. */
enum { SCHEMA_DFA_WORK = 50 };

/* Counts work; false, with the failure set, where there is too much of it. */
bool schema_goes_on(struct schema *schema);

uint32_t schema_id(const struct schema *schema, const json_t *json);        /* of an object or array of the document */

static inline json_t *schema_get(const struct schema *schema, uint32_t id, const char *keyword)
{
    return json_object_get(schema->nodes[id].json, keyword);
}

void schema_list_add(struct schema *schema, struct schema_list *list, uint32_t id);

/* Checks that a schema has no keyword that is not known, and goes along no endless references. */
bool schema_check(struct schema *schema, uint32_t id);

/* What $ref points to; NULL after a failure. */
json_t *schema_resolve(struct schema *schema, uint32_t id);

/* SCHEMA_* bits of keyword `type`. */
int schema_types(struct schema *schema, uint32_t id);

/* The keyword as a number of things, or `absent`. What is beyond EXPR_REPEAT_MAX is one more than that. */
int32_t schema_count(struct schema *schema, uint32_t id, const char *keyword, int32_t absent);

/* An array or object where the keyword is there, else NULL. */
json_t *schema_array_of(struct schema *schema, uint32_t id, const char *keyword);
json_t *schema_object_of(struct schema *schema, uint32_t id, const char *keyword);

/* ------------------------------------------------------------------ */
/* schema_set.c                                                        */
/* ------------------------------------------------------------------ */

/* Adds what a keyword holds, a schema, to a set: nothing for true. False where the schema is false, or after a failure. */
bool schema_set_add(struct schema *schema, struct schema_list *set, json_t *json, uint32_t owner, const char *keyword);

/* Text that all of these fulfil. Sorts the set. */
expr_id schema_set_tree(struct schema *schema, struct schema_list *set);

/* ------------------------------------------------------------------ */
/* One file for each type: all of the schemas of the set hold, whose references and choices are taken apart already */
/* ------------------------------------------------------------------ */

expr_id schema_object_tree(struct schema *schema, const struct schema_list *set);
expr_id schema_array_tree(struct schema *schema, const struct schema_list *set);
expr_id schema_string_tree(struct schema *schema, const struct schema_list *set);
expr_id schema_number_tree(struct schema *schema, const struct schema_list *set, bool integer);

/* schema_value.c: those values of enum and const that all fulfil. */
expr_id schema_values_tree(struct schema *schema, const struct schema_list *set);

/* schema_valid.c: does the value fulfil the schema? */
bool schema_is_valid(struct schema *schema, json_t *json, uint32_t owner, const char *keyword, json_t *value);

/* schema_string.c: does the text match the pattern or format? False after a failure, too. */
bool schema_matches(struct schema *schema, uint32_t id, const char *keyword, const char *text, size_t size);

/* schema_number.c */
bool schema_is_multiple(double value, double of);

#endif
