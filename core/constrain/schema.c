/*
 * schema.c - JSON schemas as trees: the document, its keywords, its references
 *
 * Draft 2020-12, as far as docs/constraints.md says.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "constrain/compile.h"
#include "constrain/dfa.h"
#include "constrain/schema_parts.h"

#include <stdarg.h>
#include <stdio.h>

enum { WORK_MAX = 200000, REFS_MAX = 500, DOCUMENT_DEPTH_MAX = 400 };

enum { NEW, OPEN, DONE };       /* marks */

/* ------------------------------------------------------------------ */
/* Failures                                                            */
/* ------------------------------------------------------------------ */

/* A step of a pointer (RFC 6901); an error is one line. */
static void write_step(struct buffer *to, const char *step)
{
    for (; *step; step++) {
        if (*step == '~' || *step == '/')
            buffer_string(to, *step == '~' ? "~0" : "~1");
        else if ((uint8_t) *step < 0x20)
            buffer_printf(to, "%%%02X", (unsigned) *step);
        else
            buffer_append(to, step, 1);
    }
}

static void write_pointer(const struct schema *c, uint32_t id, struct buffer *to)
{
    const struct schema_node *node = &c->nodes[id];
    if (node->parent == id)
        return;
    write_pointer(c, node->parent, to);
    buffer_string(to, "/");
    if (node->key)
        write_step(to, node->key);
    else
        buffer_printf(to, "%zu", node->index);
}

expr_id schema_fail(struct schema *c, dsr1_status status, uint32_t id, const char *keyword, const char *format, ...)
{
    struct buffer where = {0};
    char what[160];
    va_list args;
    if (c->status < 0)
        return EXPR_NOTHING;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    write_pointer(c, id, &where);
    if (keyword) {
        buffer_string(&where, "/");
        write_step(&where, keyword);
    }
    for (char *at = what; *at; at++)
        *at = (uint8_t) *at < 0x20 ? '?' : *at;
    c->status = error_set(c->err, status, "schema, #%.200s: %s", where.data ? where.data : "", what);
    buffer_free(&where);
    return EXPR_NOTHING;
}

bool schema_goes_on(struct schema *c)
{
    if (!schema_failed(c) && ++c->work > WORK_MAX)
        c->status = error_set(c->err, DSR1_ERR_LIMIT, "the schema is too entangled");
    return !schema_failed(c);
}

static void no_memory(struct schema *c)
{
    if (c->status == DSR1_OK)
        c->status = error_nomem(c->err, "a schema");
}

/* ------------------------------------------------------------------ */
/* The document                                                        */
/* ------------------------------------------------------------------ */

static uint64_t hash_address(const json_t *json)
{
    return rng_mix((uint64_t) (uintptr_t) json);
}

uint32_t schema_id(const struct schema *c, const json_t *json)
{
    size_t at = 0;
    uint32_t id;
    while ((id = table_next(&c->node_index, hash_address(json), &at)) != UINT32_MAX && c->nodes[id].json != json)
        ;
    return id;
}

static void number_nodes(struct schema *c, json_t *json, uint32_t parent, const char *key, size_t index, int depth)
{
    if ((!json_is_object(json) && !json_is_array(json)) || c->status < 0)
        return;
    if (depth > DOCUMENT_DEPTH_MAX) {
        c->status = error_set(c->err, DSR1_ERR_LIMIT, "the schema is nested too deeply");
        return;
    }
    if (!table_room(&c->nodes, c->n_nodes, 1, &c->nodes_size, sizeof *c->nodes) ||
        !table_add(&c->node_index, hash_address(json), (uint32_t) c->n_nodes)) {
        no_memory(c);
        return;
    }
    uint32_t id = (uint32_t) c->n_nodes++;
    c->nodes[id] = (struct schema_node){json, depth ? parent : id, key, index, NEW};
    size_t i;
    const char *name;
    json_t *value;
    json_object_foreach(json, name, value)
        number_nodes(c, value, id, name, 0, depth + 1);
    json_array_foreach(json, i, value)
        number_nodes(c, value, id, NULL, i, depth + 1);
}

void schema_list_add(struct schema *c, struct schema_list *list, uint32_t id)
{
    if (table_room(&list->ids, list->n, 1, &list->size, sizeof *list->ids))
        list->ids[list->n++] = id;
    else
        no_memory(c);
}

/* ------------------------------------------------------------------ */
/* Keywords                                                            */
/* ------------------------------------------------------------------ */

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

