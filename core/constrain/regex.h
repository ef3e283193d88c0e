/*
 * regex.h - regular expressions as trees
 *
 * Literals, `.`, classes with ranges and \d \w \s and their complements, groups
 * (capturing or not, named or not: they only group), alternation, and the
 * quantifiers * + ? {m} {m,} {m,n}, lazy or not. Characters are code points.
 * What needs memory or looks around is refused by name: \1, (?=, \b.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_REGEX_H
#define CONSTRAIN_REGEX_H

#include "constrain/expr.h"

enum {
    REGEX_JSON = 1,     /* as the inside of a JSON string, in the form of json_expr_class() */
    REGEX_SEARCH = 2,   /* may begin and end anywhere, unless ^ and $ say otherwise */
    REGEX_ECMA = 4      /* \s and `.` as in ECMA-262 */
};

/* DSR1_ERR_ARGUMENT or DSR1_ERR_UNSUPPORTED with the place, as a byte of the text. */
dsr1_status regex_read(struct expr_store *store, const char *text, size_t size, int flags, expr_id *tree,
                       dsr1_error *err);

#endif
