/*
 * sql_grammar.h - the part of a place's grammar that knows the database's tables
 *
 * Behind FROM and JOIN (INTO, UPDATE and others where the cursor stands behind them)
 * only tables may be named that the database has or the text itself makes, and
 * behind the name or alias of a table and a dot only its columns. What is not known for
 * sure is not masked: names behind WITH, CREATE and other words that open a name
 * space of their own, qualifiers that stand for nothing known.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_SQL_GRAMMAR_H
#define LSP_SQL_GRAMMAR_H

#include "base/buffer.h"

#include <stdbool.h>

/*
 * Appends rules `start` (what follows the cursor) and `seq` (inside of brackets), which use str, comment, nl and pair of
 * code_grammar.c, or in another language's string those of sql_string.h. tables: as from schema_text(). False where there
 * is nothing to say.
 */
bool sql_grammar(const char *tables, const struct buffer *before, const struct buffer *behind, bool in_string, struct buffer *out);

#endif
