/*
 * schema_value.c - the values of enum and const, as they are written
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/schema_parts.h"

#include <math.h>
#include <stdio.h>

enum { VALUES_MAX = 5000, NUMBER_SIZE = 40 };

static expr_id value_tree(struct schema *c, json_t *value);

static expr_id list_tree(struct schema *c, const char *open, struct expr_list *items, const char *close)
{
    struct expr_store *s = c->trees.s;
    struct expr_list parts = {0};
    expr_list_add(s, &parts, expr_string(s, open));
    for (uint32_t i = 0; i < items->n; i++) {
        if (i)
            expr_list_add(s, &parts, json_expr_comma(s));
        expr_list_add(s, &parts, items->ids[i]);
    }
    expr_list_add(s, &parts, expr_string(s, close));
    expr_id tree = expr_sequence(s, parts.ids, parts.n);
    free(parts.ids);
    return tree;
}

/* The fewest digits that read back as the same number. */
static expr_id real_tree(struct expr_store *s, double value)
{
    char text[NUMBER_SIZE];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return expr_string(s, text);
}

static expr_id object_tree(struct schema *c, json_t *value)
{
    struct expr_store *s = c->trees.s;
    struct expr_list items = {0};
    const char *name;
    json_t *item;
    json_object_foreach(value, name, item)
        expr_list_add(s, &items, expr_sequence(s, (expr_id[]){json_expr_literal(s, name, strlen(name)),
                                                              json_expr_colon(s), value_tree(c, item)}, 3));
    expr_id tree = list_tree(c, "{", &items, "}");
    free(items.ids);
    return tree;
}

/* The depth of a document is bounded (schema.c). */
static expr_id value_tree(struct schema *c, json_t *value)
{
    struct expr_store *s = c->trees.s;
    struct expr_list items = {0};
    char text[NUMBER_SIZE];
    size_t i;
    json_t *item;
    switch (json_typeof(value)) {
    case JSON_NULL:
        return expr_string(s, "null");
    case JSON_TRUE:
    case JSON_FALSE:
        return expr_string(s, json_is_true(value) ? "true" : "false");
    case JSON_STRING:
        return json_expr_literal(s, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return expr_string(s, text);
    case JSON_REAL:
        return real_tree(s, json_real_value(value));
    case JSON_OBJECT:
        return object_tree(c, value);
    case JSON_ARRAY:
        json_array_foreach(value, i, item)
            expr_list_add(s, &items, value_tree(c, item));
        break;
    }
    expr_id tree = list_tree(c, "[", &items, "]");
    free(items.ids);
    return tree;
}

static bool all_admit(struct schema *c, const struct schema_list *set, json_t *value)
{
    for (size_t i = 0; i < set->n; i++)
        if (!schema_is_valid(c, c->nodes[set->ids[i]].json, 0, NULL, value))
            return false;
    return !schema_failed(c);
}

expr_id schema_values_tree(struct schema *c, const struct schema_list *set)
{
    struct expr_list trees = {0};
    json_t *values = NULL, *value = NULL;
    size_t i;
    for (size_t k = 0; k < set->n; k++) {
        json_t *list = schema_array_of(c, set->ids[k], "enum"), *single = schema_get(c, set->ids[k], "const");
        if (list && json_array_size(list) > VALUES_MAX)
            schema_fail(c, DSR1_ERR_LIMIT, set->ids[k], "enum", "more than %d values", VALUES_MAX);
        values = list && (!values || json_array_size(list) < json_array_size(values)) ? list : values;
        value = single ? single : value;
    }
    if (schema_failed(c))
        return EXPR_NOTHING;
    if (value && all_admit(c, set, value))
        expr_list_add(c->trees.s, &trees, value_tree(c, value));
    if (!value)
        json_array_foreach(values, i, value)
            if (schema_goes_on(c) && all_admit(c, set, value))
                expr_list_add(c->trees.s, &trees, value_tree(c, value));
    expr_id tree = schema_failed(c) ? EXPR_NOTHING : expr_choice(c->trees.s, trees.ids, trees.n);
    free(trees.ids);
    return tree;
}
