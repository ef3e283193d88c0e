/*
 * schema_array.c - arrays: prefixItems one by one, then items
 *
 * As with objects: where prefixItems stands without items, an answer has no more
 * than those, unless minItems asks for more.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/schema_parts.h"

enum { PREFIX_MAX = 200 };

struct array {
    struct schema *c;
    const struct schema_list *set;
    size_t n_prefix;
    int32_t lo, hi;             /* hi < 0: without end */
    bool listed, invited;       /* prefixItems is there; items invites more */
};

static void read_keywords(struct array *a)
{
    struct schema *c = a->c;
    a->hi = -1;
    for (size_t i = 0; i < a->set->n; i++) {
        uint32_t id = a->set->ids[i];
        json_t *prefix = schema_array_of(c, id, "prefixItems"), *items = schema_get(c, id, "items");
        int32_t lo = schema_count(c, id, "minItems", 0), hi = schema_count(c, id, "maxItems", -1);
        a->lo = lo > a->lo ? lo : a->lo;
        if (hi >= 0 && (a->hi < 0 || hi < a->hi))
            a->hi = hi;
        if (json_array_size(prefix) > a->n_prefix)
            a->n_prefix = json_array_size(prefix);
        a->listed |= prefix != NULL;
        a->invited |= items && !json_is_false(items);
        if (json_is_array(items))
            schema_fail(c, DSR1_ERR_UNSUPPORTED, id, "items", "an array of schemas is called prefixItems now");
    }
    if (a->n_prefix > PREFIX_MAX)
        schema_fail(c, DSR1_ERR_LIMIT, a->set->ids[0], "prefixItems", "more than %d", PREFIX_MAX);
    for (size_t i = 0; i < a->set->n; i++) {
        json_t *unique = schema_get(c, a->set->ids[i], "uniqueItems");
        if (unique && !json_is_boolean(unique))
            schema_fail(c, DSR1_ERR_ARGUMENT, a->set->ids[i], "uniqueItems", "neither true nor false");
        if (json_is_true(unique) && (a->hi < 0 || a->hi > 1) && !c->asks)
            schema_fail(c, DSR1_ERR_UNSUPPORTED, a->set->ids[i], "uniqueItems",
                        "true is supported with maxItems of 0 or 1 only");
    }
}

/* What all schemas say of item `at`; SIZE_MAX: of those behind every prefix. */
static expr_id item_tree(struct array *a, size_t at)
{
    struct schema *c = a->c;
    struct schema_list set = {0};
    bool can_be = true;
    for (size_t i = 0; i < a->set->n && can_be; i++) {
        uint32_t id = a->set->ids[i];
        json_t *prefix = schema_array_of(c, id, "prefixItems");
        json_t *item = at == SIZE_MAX ? NULL : json_array_get(prefix, at);
        if (item)
            can_be = schema_set_add(c, &set, item, schema_id(c, prefix), NULL);
        else if ((item = schema_get(c, id, "items")) != NULL)
            can_be = schema_set_add(c, &set, item, id, "items");
    }
    expr_id tree = can_be && !schema_failed(c) ? schema_set_tree(c, &set) : EXPR_NOTHING;
    free(set.ids);
    return tree;
}

/* Items behind the first n, which are written. */
static expr_id rest_tree(struct array *a, expr_id item, int32_t n)
{
    struct expr_store *s = a->c->trees.s;
    int32_t lo = a->lo > n ? a->lo - n : 0, hi = a->hi < 0 ? -1 : a->hi - n;
    if (item == EXPR_NOTHING || hi == 0)
        return lo > 0 ? EXPR_NOTHING : EXPR_EMPTY;
    expr_id more = expr_pair(s, json_expr_comma(s), item);
    if (n > 0)
        return expr_repeat(s, more, lo, hi);
    expr_id all = expr_pair(s, item, expr_repeat(s, more, lo > 0 ? lo - 1 : 0, hi < 0 ? -1 : hi - 1));
    return lo > 0 ? all : expr_optional(s, all);
}

expr_id schema_array_tree(struct schema *c, const struct schema_list *set)
{
    struct array a = {.c = c, .set = set};
    struct expr_store *s = c->trees.s;
    read_keywords(&a);
    if (schema_failed(c) || (a.hi >= 0 && a.lo > a.hi))
        return EXPR_NOTHING;
    int32_t n = a.hi >= 0 && a.n_prefix > (size_t) a.hi ? a.hi : (int32_t) a.n_prefix;
    bool more = (a.invited || !a.listed || a.lo > n || c->asks) && a.hi != 0;
    expr_id rest = rest_tree(&a, more ? item_tree(&a, SIZE_MAX) : EXPR_NOTHING, n);
    for (int32_t i = n; i-- > 0 && !schema_failed(c);) {
        expr_id item = item_tree(&a, (size_t) i);
        expr_id from = item == EXPR_NOTHING ? item : expr_pair(s, i ? json_expr_comma(s) : EXPR_EMPTY, item);
        rest = expr_pair(s, from, rest);
        if (i >= a.lo)
            rest = expr_optional(s, rest);
        /* The tree would grow deep. */
        if (i % 50 == 49 && rest != EXPR_NOTHING) {
            uint32_t rule = expr_new_rule(s);
            if (schema_failed(c))
                return EXPR_NOTHING;
            s->rules[rule] = rest;
            rest = expr_rule(s, rule);
        }
    }
    if (schema_failed(c))
        return EXPR_NOTHING;
    return expr_sequence(s, (expr_id[]){expr_string(s, "["), rest, expr_string(s, "]")}, 3);
}
