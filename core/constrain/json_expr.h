/*
 * json_expr.h - the parts of JSON as trees
 *
 * Between tokens stands nothing but one blank that may follow ':' and ','.
 * U+0000 is left out: PostgreSQL's jsonb cannot hold it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_JSON_EXPR_H
#define CONSTRAIN_JSON_EXPR_H

#include "constrain/expr.h"

enum { JSON_INTEGER_DIGITS = 18, JSON_FRACTION_DIGITS = 15 };

/* Rules that are made when they are first wanted; UINT32_MAX before. */
struct json_rules {
    uint32_t value, string, object, array;
};

#define JSON_RULES_NONE {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}

expr_id json_expr_value(struct expr_store *store, struct json_rules *rules);
expr_id json_expr_string(struct expr_store *store, struct json_rules *rules);
expr_id json_expr_object(struct expr_store *store, struct json_rules *rules);
expr_id json_expr_array(struct expr_store *store, struct json_rules *rules);
expr_id json_expr_number(struct expr_store *store);
expr_id json_expr_integer(struct expr_store *store);
expr_id json_expr_boolean(struct expr_store *store);

expr_id json_expr_colon(struct expr_store *store);
expr_id json_expr_comma(struct expr_store *store);

/* One character of a string, in all its forms. */
expr_id json_expr_char(struct expr_store *store);

/* One character out of these, in one form each: as itself where JSON allows that. */
expr_id json_expr_class(struct expr_store *store, const struct code_range *ranges, size_t n, bool negated);

/* UTF-8 as a string with its quotes, in the form that json_class has. */
expr_id json_expr_literal(struct expr_store *store, const char *bytes, size_t size);

struct buffer;
void json_expr_quote(struct buffer *to, const char *bytes, size_t size);

#endif
