/*
 * code_grammar.h - what the model may write at a place, as a grammar for its mask
 *
 * Some tokens are wrong whatever the model thinks of them: a bracket that closes
 * nothing or the wrong kind, a line that falls out of the block, in SQL a table
 * that is not there. polish.c would cut the text before them; a mask
 * (core/constrain) takes them out before the choice, so that the next best token
 * gets its turn. What is forced this way keeps the probability that the model gave
 * it, and where that is low polish.c ends the text.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_CODE_GRAMMAR_H
#define LSP_CODE_GRAMMAR_H

#include "surroundings.h"

struct code_place {
    const char *language;
    const struct surroundings *around;
    const char *known;          /* text behind the cursor that is settled already, known_size bytes */
    size_t known_size;
    bool line_only;             /* what comes behind a line's end does not matter */
    bool any_indent, any_brackets;
    const char *tables;         /* of SQL, also in strings: what schema_text() says; else NULL */
};

/*
 * Appends a grammar in GBNF (DSR1_CONSTRAINT_GBNF with open_end) to *out. False
 * where nothing is to be forbidden, or memory is short; *out is then as before.
 */
bool code_grammar(const struct code_place *place, struct buffer *out);

#endif
