/*
 * schema_valid.c - does a value fulfil a schema?
 *
 * For the values of enum and const, which may stand beside other keywords.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/schema_parts.h"

static int value_type(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
        return SCHEMA_NULL;
    case JSON_TRUE:
    case JSON_FALSE:
        return SCHEMA_BOOLEAN;
    case JSON_STRING:
        return SCHEMA_STRING;
    case JSON_OBJECT:
        return SCHEMA_OBJECT;
    case JSON_ARRAY:
        return SCHEMA_ARRAY;
    case JSON_INTEGER:
        return SCHEMA_INTEGER;
    case JSON_REAL:
        break;
    }
    double real = json_real_value(value);
    bool whole = real > -1e300 && real < 1e300 && (real > 9e15 || real < -9e15 || real == (double) (int64_t) real);
    return whole ? SCHEMA_INTEGER : SCHEMA_NUMBER;
}

/* As JSON Schema has it: 1 is 1.0. */
static bool equal(const json_t *a, json_t *b)
{
    size_t i;
    const char *name;
    json_t *item;
    if (json_is_number(a) && json_is_number(b))
        return json_is_integer(a) && json_is_integer(b) ? json_integer_value(a) == json_integer_value(b)
                                                        : json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_array(a)) {
        bool same = json_array_size(a) == json_array_size(b);
        for (i = 0; same && i < json_array_size(a); i++)
            same = equal(json_array_get(a, i), json_array_get(b, i));
        return same;
    }
    if (!json_is_object(a))
        return json_equal(a, b);
    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach(b, name, item) {
        const json_t *other = json_object_get(a, name);
        if (!other || !equal(other, item))
            return false;
    }
    return true;
}

static bool is_listed(struct schema *c, uint32_t id, json_t *value)
{
    json_t *list = schema_array_of(c, id, "enum"), *single = schema_get(c, id, "const"), *item;
    size_t i;
    bool found = !list;
    for (i = 0; !found && (item = json_array_get(list, i)) != NULL; i++)
        found = equal(item, value);
    return found && (!single || equal(single, value));
}

static bool number_is_valid(struct schema *c, uint32_t id, double n)
{
    static const char *const keywords[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
    json_t *of = schema_get(c, id, "multipleOf");
    for (int i = 0; i < 4; i++) {
        json_t *bound = schema_get(c, id, keywords[i]);
        double b = json_number_value(bound), below = i % 2 ? b - n : n - b;
        if (bound && !json_is_number(bound))
            schema_fail(c, DSR1_ERR_ARGUMENT, id, keywords[i], "not a number");
        if (bound && (below < 0 || (below == 0 && i >= 2)))
            return false;
    }
    return !of || (json_number_value(of) > 0 && schema_is_multiple(n, json_number_value(of)));
}

static bool string_is_valid(struct schema *c, uint32_t id, const char *text, size_t size)
{
    int32_t lo = schema_count(c, id, "minLength", 0), hi = schema_count(c, id, "maxLength", -1), n = 0;
    for (size_t i = 0; i < size; i++)
        n += ((uint8_t) text[i] & 0xc0) != 0x80;
    if (n < lo || (hi >= 0 && n > hi))
        return false;
    return (!schema_get(c, id, "pattern") || schema_matches(c, id, "pattern", text, size)) &&
           (c->asks || !schema_get(c, id, "format") || schema_matches(c, id, "format", text, size));
}

static bool array_is_valid(struct schema *c, uint32_t id, json_t *value)
{
    int32_t lo = schema_count(c, id, "minItems", 0), hi = schema_count(c, id, "maxItems", -1);
    json_t *prefix = schema_array_of(c, id, "prefixItems"), *items = schema_get(c, id, "items"), *item;
    size_t i, n = json_array_size(value);
    if (n < (size_t) lo || (hi >= 0 && n > (size_t) hi))
        return false;
    json_array_foreach(value, i, item) {
        json_t *of = i < json_array_size(prefix) ? json_array_get(prefix, i) : items;
        if (of && !schema_is_valid(c, of, id, "items", item))
            return false;
    }
    for (i = 0; json_is_true(schema_get(c, id, "uniqueItems")) && i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            if (equal(json_array_get(value, i), json_array_get(value, k)))
                return false;
    return true;
}

static bool object_is_valid(struct schema *c, uint32_t id, json_t *value)
{
    int32_t lo = schema_count(c, id, "minProperties", 0), hi = schema_count(c, id, "maxProperties", -1);
    json_t *listed = schema_object_of(c, id, "properties"), *others = schema_get(c, id, "additionalProperties");
    json_t *required = schema_array_of(c, id, "required"), *item;
    size_t i, n = json_object_size(value);
    const char *name;
    if (n < (size_t) lo || (hi >= 0 && n > (size_t) hi))
        return false;
    json_array_foreach(required, i, item)
        if (json_is_string(item) && !json_object_get(value, json_string_value(item)))
            return false;
    json_object_foreach(value, name, item) {
        json_t *of = listed ? json_object_get(listed, name) : NULL;
        of = of ? of : others;
        if (of && !schema_is_valid(c, of, id, "additionalProperties", item))
            return false;
    }
    return true;
}

/* References and lists of schemas. Depth is bounded by schema_check. */
static bool places_are_valid(struct schema *c, uint32_t id, json_t *value)
{
    json_t *any = schema_array_of(c, id, "anyOf"), *one = schema_array_of(c, id, "oneOf"), *item;
    json_t *all = schema_array_of(c, id, "allOf");
    size_t i, n_any = 0, n_one = 0;
    if (schema_get(c, id, "$ref")) {
        json_t *target = schema_resolve(c, id);
        if (!target || !schema_is_valid(c, target, id, "$ref", value))
            return false;
    }
    json_array_foreach(all, i, item)
        if (!schema_is_valid(c, item, id, "allOf", value))
            return false;
    json_array_foreach(any, i, item)
        n_any += schema_is_valid(c, item, id, "anyOf", value);
    json_array_foreach(one, i, item)
        n_one += schema_is_valid(c, item, id, "oneOf", value);
    return (!any || n_any > 0) && (!one || n_one == 1);
}

bool schema_is_valid(struct schema *c, json_t *json, uint32_t owner, const char *keyword, json_t *value)
{
    if (json_is_boolean(json))
        return json_is_true(json);
    if (!json_is_object(json))
        schema_fail(c, DSR1_ERR_ARGUMENT, owner, keyword, "no schema: an object, true or false");
    if (!schema_goes_on(c))
        return false;
    uint32_t id = schema_id(c, json);
    int type = value_type(value);
    if (!schema_check(c, id) || !(schema_types(c, id) & type) || !is_listed(c, id, value) ||
        !places_are_valid(c, id, value))
        return false;
    if (json_is_number(value))
        return number_is_valid(c, id, json_number_value(value));
    if (json_is_string(value))
        return string_is_valid(c, id, json_string_value(value), json_string_length(value));
    if (json_is_array(value))
        return array_is_valid(c, id, value);
    return !json_is_object(value) || object_is_valid(c, id, value);
}
