/*
 * schema_set.c - what a set of schemas admits
 *
 * References and allOf add to the set, anyOf and oneOf make one set for each of
 * their schemas. What is left has keywords of single types only.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/schema_parts.h"

enum { DEPTH_MAX = 200, ONE_OF_MAX = 200 };

/* A set being taken apart. */
struct parts {
    struct schema_list base;    /* schemas, as they were met */
    struct schema_list choices; /* arrays of schemas, of each of which one must hold */
    bool nothing;
};

/* ------------------------------------------------------------------ */
/* Sets                                                                */
/* ------------------------------------------------------------------ */

bool schema_set_add(struct schema *c, struct schema_list *set, json_t *json, uint32_t owner, const char *keyword)
{
    if (json_is_object(json))
        schema_list_add(c, set, schema_id(c, json));
    else if (!json_is_boolean(json))
        schema_fail(c, DSR1_ERR_ARGUMENT, owner, keyword, "no schema: an object, true or false");
    return !schema_failed(c) && !json_is_false(json);
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;
    return (x > y) - (x < y);
}

static void sort_set(struct schema_list *set)
{
    size_t n = 0;
    if (set->n)
        qsort(set->ids, set->n, sizeof *set->ids, compare_ids);
    for (size_t i = 0; i < set->n; i++)
        if (i == 0 || set->ids[i] != set->ids[i - 1])
            set->ids[n++] = set->ids[i];
    set->n = n;
}

static bool list_has(const struct schema_list *list, uint32_t id)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->ids[i] == id)
            return true;
    return false;
}

/* ------------------------------------------------------------------ */
/* Taking apart                                                        */
/* ------------------------------------------------------------------ */

static void parts_free(struct parts *p)
{
    free(p->base.ids);
    free(p->choices.ids);
}

static void copy_list(struct schema *c, struct schema_list *to, const struct schema_list *from)
{
    for (size_t i = 0; i < from->n; i++)
        schema_list_add(c, to, from->ids[i]);
}

/* Depth is bounded by schema_check. */
static void parts_add(struct schema *c, struct parts *p, json_t *json)
{
    p->nothing |= json_is_false(json);
    if (!json_is_object(json) || p->nothing || !schema_goes_on(c))
        return;
    uint32_t id = schema_id(c, json);
    if (list_has(&p->base, id) || !schema_check(c, id))
        return;
    schema_list_add(c, &p->base, id);
    if (schema_get(c, id, "$ref")) {
        json_t *target = schema_resolve(c, id);
        if (target)
            parts_add(c, p, target);
    }
    size_t i;
    json_t *item, *list = schema_array_of(c, id, "allOf");
    json_array_foreach(list, i, item)
        parts_add(c, p, item);
    static const char *const keywords[] = {"anyOf", "oneOf"};
    for (int k = 0; k < 2; k++) {
        list = schema_array_of(c, id, keywords[k]);
        if (list)
            schema_list_add(c, &p->choices, schema_id(c, list));
    }
}

static bool has_values(const struct schema *c, const struct schema_list *set)
{
    for (size_t i = 0; i < set->n; i++)
        if (schema_get(c, set->ids[i], "enum") || schema_get(c, set->ids[i], "const"))
            return true;
    return false;
}

/* Each type by itself. */
static expr_id base_tree(struct schema *c, const struct schema_list *set)
{
    int types = SCHEMA_ANY;
    if (has_values(c, set))
        return schema_values_tree(c, set);
    for (size_t i = 0; i < set->n; i++)
        types &= schema_types(c, set->ids[i]);
    struct expr_store *s = c->trees.s;
    expr_id tree = EXPR_NOTHING;
    if (types & SCHEMA_NULL)
        tree = expr_either(s, tree, expr_string(s, "null"));
    if (types & SCHEMA_BOOLEAN)
        tree = expr_either(s, tree, json_expr_boolean(s));
    if (types & SCHEMA_INTEGER)
        tree = expr_either(s, tree, schema_number_tree(c, set, !(types & SCHEMA_NUMBER)));
    if (types & SCHEMA_STRING && !schema_failed(c))
        tree = expr_either(s, tree, schema_string_tree(c, set));
    if (types & SCHEMA_ARRAY && !schema_failed(c))
        tree = expr_either(s, tree, schema_array_tree(c, set));
    if (types & SCHEMA_OBJECT && !schema_failed(c))
        tree = expr_either(s, tree, schema_object_tree(c, set));
    return tree;
}

