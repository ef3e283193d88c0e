/*
 * obey.h - what one answer must be, and how far it has come
 *
 * An answer begins with the bytes of healed tokens, where the caller wants
 * that; then it may think; then its constraint holds to the end. While it
 * thinks it is free, but an end of the answer becomes </think>, and </think>
 * comes at the latest when the tokens that are left are needed for the rest.
 * Behind </think> stands an empty line, as the models were trained to write it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_OBEY_H
#define SERVE_OBEY_H

#include "constrain/constraint.h"

struct obey {
    struct constraint_state *now;       /* NULL: anything goes */
    struct constraint_state *then;      /* begins where the reasoning ends, or where the healed tokens are written */
    struct constraint_state *ahead;     /* looks ahead over guesses: of the same constraint as the answer's */
    bool thinking;
    int32_t think_close;
    int32_t blank[4];                   /* the empty line */
    int n_blank;
    int reserve;                        /* tokens that reasoning leaves to the rest */
    int n_healed;                       /* bytes of the healed tokens */
};

/* What the engine knows and obey_open asks for. table is NULL where a request has no constraint and heals nothing. */
struct obey_terms {
    struct token_table *table;
    const struct tokenizer *tokenizer;
    int32_t think_close;
};

/* Tokens at the prompt's end that are chosen anew. */
struct obey_healed {
    const int32_t *tokens;
    int n;
};

/*
 * Compiles what the request asks for; takes time and needs no lock. Errors of
 * constraint_open; DSR1_ERR_UNSUPPORTED for a constraint behind reasoning where
 * the vocabulary has no </think>.
 */
dsr1_status obey_open(struct obey *obey, const struct obey_terms *terms, const dsr1_request *from,
                      struct obey_healed healed, dsr1_error *err);
void obey_close(struct obey *obey);

/*
 * The tokens of which one is to be chosen, NULL: all. budget: tokens that may
 * still be written. False when memory is short, or the constraint too entangled.
 */
bool obey_mask(struct obey *obey, int budget, const uint64_t **allowed);

/* The token that must take the place of the one that was chosen, or that one. */
int32_t obey_correct(const struct obey *obey, int32_t token, bool is_end, int budget);

/* Goes over a token that obey_mask allowed or obey_forced named. */
void obey_accept(struct obey *obey, int32_t token);

/* The reasoning is over: the constraint begins. */
void obey_answer(struct obey *obey);

/* Tokens without an alternative that come next, at most capacity; the caller accepts each. */
int obey_forced(struct obey *obey, int32_t *tokens, int capacity, int budget);

/* Nothing can follow but the end. */
bool obey_complete(const struct obey *obey);

/* The answer is whole as it is. */
bool obey_can_end(const struct obey *obey);

/* How many of n guessed tokens may come. */
int obey_filter(struct obey *obey, const int32_t *tokens, int n);

#endif
