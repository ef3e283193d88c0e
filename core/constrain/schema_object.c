/*
 * schema_object.c - objects: the listed properties in their order, then others
 *
 * A schema that lists properties and says nothing of others admits them, but no
 * answer has any: only an explicit additionalProperties invites them, or an
 * object of which nothing is listed.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/dfa.h"
#include "constrain/schema_parts.h"

enum { PROPERTIES_MAX = 2000, COUNTED_MAX = 64 };

struct property {
    const char *name;
    bool required;
    expr_id member;             /* name, colon, value; EXPR_NOTHING where no value can be */
};

struct object {
    struct schema *c;
    const struct schema_list *set;
    struct property *properties;
    size_t n, size;
    struct table index;         /* by name */
    expr_id others;             /* member of another name, or EXPR_NOTHING */
    int32_t lo, hi;             /* members; hi < 0: without end */
    bool counts;                /* lo or hi matter */
    size_t n_leading;           /* optional properties before the first required one */
    expr_id *tails;             /* rules: what follows from property i on, k members written */
};

/* ------------------------------------------------------------------ */
/* What is listed                                                      */
/* ------------------------------------------------------------------ */

static uint64_t hash_name(const char *name)
{
    uint64_t hash = 0;
    for (; *name; name++)
        hash = table_hash(hash, (uint8_t) *name);
    return hash;
}

static struct property *find_property(struct object *o, const char *name)
{
    size_t at = 0;
    for (uint32_t i; (i = table_next(&o->index, hash_name(name), &at)) != UINT32_MAX;)
        if (strcmp(o->properties[i].name, name) == 0)
            return &o->properties[i];
    return NULL;
}

static void add_property(struct object *o, uint32_t id, const char *name, bool required)
{
    struct property *known = find_property(o, name);
    if (known) {
        known->required |= required;
        return;
    }
    if (o->n >= PROPERTIES_MAX) {
        schema_fail(o->c, DSR1_ERR_LIMIT, id, NULL, "more than %d properties", PROPERTIES_MAX);
        return;
    }
    if (!table_room(&o->properties, o->n, 1, &o->size, sizeof *o->properties) ||
        !table_add(&o->index, hash_name(name), (uint32_t) o->n)) {
        o->c->trees.s->status = DSR1_ERR_NOMEM;
        return;
    }
    o->properties[o->n++] = (struct property){name, required, EXPR_NOTHING};
}

static void list_properties(struct object *o)
{
    struct schema *c = o->c;
    const char *name;
    json_t *value;
    size_t k;
    for (size_t i = 0; i < o->set->n; i++) {
        json_t *listed = schema_object_of(c, o->set->ids[i], "properties");
        json_object_foreach(listed, name, value)
            add_property(o, o->set->ids[i], name, false);
    }
    for (size_t i = 0; i < o->set->n; i++) {
        json_t *required = schema_array_of(c, o->set->ids[i], "required");
        json_array_foreach(required, k, value) {
            if (json_is_string(value))
                add_property(o, o->set->ids[i], json_string_value(value), true);
            else
                schema_fail(c, DSR1_ERR_ARGUMENT, o->set->ids[i], "required", "item %zu is no string", k);
        }
    }
}

/* ------------------------------------------------------------------ */
/* Members                                                             */
/* ------------------------------------------------------------------ */

/* Of each schema: what it says of this name, or else of those that it does not list. name NULL: of any it does not list. */
static expr_id value_tree(struct object *o, const char *name)
{
    struct schema *c = o->c;
    struct schema_list set = {0};
    bool can_be = true;
    for (size_t i = 0; i < o->set->n && can_be; i++) {
        uint32_t id = o->set->ids[i];
        json_t *listed = name ? schema_object_of(c, id, "properties") : NULL;
        json_t *value = listed ? json_object_get(listed, name) : NULL;
        if (value)
            can_be = schema_set_add(c, &set, value, schema_id(c, listed), name);
        else if ((value = schema_get(c, id, "additionalProperties")) != NULL)
            can_be = schema_set_add(c, &set, value, id, "additionalProperties");
    }
    expr_id tree = can_be && !schema_failed(c) ? schema_set_tree(c, &set) : EXPR_NOTHING;
    free(set.ids);
    return tree;
}

static expr_id member(struct object *o, const char *name)
{
    struct expr_store *s = o->c->trees.s;
    expr_id value = value_tree(o, name);
    if (value == EXPR_NOTHING)
        return value;
    return expr_sequence(s, (expr_id[]){json_expr_literal(s, name, strlen(name)), json_expr_colon(s), value}, 3);
}

