/*
 * json_expr.c - the parts of JSON as trees (RFC 8259)
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/json_expr.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "constrain/compile.h"

#include <stdlib.h>
#include <string.h>

#define SEQUENCE(s, ...) expr_sequence(s, (expr_id[]){__VA_ARGS__}, sizeof((expr_id[]){__VA_ARGS__}) / sizeof(expr_id))
#define CHOICE(s, ...) expr_choice(s, (expr_id[]){__VA_ARGS__}, sizeof((expr_id[]){__VA_ARGS__}) / sizeof(expr_id))

/* ------------------------------------------------------------------ */
/* Punctuation, numbers                                                */
/* ------------------------------------------------------------------ */

static expr_id then_blank(struct expr_store *s, const char *mark)
{
    return expr_pair(s, expr_string(s, mark), expr_optional(s, expr_string(s, " ")));
}

expr_id json_expr_colon(struct expr_store *s)
{
    return then_blank(s, ":");
}

expr_id json_expr_comma(struct expr_store *s)
{
    return then_blank(s, ",");
}

expr_id json_expr_boolean(struct expr_store *s)
{
    return expr_either(s, expr_string(s, "true"), expr_string(s, "false"));
}

static expr_id digits(struct expr_store *s, int32_t lo, int32_t hi)
{
    return expr_repeat(s, expr_range(s, '0', '9'), lo, hi);
}

expr_id json_expr_integer(struct expr_store *s)
{
    expr_id more = expr_pair(s, expr_range(s, '1', '9'), digits(s, 0, JSON_INTEGER_DIGITS - 1));
    return expr_pair(s, expr_optional(s, expr_string(s, "-")), expr_either(s, expr_string(s, "0"), more));
}

expr_id json_expr_number(struct expr_store *s)
{
    expr_id fraction = expr_pair(s, expr_string(s, "."), digits(s, 1, JSON_FRACTION_DIGITS));
    expr_id e = expr_either(s, expr_string(s, "e"), expr_string(s, "E"));
    expr_id sign = expr_either(s, expr_string(s, "+"), expr_string(s, "-"));
    expr_id exponent = SEQUENCE(s, e, expr_optional(s, sign), digits(s, 1, 2));
    return SEQUENCE(s, json_expr_integer(s), expr_optional(s, fraction), expr_optional(s, exponent));
}

/* ------------------------------------------------------------------ */
/* Strings                                                             */
/* ------------------------------------------------------------------ */

static expr_id hex(struct expr_store *s, const char *of)
{
    expr_id ids[24];
    size_t n = 0;
    for (const char *at = of; at[0] && at[1] && n < 24; at += 2)
        ids[n++] = expr_range(s, (uint8_t) at[0], (uint8_t) at[1]);
    return expr_choice(s, ids, n);
}

/* \uXXXX: no U+0000, and both halves of a surrogate pair. */
static expr_id unicode_escape(struct expr_store *s)
{
    expr_id any = hex(s, "09afAF"), some = hex(s, "19afAF"), zero = expr_string(s, "0"), d = hex(s, "ddDD");
    expr_id two = expr_pair(s, any, any), three = SEQUENCE(s, any, any, any);
    expr_id under_10 = expr_pair(s, zero, some);
    expr_id under_100 = expr_pair(s, zero, expr_either(s, expr_pair(s, some, any), under_10));
    expr_id with_0 = expr_pair(s, zero, expr_either(s, expr_pair(s, some, two), under_100));
    expr_id plain = expr_pair(s, hex(s, "19acACefEF"), three);
    expr_id before = SEQUENCE(s, d, expr_range(s, '0', '7'), two);
    expr_id pair = SEQUENCE(s, d, hex(s, "89abAB"), two, expr_string(s, "\\u"), d, hex(s, "cfCF"), two);
    return expr_pair(s, expr_string(s, "u"), CHOICE(s, with_0, plain, before, pair));
}

expr_id json_expr_char(struct expr_store *s)
{
    static const struct code_range refused[] = {{0, 0x1f}, {'"', '"'}, {'\\', '\\'}};
    expr_id plain = expr_class(s, refused, 3, true);
    expr_id named = hex(s, "\"\"\\\\//bbffnnrrtt");
    return expr_either(s, plain, expr_pair(s, expr_string(s, "\\"), expr_either(s, named, unicode_escape(s))));
}

/* How a character that cannot stand for itself is written; "" for one that can. */
static void escape(uint32_t code, char text[8])
{
    static const char from[] = "\b\f\n\r\t\"\\", to[] = "bfnrt\"\\";
    const char *at = code && code < 0x80 ? strchr(from, (int) code) : NULL;
    text[0] = 0;
    if (at)
        memcpy(text, (char[]){'\\', to[at - from], 0}, 3);
    else if (code < 0x20)
        memcpy(text, (char[]){'\\', 'u', '0', '0', (char) ('0' + (code >> 4)), "0123456789abcdef"[code & 15], 0}, 7);
}