static bool check_keywords(struct schema *c, uint32_t id)
{
    static const char *const known[] = {
        "type", "enum", "const", "$ref", "allOf", "anyOf", "oneOf", "properties", "required", "additionalProperties",
        "minProperties", "maxProperties", "items", "prefixItems", "minItems", "maxItems", "uniqueItems", "pattern",
        "format", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
        "multipleOf", NULL};
    static const char *const annotations[] = {
        "title", "description", "default", "examples", "$schema", "$comment", "$defs", "definitions", "deprecated",
        "readOnly", "writeOnly", "contentEncoding", "contentMediaType", "contentSchema", "$anchor", NULL};
    const char *key;
    json_t *value;
    json_object_foreach(c->nodes[id].json, key, value) {
        bool root_id = strcmp(key, "$id") == 0 && id == 0;
        if (!root_id && !is_one_of(key, known) && !is_one_of(key, annotations) && strncmp(key, "x-", 2) != 0) {
            schema_fail(c, DSR1_ERR_UNSUPPORTED, id, key, "the keyword %.60s is not supported", key);
            return false;
        }
    }
    return true;
}

static int type_bit(const char *name)
{
    static const struct {
        const char *name;
        int bits;
    } types[] = {{"null", SCHEMA_NULL}, {"boolean", SCHEMA_BOOLEAN}, {"object", SCHEMA_OBJECT},
                 {"array", SCHEMA_ARRAY}, {"string", SCHEMA_STRING}, {"integer", SCHEMA_INTEGER},
                 {"number", SCHEMA_NUMBER | SCHEMA_INTEGER}};
    for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].bits;
    return 0;
}

int schema_types(struct schema *c, uint32_t id)
{
    json_t *type = schema_get(c, id, "type"), *item;
    size_t i;
    int bits = 0;
    if (!type)
        return SCHEMA_ANY;
    if (json_is_string(type))
        bits = type_bit(json_string_value(type));
    json_array_foreach(type, i, item) {
        int bit = type_bit(json_string_value(item));
        bits |= bit;
        if (!bit) {
            bits = 0;
            break;
        }
    }
    if (!bits)
        schema_fail(c, DSR1_ERR_ARGUMENT, id, "type", "no type, or no list of types");
    return bits;
}

int32_t schema_count(struct schema *c, uint32_t id, const char *keyword, int32_t absent)
{
    json_t *json = schema_get(c, id, keyword);
    if (!json)
        return absent;
    double n = json_number_value(json);
    if (!json_is_number(json) || n < 0 || (n < 1e15 && n != (double) (int64_t) n)) {
        schema_fail(c, DSR1_ERR_ARGUMENT, id, keyword, "not a whole number from 0 on");
        return absent;
    }
    return n > EXPR_REPEAT_MAX ? EXPR_REPEAT_MAX + 1 : (int32_t) n;
}

json_t *schema_array_of(struct schema *c, uint32_t id, const char *keyword)
{
    json_t *json = schema_get(c, id, keyword);
    if (json && !json_is_array(json)) {
        schema_fail(c, DSR1_ERR_ARGUMENT, id, keyword, "not an array");
        return NULL;
    }
    return json;
}

json_t *schema_object_of(struct schema *c, uint32_t id, const char *keyword)
{
    json_t *json = schema_get(c, id, keyword);
    if (json && !json_is_object(json)) {
        schema_fail(c, DSR1_ERR_ARGUMENT, id, keyword, "not an object");
        return NULL;
    }
    return json;
}

/* ------------------------------------------------------------------ */
/* References                                                          */
/* ------------------------------------------------------------------ */

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* One step of a pointer, of which %XX and ~0, ~1 are undone in place; *at goes behind it. */
static char *read_step(char **at)
{
    char *from = *at, *to = from, *read = from;
    for (; *read && *read != '/'; read++) {
        int high = *read == '%' ? hex_value(read[1]) : -1, low = high >= 0 ? hex_value(read[2]) : -1;
        char byte = *read;
        if (low >= 0) {
            byte = (char) (high << 4 | low);
            read += 2;
        }
        if (byte == '~' && (read[1] == '0' || read[1] == '1'))
            byte = *++read == '0' ? '~' : '/';
        *to++ = byte;
    }
    *at = *read ? read + 1 : read;
    *to = 0;
    return from;
}

static json_t *follow(json_t *at, char *pointer)
{
    for (char *next = pointer + 1; at && *pointer; ) {
        bool last = !strchr(next, '/');
        const char *step = read_step(&next);
        char *end;
        unsigned long index = json_is_array(at) ? strtoul(step, &end, 10) : 0;
        if (json_is_array(at))
            at = *step >= '0' && *step <= '9' && *end == 0 ? json_array_get(at, index) : NULL;
        else
            at = json_object_get(at, step);
        if (last)
            break;
    }
    return at;
}