/* Any string but the names: in the one form that each character has, so that no escape spells a name. */
static expr_id other_key(struct object *o)
{
    struct schema *c = o->c;
    struct expr_store *s = c->trees.s, any, listed;
    struct dfa *a = NULL, *b = NULL, *key = NULL;
    if (o->n == 0)
        return json_expr_string(s, &c->trees.rules);
    bool ok = expr_open(&any);
    ok = expr_open(&listed) && ok;
    if (ok) {
        expr_id quote = expr_string(&any, "\""), chars = expr_repeat(&any, json_expr_class(&any, NULL, 0, true), 0, -1);
        uint32_t rule = expr_new_rule(&any), other_rule = expr_new_rule(&listed);
        expr_id tree = expr_sequence(&any, (expr_id[]){quote, chars, quote}, 3);
        struct expr_list names = {0};
        for (size_t i = 0; i < o->n; i++)
            expr_list_add(&listed, &names, json_expr_literal(&listed, o->properties[i].name,
                                                             strlen(o->properties[i].name)));
        expr_id choice = expr_choice(&listed, names.ids, names.n);
        free(names.ids);
        if (any.status == DSR1_OK && listed.status == DSR1_OK) {
            any.rules[rule] = tree;
            listed.rules[other_rule] = choice;
        }
    }
    dsr1_status status = ok ? dfa_open(&any, &a, c->err) : DSR1_ERR_NOMEM;
    status = status == DSR1_OK ? dfa_open(&listed, &b, c->err) : status;
    status = status == DSR1_OK ? dfa_without(a, b, &key, c->err) : status;
    dfa_close(a);
    dfa_close(b);
    expr_close(&any);
    expr_close(&listed);
    if (status < 0 && c->status == DSR1_OK)
        c->status = status;
    return status < 0 ? EXPR_NOTHING : expr_dfa(s, key);
}

static bool invites_others(struct object *o)
{
    bool listed = false;
    if (o->c->asks || o->lo > (int32_t) o->n)
        return true;
    for (size_t i = 0; i < o->set->n; i++) {
        json_t *others = schema_get(o->c, o->set->ids[i], "additionalProperties");
        listed |= others || json_object_size(schema_get(o->c, o->set->ids[i], "properties")) > 0;
        if (others && !json_is_false(others))
            return true;
    }
    return !listed;
}

static expr_id other_member(struct object *o)
{
    struct expr_store *s = o->c->trees.s;
    expr_id value = invites_others(o) && o->hi != 0 ? value_tree(o, NULL) : EXPR_NOTHING;
    if (value == EXPR_NOTHING || schema_failed(o->c))
        return EXPR_NOTHING;
    /* Its own rule: the automaton of keys may be large and is used twice. */
    expr_id key = other_key(o);
    uint32_t rule = expr_new_rule(s);
    if (schema_failed(o->c))
        return EXPR_NOTHING;
    s->rules[rule] = expr_sequence(s, (expr_id[]){key, json_expr_colon(s), value}, 3);
    return expr_rule(s, rule);
}

/* ------------------------------------------------------------------ */
/* Order                                                               */
/* ------------------------------------------------------------------ */

static expr_id tail_rule(struct object *o, size_t i, int32_t k);

/* Members of other names, at the end, where k were written before. */
static expr_id others_tree(struct object *o, int32_t k)
{
    struct expr_store *s = o->c->trees.s;
    int32_t lo = o->lo > k ? o->lo - k : 0, hi = o->hi < 0 ? -1 : o->hi - k;
    if (o->others == EXPR_NOTHING || hi == 0)
        return lo > 0 ? EXPR_NOTHING : EXPR_EMPTY;
    if (lo > 1 && !o->c->asks)
        return schema_fail(o->c, DSR1_ERR_UNSUPPORTED, o->set->ids[0], "minProperties",
                           "it wants members that are not listed: their names might be the same");
    expr_id more = expr_pair(s, json_expr_comma(s), o->others);
    if (k > 0)
        return expr_repeat(s, more, lo, hi);
    expr_id all = expr_pair(s, o->others, expr_repeat(s, more, lo > 0 ? lo - 1 : 0, hi < 0 ? -1 : hi - 1));
    return lo > 0 ? all : expr_optional(s, all);
}