expr_id json_expr_class(struct expr_store *s, const struct code_range *ranges, size_t n, bool negated)
{
    struct code_range *work = memory_array(4 * n + 32, sizeof *work), *plain = work ? work + 2 * n + 16 : NULL;
    expr_id choice = EXPR_NOTHING;
    if (!work) {
        s->status = DSR1_ERR_NOMEM;
        return EXPR_NOTHING;
    }
    if (n)
        memcpy(work, ranges, n * sizeof *work);
    size_t m = expr_tidy_ranges(work, n);
    if (negated) {
        m = expr_negate_ranges(work, m, plain);
        memcpy(work, plain, m * sizeof *work);
    }
    for (size_t i = 0; i < m; i++)
        for (uint32_t code = work[i].lo ? work[i].lo : 1; code <= work[i].hi && code <= '\\'; code++) {
            char text[8];
            escape(code, text);
            if (text[0])
                choice = expr_either(s, expr_string(s, text), choice);
        }
    /* What is neither in the class nor stands for itself: the complement of the plain part. */
    size_t k = expr_negate_ranges(work, m, plain);
    plain[k++] = (struct code_range){0, 0x1f};
    plain[k++] = (struct code_range){'"', '"'};
    plain[k++] = (struct code_range){'\\', '\\'};
    choice = expr_either(s, expr_class(s, plain, k, true), choice);
    free(work);
    return choice;
}

void json_expr_quote(struct buffer *to, const char *bytes, size_t size)
{
    buffer_append(to, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        char text[8];
        escape((uint8_t) bytes[i], text);
        if (text[0])
            buffer_string(to, text);
        else
            buffer_append(to, bytes + i, 1);
    }
    buffer_append(to, "\"", 1);
}

expr_id json_expr_literal(struct expr_store *s, const char *bytes, size_t size)
{
    struct buffer text = {0};
    json_expr_quote(&text, bytes, size);
    if (text.failed)
        s->status = DSR1_ERR_NOMEM;
    expr_id id = text.failed ? EXPR_NOTHING : expr_bytes(s, text.data, text.size);
    buffer_free(&text);
    return id;
}

/* ------------------------------------------------------------------ */
/* Any value                                                           */
/* ------------------------------------------------------------------ */

static expr_id define(struct expr_store *s, uint32_t rule, expr_id tree)
{
    if (s->status == DSR1_OK)
        s->rules[rule] = tree;
    return expr_rule(s, rule);
}

/* Its own rule, so that one mask serves every string. */
expr_id json_expr_string(struct expr_store *s, struct json_rules *rules)
{
    if (rules->string != UINT32_MAX)
        return expr_rule(s, rules->string);
    rules->string = expr_new_rule(s);
    expr_id quote = expr_string(s, "\"");
    return define(s, rules->string, SEQUENCE(s, quote, expr_repeat(s, json_expr_char(s), 0, -1), quote));
}

static expr_id list(struct expr_store *s, const char *open, expr_id item, const char *close)
{
    expr_id more = expr_repeat(s, expr_pair(s, json_expr_comma(s), item), 0, -1);
    return SEQUENCE(s, expr_string(s, open), expr_optional(s, expr_pair(s, item, more)), expr_string(s, close));
}

expr_id json_expr_object(struct expr_store *s, struct json_rules *rules)
{
    if (rules->object != UINT32_MAX)
        return expr_rule(s, rules->object);
    rules->object = expr_new_rule(s);
    expr_id member = SEQUENCE(s, json_expr_string(s, rules), json_expr_colon(s), json_expr_value(s, rules));
    return define(s, rules->object, list(s, "{", member, "}"));
}

expr_id json_expr_array(struct expr_store *s, struct json_rules *rules)
{
    if (rules->array != UINT32_MAX)
        return expr_rule(s, rules->array);
    rules->array = expr_new_rule(s);
    return define(s, rules->array, list(s, "[", json_expr_value(s, rules), "]"));
}

expr_id json_expr_value(struct expr_store *s, struct json_rules *rules)
{
    if (rules->value != UINT32_MAX)
        return expr_rule(s, rules->value);
    rules->value = expr_new_rule(s);
    return define(s, rules->value, CHOICE(s, json_expr_object(s, rules), json_expr_array(s, rules), json_expr_string(s, rules),
                                          json_expr_number(s), json_expr_boolean(s), expr_string(s, "null")));
}

dsr1_status json_expr_compile(struct expr_store *s, dsr1_error *err)
{
    struct json_rules rules = JSON_RULES_NONE;
    json_expr_value(s, &rules);
    return DSR1_OK;             /* the store remembers what went wrong */
}