static expr_id parts_tree(struct schema *c, struct parts *p);

/* Of the set with these schemas, too; NULL: none. */
static expr_id tree_with(struct schema *c, const struct parts *p, json_t *a, json_t *b)
{
    struct parts more = {.nothing = p->nothing};
    copy_list(c, &more.base, &p->base);
    copy_list(c, &more.choices, &p->choices);
    if (a)
        parts_add(c, &more, a);
    if (b)
        parts_add(c, &more, b);
    expr_id tree = more.nothing || schema_failed(c) ? EXPR_NOTHING : parts_tree(c, &more);
    parts_free(&more);
    return tree;
}

/* In trees of its own, which are thrown away. */
static bool is_nothing(struct schema *c, const struct parts *p, json_t *a, json_t *b)
{
    struct schema_trees kept = c->trees;
    struct expr_store scratch;
    bool nothing = false, asked = c->asks;
    if (!expr_open(&scratch)) {
        kept.s->status = DSR1_ERR_NOMEM;
        return false;
    }
    c->trees = (struct schema_trees){.s = &scratch, .rules = JSON_RULES_NONE};
    c->asks = true;
    if (table_open(&c->trees.index))
        nothing = tree_with(c, p, a, b) == EXPR_NOTHING && !schema_failed(c);
    else
        scratch.status = DSR1_ERR_NOMEM;
    if (scratch.status < 0 && kept.s->status == DSR1_OK)
        kept.s->status = scratch.status;
    table_close(&c->trees.index);
    free(c->trees.sets);
    free(c->trees.members.ids);
    expr_close(&scratch);
    c->trees = kept;
    c->asks = asked;
    return nothing;
}

/* oneOf is anyOf where no two can hold at once, which must be plain to see. */
static bool check_one_of(struct schema *c, const struct parts *p, uint32_t array)
{
    json_t *list = c->nodes[array].json;
    size_t n = json_array_size(list);
    if (n > ONE_OF_MAX)
        schema_fail(c, DSR1_ERR_LIMIT, array, NULL, "more than %d schemas", ONE_OF_MAX);
    for (size_t i = 0; i < n && !schema_failed(c); i++)
        for (size_t k = i + 1; k < n && !schema_failed(c); k++)
            if (!is_nothing(c, p, json_array_get(list, i), json_array_get(list, k)) && !schema_failed(c))
                schema_fail(c, DSR1_ERR_UNSUPPORTED, array, NULL,
                            "schemas %zu and %zu may hold at once, which oneOf forbids; anyOf would do", i, k);
    return !schema_failed(c);
}

/* The first choice is made in every way. */
static expr_id parts_tree(struct schema *c, struct parts *p)
{
    if (!schema_goes_on(c) || p->nothing)
        return EXPR_NOTHING;
    if (p->choices.n == 0)
        return base_tree(c, &p->base);
    uint32_t array = p->choices.ids[--p->choices.n];
    bool one = strcmp(c->nodes[array].key, "oneOf") == 0;
    if (one && !c->asks && !has_values(c, &p->base) && !check_one_of(c, p, array))
        return EXPR_NOTHING;
    struct expr_list trees = {0};
    size_t i;
    json_t *item;
    json_array_foreach(c->nodes[array].json, i, item) {
        expr_id tree = tree_with(c, p, item, NULL);
        if (tree != EXPR_NOTHING)
            expr_list_add(c->trees.s, &trees, tree);
    }
    expr_id tree = schema_failed(c) ? EXPR_NOTHING : expr_choice(c->trees.s, trees.ids, trees.n);
    free(trees.ids);
    return tree;
}

