/*
 * syntax.h - code, comment or string? A guess that needs no parser
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_SYNTAX_H
#define LSP_SYNTAX_H

#include <stdbool.h>
#include <stddef.h>

enum syntax_place { SYNTAX_CODE, SYNTAX_COMMENT, SYNTAX_STRING };

/*
 * What the end of a text lies in, if the text begins in code. *start (may be
 * NULL) becomes the offset at which the comment's or string's inside begins.
 */
enum syntax_place syntax_at(const char *language, const char *text, size_t size, size_t *start);

/* Where the comment or string that begins at offset i of a text ends; i when none does; size where the text ends in it. */
size_t syntax_skip(const char *language, const char *text, size_t size, size_t i);

/* Does a string's inside look like the beginning of an SQL statement? */
bool syntax_is_sql(const char *text, size_t size);

#endif
