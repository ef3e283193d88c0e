/*
 * sql_string.h - an SQL statement inside of another language's string
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_SQL_STRING_H
#define LSP_SQL_STRING_H

#include "base/buffer.h"

#include <stdbool.h>

struct sql_string {
    struct buffer before, behind;   /* the statement on both sides of the cursor, as SQL has it: escapes are read */
    char quote[4];                  /* ends the string */
    bool one_line;                  /* so does the line's end */
};

/*
 * Does the cursor, which stands between two texts, stand in a string that begins like a statement? Then its contents, to be
 * freed. False also where memory is short.
 */
bool sql_string_take(struct sql_string *string, const char *language, const struct buffer *before, const struct buffer *suffix);
void sql_string_free(struct sql_string *string);

/*
 * Appends the rules that sql_grammar() builds on, for the inside of this string: esc, str, comment, nl, nlc, pair, and
 * `end`, the string's end with all that comes behind it.
 */
void sql_string_rules(const struct sql_string *string, struct buffer *out);

#endif
