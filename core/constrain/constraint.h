/*
 * constraint.h - what an answer must be, to its last byte
 *
 * A constraint (choices, JSON, a JSON schema, an expression, a grammar) is
 * compiled once, on any thread, into an automaton over bytes with a stack. A
 * request holds a place in it: a small value that says which tokens may come
 * next, moves on by tokens, and is copied in no time, so that guessed tokens can
 * be tried and taken back. Places and constraints may be used from several
 * threads at once (each constraint has a lock), one place by one thread at a time.
 *
 *     struct constraint *c;
 *     struct constraint_state state = {0};
 *     constraint_compile(table, &request->constraint, &c, err);
 *     constraint_start(c, NULL, 0, max_tokens, &state, err);
 *     while (!constraint_is_complete(&state)) {
 *         n = constraint_forced(&state, left, tokens, 16, err);    append these, constraint_accept() each
 *         allowed = constraint_mask(&state, left, err);            or choose among these
 *         constraint_accept(&state, token, err);
 *     }
 *     constraint_stop(&state);
 *     constraint_release(c);
 *
 * JSON is written in one way: a blank behind each colon and comma and no other
 * white space, properties in the schema's order, optional ones left out or not,
 * additional ones last. Keys are written without needless escapes; strings are
 * valid UTF-8 without control characters, \u0000 or half surrogates.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_CONSTRAINT_H
#define CONSTRAIN_CONSTRAINT_H

#include "constrain/token_table.h"
#include "dsr1.h"

struct constraint;
struct place;
struct heal;

/* Start with {0}. The fields are constraint.c's. */
struct constraint_state {
    struct constraint *constraint;
    struct place *place;
    struct heal *heal;          /* bytes that must come first, or NULL */
    size_t healed;              /* how many of them came */
    uint64_t *narrowed;         /* a mask that a budget made, or NULL */
};

/* As budget: no limit. */
enum { CONSTRAINT_UNLIMITED = 1 << 30 };

/*
 * Reads a constraint; `from` need not outlive the call, the table must outlive the
 * constraint. DSR1_CONSTRAINT_NONE gives one that everything fulfils (for healing).
 *
 * DSR1_ERR_ARGUMENT     cannot be read (says where), or nothing fulfils it
 * DSR1_ERR_UNSUPPORTED  asks for something unknown: names keyword and JSON pointer, or construct and place
 * DSR1_ERR_LIMIT        too large: text, rules, repetitions
 */
dsr1_status constraint_compile(const struct token_table *table, const dsr1_constraint *from,
                               struct constraint **constraint, dsr1_error *err);

/* Counted references; release of the last one frees it. States hold one each. */
struct constraint *constraint_share(struct constraint *constraint);
void constraint_release(struct constraint *constraint);     /* accepts NULL */

/* Tokens that are surely enough for some answer, the end token not counted. */
int constraint_shortest(const struct constraint *constraint);

/*
 * A request begins. Its output must start with the prefix_size bytes of prefix
 * (token healing: the bytes of the prompt's last tokens, which the caller took
 * off the prompt), and what follows must fulfil the constraint. Stops what state
 * was before. DSR1_ERR_LIMIT when budget tokens may be too few for any answer.
 */
dsr1_status constraint_start(struct constraint *constraint, const void *prefix, size_t prefix_size, int budget,
                             struct constraint_state *state, dsr1_error *err);

/* to becomes the place where from is; it must be {0} or stopped. Roll back by copying first. */
void constraint_copy(const struct constraint_state *from, struct constraint_state *to);

void constraint_stop(struct constraint_state *state);       /* accepts {0}; leaves {0} */

/*
 * A bit for each token that may come next: token_table_words() words. End tokens
 * are in it when the answer may end here; control and unused ones never are.
 *
 * budget is how many tokens may still be written, this one included and the end
 * token not: what cannot be finished within it is left out, so that an answer
 * that was started with a sufficient budget always ends whole. A budget below
 * constraint_needs() counts as that.
 *
 * The mask is valid until state moves on or stops, or constraint_mask() is called
 * for it again. NULL: DSR1_ERR_NOMEM, or DSR1_ERR_LIMIT for a grammar that has too
 * many readings.
 */
const uint64_t *constraint_mask(struct constraint_state *state, int budget, dsr1_error *err);

/*
 * Moves on by a token, or by bytes of any number. DSR1_ERR_ARGUMENT when it is not
 * allowed here, and DSR1_ERR_NOMEM and DSR1_ERR_LIMIT as above: state is then where
 * it was. An end token is accepted where the answer may end and moves nothing.
 */
dsr1_status constraint_accept(struct constraint_state *state, int32_t token, dsr1_error *err);
dsr1_status constraint_accept_bytes(struct constraint_state *state, const void *bytes, size_t size, dsr1_error *err);

/* May the answer end here? Must it? */
bool constraint_can_end(const struct constraint_state *state);
bool constraint_is_complete(const struct constraint_state *state);

/* Is everything allowed from here on, so that the caller may drop the constraint? */
bool constraint_is_free(const struct constraint_state *state);

/* Tokens that are surely enough from here to an end, the end token not counted. */
int constraint_needs(const struct constraint_state *state);

/*
 * The tokens that must come next, at most capacity of them: the text that is
 * without alternative, cut as the tokenizer cuts it, less what may merge with the
 * text behind it. Returns their number (0: none) or a negative dsr1_status. Does
 * not move state; each of them is in its mask when its turn comes.
 */
int constraint_forced(struct constraint_state *state, int budget, int32_t *tokens, int capacity, dsr1_error *err);

#endif