/* The rest of the object from property i on. Without counting, k is 0 or 1: whether a comma is due. */
static expr_id tail(struct object *o, size_t i, int32_t k)
{
    struct expr_store *s = o->c->trees.s;
    struct expr_list parts = {0};
    for (; i < o->n && schema_goes_on(o->c); i++) {
        const struct property *p = &o->properties[i];
        int32_t after = o->counts ? k + 1 : 1;
        bool fits = o->hi < 0 || k < o->hi;
        expr_id with = k > 0 && fits && p->member != EXPR_NOTHING
                           ? expr_pair(s, json_expr_comma(s), p->member) : fits ? p->member : EXPR_NOTHING;
        if (p->required) {
            expr_list_add(s, &parts, with);
            k = after;
        } else if (with != EXPR_NOTHING && after == k) {
            expr_list_add(s, &parts, expr_optional(s, with));
        } else if (with != EXPR_NOTHING) {
            expr_id one = expr_pair(s, with, tail_rule(o, i + 1, after));
            expr_list_add(s, &parts, expr_either(s, one, tail_rule(o, i + 1, k)));
            break;
        }
        if (i + 1 < o->n && !o->counts && k == 1 && i + 1 <= o->n_leading) {
            expr_list_add(s, &parts, tail_rule(o, i + 1, k));
            break;
        }
    }
    if (i == o->n)
        expr_list_add(s, &parts, others_tree(o, k));
    expr_id tree = expr_sequence(s, parts.ids, parts.n);
    free(parts.ids);
    return tree;
}

static expr_id tail_rule(struct object *o, size_t i, int32_t k)
{
    size_t columns = o->counts ? o->n + 1 : 2;
    expr_id *known = &o->tails[i * columns + (size_t) k];
    if (*known == UINT32_MAX) {
        *known = tail(o, i, k);
        if (*known != EXPR_NOTHING && *known != EXPR_EMPTY) {
            uint32_t rule = expr_new_rule(o->c->trees.s);
            if (schema_failed(o->c))
                return EXPR_NOTHING;
            o->c->trees.s->rules[rule] = *known;
            *known = expr_rule(o->c->trees.s, rule);
        }
    }
    return *known;
}

/* ------------------------------------------------------------------ */
/* The object                                                          */
/* ------------------------------------------------------------------ */

static void read_counts(struct object *o)
{
    int32_t n_required = 0;
    for (size_t i = 0; i < o->n; i++)
        n_required += o->properties[i].required;
    o->hi = -1;
    for (size_t i = 0; i < o->set->n; i++) {
        int32_t lo = schema_count(o->c, o->set->ids[i], "minProperties", 0);
        int32_t hi = schema_count(o->c, o->set->ids[i], "maxProperties", -1);
        o->lo = lo > o->lo ? lo : o->lo;
        if (hi >= 0 && (o->hi < 0 || hi < o->hi))
            o->hi = hi;
    }
    o->lo = o->lo > n_required ? o->lo : 0;
    o->counts = o->lo > 1 || o->hi >= 0;
    if (o->counts && o->n > COUNTED_MAX)
        schema_fail(o->c, DSR1_ERR_UNSUPPORTED, o->set->ids[0], NULL,
                    "minProperties or maxProperties with more than %d properties", COUNTED_MAX);
}

/* Required ones first: where one of them cannot be, nothing else matters. */
static bool make_members(struct object *o)
{
    for (int required = 1; required >= 0; required--)
        for (size_t i = 0; i < o->n && !schema_failed(o->c); i++) {
            struct property *p = &o->properties[i];
            if (p->required != (required == 1))
                continue;
            p->member = member(o, p->name);
            if (p->required && p->member == EXPR_NOTHING)
                return false;
        }
    return !schema_failed(o->c);
}

static expr_id object_tree(struct object *o)
{
    struct expr_store *s = o->c->trees.s;
    list_properties(o);
    read_counts(o);
    if (schema_failed(o->c) || !make_members(o))
        return EXPR_NOTHING;
    o->others = other_member(o);
    if (schema_failed(o->c))
        return EXPR_NOTHING;
    while (o->n_leading < o->n && !o->properties[o->n_leading].required)
        o->n_leading++;
    size_t n_tails = (o->n + 1) * (o->counts ? o->n + 2 : 2);
    o->tails = memory_array(n_tails, sizeof *o->tails);
    if (!o->tails) {
        s->status = DSR1_ERR_NOMEM;
        return EXPR_NOTHING;
    }
    memset(o->tails, 0xff, n_tails * sizeof *o->tails);
    expr_id rest = tail(o, 0, 0);
    return expr_sequence(s, (expr_id[]){expr_string(s, "{"), rest, expr_string(s, "}")}, 3);
}

expr_id schema_object_tree(struct schema *c, const struct schema_list *set)
{
    struct object o = {.c = c, .set = set};
    expr_id tree = EXPR_NOTHING;
    if (table_open(&o.index))
        tree = object_tree(&o);
    else
        c->trees.s->status = DSR1_ERR_NOMEM;
    table_close(&o.index);
    free(o.properties);
    free(o.tails);
    return tree;
}
