/*
 * constraint.h - answers that obey: a choice, JSON, a schema, an expression, a grammar
 *
 * A constraint is compiled from what the caller asks for (dsr1_constraint) into
 * a pushdown automaton over bytes. While an answer is written, a constraint
 * state says which tokens may come next: those after which the answer can still
 * be completed, within the tokens that are left.
 *
 *     token_table_open(tokenizer, &table, err);               once a tokenizer
 *     constraint_open(table, &request->constraint, &c, err);  any thread
 *     constraint_begin(c, &state, err);                       once an answer
 *     for (;;) {
 *         mask = constraint_mask(state, budget);               sample among these
 *         constraint_accept(state, token);
 *     }
 *     constraint_end(state);
 *     constraint_close(c);
 *     token_table_close(table);
 *
 * What JSON looks like: no blanks but one that may stand behind ':' and ','.
 * Strings are valid UTF-8, escapes are those of RFC 8259, and \u escapes never
 * leave half a surrogate pair. Numbers have at most 18 digits before the point
 * and 15 behind it, and exponents of two digits. Properties come in the order
 * of the schema.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_CONSTRAINT_H
#define CONSTRAIN_CONSTRAINT_H

#include "dsr1.h"
#include "text/tokenizer.h"

/* The vocabulary as a trie of bytes. Immutable for its callers; any thread, any number of constraints. */
struct token_table;

/* The tokenizer must outlive the table. DSR1_ERR_NOMEM. */
dsr1_status token_table_open(const struct tokenizer *tokenizer, struct token_table **table, dsr1_error *err);
void token_table_close(struct token_table *table);      /* accepts NULL; every constraint must be closed */

/* A compiled constraint, reference counted: each holder closes it once. */
struct constraint;

/*
 * Compiles *from, whose texts may go afterwards. Constraints of the same text
 * are compiled once: the table remembers the last ones, with the masks that
 * were computed for them. Callable from any thread.
 *
 *   DSR1_ERR_ARGUMENT     the text cannot be read, or nothing fulfils it (says where)
 *   DSR1_ERR_UNSUPPORTED  a schema's keyword or an expression's construct that dsr1 does not know
 *                         (names it and where it stands)
 *   DSR1_ERR_LIMIT        too large once expanded, or too entangled
 *   DSR1_ERR_NOMEM
 */
dsr1_status constraint_open(struct token_table *table, const dsr1_constraint *from, struct constraint **constraint,
                            dsr1_error *err);

/*
 * The answer begins with these bytes and then obeys inner, or anything at all
 * where inner is NULL: token healing. Holds inner by itself.
 */
dsr1_status constraint_open_prefix(struct token_table *table, const void *bytes, size_t size, struct constraint *inner,
                                   struct constraint **constraint, dsr1_error *err);

struct constraint *constraint_hold(struct constraint *constraint);
void constraint_close(struct constraint *constraint);   /* accepts NULL */

/* An upper bound of the tokens that the shortest answer takes, without the end token. */
int constraint_shortest(const struct constraint *constraint);

/* One answer on its way. A state belongs to one thread; states of one constraint may live in several. */
struct constraint_state;

dsr1_status constraint_begin(struct constraint *constraint, struct constraint_state **state, dsr1_error *err);
void constraint_end(struct constraint_state *state);    /* accepts NULL */

/* Makes `to` (of the same constraint) what `from` is: to look ahead and come back. Constant time. */
void constraint_copy(struct constraint_state *to, const struct constraint_state *from);

/*
 * A bit for every token of the vocabulary, bit t % 64 of word t / 64: may it come
 * next? Control tokens never; end tokens exactly where the answer may end.
 *
 *   budget  tokens that may still be written, the end token included: what is
 *           allowed can be completed within it. Negative: no such wish. Where
 *           it is too small from the beginning it is ignored.
 *
 * The mask belongs to the state and holds until its next mask. NULL when memory
 * is short, or the constraint so entangled here that a mask would take seconds
 * or some hundred MiB. A bit is always set (the vocabulary has all bytes that the
 * constraint needs, which constraint_open checked).
 */
const uint64_t *constraint_mask(struct constraint_state *state, int budget);

/* Goes over a token that the mask allowed. False (and nothing changed) for one that cannot come, or when memory is short. */
bool constraint_accept(struct constraint_state *state, int32_t token);

bool constraint_can_end(const struct constraint_state *state);      /* an end token is allowed */
bool constraint_complete(const struct constraint_state *state);     /* and nothing else is */
bool constraint_is_free(const struct constraint_state *state);      /* anything goes from here on: drop the state */

/* As constraint_shortest, from here on. */
int constraint_left(const struct constraint_state *state);

/*
 * Tokens without an alternative: where the bytes that follow are certain, the
 * tokens that the tokenizer makes of them, less the last if it might have merged
 * with what comes behind. Writes at most capacity (and fits budget) and returns
 * how many; the caller accepts each. Never an end token.
 */
int constraint_forced(struct constraint_state *state, int32_t *tokens, int capacity, int budget);

#endif