json_t *schema_resolve(struct schema *c, uint32_t id)
{
    json_t *ref = schema_get(c, id, "$ref");
    const char *text = json_string_value(ref);
    if (!text || text[0] != '#' || (text[1] && text[1] != '/')) {
        schema_fail(c, text ? DSR1_ERR_UNSUPPORTED : DSR1_ERR_ARGUMENT, id, "$ref", "%s",
                    text ? "only references within the schema are supported: # and #/..." : "not a string");
        return NULL;
    }
    char *pointer = strdup(text + 1);
    if (!pointer) {
        no_memory(c);
        return NULL;
    }
    json_t *found = follow(c->nodes[0].json, pointer);
    free(pointer);
    if (!found || !(json_is_object(found) || json_is_boolean(found))) {
        schema_fail(c, DSR1_ERR_ARGUMENT, id, "$ref", "%.100s %s", text, found ? "is no schema" : "is not there");
        return NULL;
    }
    return found;
}

static bool check_inside(struct schema *c, json_t *json, int depth);

/* References and choices that hold of the same value: they may not come back to where they began. */
static bool check_places(struct schema *c, uint32_t id, int depth)
{
    static const char *const lists[] = {"allOf", "anyOf", "oneOf"};
    json_t *item;
    size_t i;
    if (schema_get(c, id, "$ref")) {
        item = schema_resolve(c, id);
        if (!item || !check_inside(c, item, depth + 1))
            return false;
    }
    for (int k = 0; k < 3; k++) {
        json_t *list = schema_array_of(c, id, lists[k]);
        if (list && json_array_size(list) == 0)
            schema_fail(c, DSR1_ERR_ARGUMENT, id, lists[k], "an empty array");
        json_array_foreach(list, i, item) {
            if (!json_is_object(item) && !json_is_boolean(item))
                schema_fail(c, DSR1_ERR_ARGUMENT, id, lists[k], "item %zu is no schema", i);
            if (!check_inside(c, item, depth + 1))
                return false;
        }
    }
    return !schema_failed(c);
}

static bool check_inside(struct schema *c, json_t *json, int depth)
{
    if (schema_failed(c) || !json_is_object(json))
        return !schema_failed(c);
    uint32_t id = schema_id(c, json);
    if (c->nodes[id].mark == DONE)
        return true;
    if (c->nodes[id].mark == OPEN || depth > REFS_MAX) {
        schema_fail(c, depth > REFS_MAX ? DSR1_ERR_LIMIT : DSR1_ERR_ARGUMENT, id, NULL, "%s",
                    depth > REFS_MAX ? "references go on for too long" : "it refers to itself without end");
        return false;
    }
    c->nodes[id].mark = OPEN;
    bool ok = check_keywords(c, id) && check_places(c, id, depth);
    c->nodes[id].mark = DONE;
    return ok;
}

bool schema_check(struct schema *c, uint32_t id)
{
    return check_inside(c, c->nodes[id].json, 0);
}

/* ------------------------------------------------------------------ */
/* Compiling                                                           */
/* ------------------------------------------------------------------ */

/* Integers beyond 64 bits are read as doubles, which are as good as a bound. */
static json_t *load(const char *text, dsr1_error *err)
{
    json_error_t where;
    json_t *root = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where);
    if (!root && json_error_code(&where) == json_error_numeric_overflow)
        root = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &where);
    if (!root)
        error_set(err, DSR1_ERR_ARGUMENT, "schema, line %d, column %d: %.100s", where.line, where.column, where.text);
    else if (!json_is_object(root) && !json_is_boolean(root))
        error_set(err, DSR1_ERR_ARGUMENT, "a schema is an object, true or false");
    return root;
}

static void close_all(struct schema *c)
{
    for (size_t i = 0; i < c->n_patterns; i++)
        dfa_close(c->patterns[i].dfa);
    free(c->patterns);
    free(c->nodes);
    free(c->trees.sets);
    free(c->trees.members.ids);
    table_close(&c->trees.index);
    table_close(&c->node_index);
}

static void compile(struct schema *c, json_t *root)
{
    struct expr_store *s = c->trees.s;
    struct schema_list set = {0};
    uint32_t rule = expr_new_rule(s);
    if (!table_open(&c->node_index) || !table_open(&c->trees.index))
        no_memory(c);
    number_nodes(c, root, 0, NULL, 0, 0);
    bool any = schema_set_add(c, &set, root, 0, NULL);
    expr_id tree = any ? schema_set_tree(c, &set) : EXPR_NOTHING;
    if (!schema_failed(c))
        s->rules[rule] = tree;
    free(set.ids);
}

dsr1_status schema_compile(struct expr_store *store, const char *text, dsr1_error *err)
{
    struct schema c = {.trees = {.s = store, .rules = JSON_RULES_NONE}, .err = err};
    json_t *root = load(text, err);
    if (!root || (!json_is_object(root) && !json_is_boolean(root))) {
        json_decref(root);
        return DSR1_ERR_ARGUMENT;
    }
    compile(&c, root);
    close_all(&c);
    json_decref(root);
    return c.status;
}