/* ------------------------------------------------------------------ */
/* What is known already                                               */
/* ------------------------------------------------------------------ */

static uint64_t hash_set(const struct schema_list *set)
{
    uint64_t hash = set->n;
    for (size_t i = 0; i < set->n; i++)
        hash = table_hash(hash, set->ids[i]);
    return hash;
}

static size_t find_set(const struct schema_trees *t, const struct schema_list *set, uint64_t hash)
{
    size_t at = 0;
    for (uint32_t i; (i = table_next(&t->index, hash, &at)) != UINT32_MAX;)
        if (t->sets[i].n == set->n &&
            memcmp(t->members.ids + t->sets[i].at, set->ids, set->n * sizeof *set->ids) == 0)
            return i;
    return SIZE_MAX;
}

static size_t add_set(struct schema *c, const struct schema_list *set, uint64_t hash)
{
    struct schema_trees *t = &c->trees;
    struct schema_set new = {.at = t->members.n, .n = set->n, .rule = UINT32_MAX};
    copy_list(c, &t->members, set);
    if (schema_failed(c) || !table_room(&t->sets, t->n_sets, 1, &t->sets_size, sizeof *t->sets) ||
        !table_add(&t->index, hash, (uint32_t) t->n_sets)) {
        t->s->status = t->s->status < 0 ? t->s->status : DSR1_ERR_NOMEM;
        return SIZE_MAX;
    }
    t->sets[t->n_sets] = new;
    return t->n_sets++;
}

static bool is_small(const struct expr_store *s, expr_id tree)
{
    enum expr_kind kind = s->exprs[tree].kind;
    return kind == EXPR_IS_NOTHING || kind == EXPR_IS_BYTES || kind == EXPR_IS_RULE;
}

/* A tree that is used in several places, or within itself, is a rule. */
static expr_id name_tree(struct schema_trees *t, size_t id, expr_id tree)
{
    if (t->sets[id].rule == UINT32_MAX && is_small(t->s, tree))
        return tree;
    uint32_t rule = t->sets[id].rule == UINT32_MAX ? expr_new_rule(t->s) : t->sets[id].rule;
    if (t->s->status < 0)
        return EXPR_NOTHING;
    t->s->rules[rule] = tree;
    return tree == EXPR_NOTHING ? tree : expr_rule(t->s, rule);
}

expr_id schema_set_tree(struct schema *c, struct schema_list *set)
{
    struct schema_trees *t = &c->trees;
    struct parts p = {.nothing = false};
    sort_set(set);
    if (set->n == 0)
        return json_expr_value(t->s, &t->rules);
    uint64_t hash = hash_set(set);
    size_t id = find_set(t, set, hash);
    if (id != SIZE_MAX) {
        if (t->sets[id].known)
            return t->sets[id].tree;
        if (t->sets[id].rule == UINT32_MAX)
            t->sets[id].rule = expr_new_rule(t->s);
        return expr_rule(t->s, t->sets[id].rule);
    }
    id = add_set(c, set, hash);
    if (id == SIZE_MAX || !schema_goes_on(c))
        return EXPR_NOTHING;
    if (++c->depth > DEPTH_MAX)
        schema_fail(c, DSR1_ERR_LIMIT, set->ids[0], NULL, "schemas are nested too deeply");
    for (size_t i = 0; i < set->n && !schema_failed(c); i++)
        parts_add(c, &p, c->nodes[set->ids[i]].json);
    expr_id tree = schema_failed(c) ? EXPR_NOTHING : parts_tree(c, &p);
    parts_free(&p);
    c->depth--;
    if (schema_failed(c))
        return EXPR_NOTHING;
    tree = name_tree(t, id, tree);
    t->sets[id].known = true;
    t->sets[id].tree = tree;
    return tree;
}
