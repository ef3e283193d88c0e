/*
 * dfa.h - regular expressions made deterministic at once, to be combined
 *
 * Two conditions on one string (a pattern and a length) are the product of two
 * automata. State 0 is the start, DFA_DEAD is where nothing can follow.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_DFA_H
#define CONSTRAIN_DFA_H

#include "constrain/expr.h"

struct dfa;

enum { DFA_DEAD = UINT32_MAX, DFA_STATES_MAX = 1 << 14 };

/* Rule 0 of the store, which calls no other. DSR1_ERR_LIMIT beyond DFA_STATES_MAX, DSR1_ERR_NOMEM. */
dsr1_status dfa_open(const struct expr_store *store, struct dfa **dfa, dsr1_error *err);
void dfa_close(struct dfa *dfa);        /* accepts NULL */

/* What both accept; what a accepts and b does not. */
dsr1_status dfa_both(const struct dfa *a, const struct dfa *b, struct dfa **dfa, dsr1_error *err);
dsr1_status dfa_without(const struct dfa *a, const struct dfa *b, struct dfa **dfa, dsr1_error *err);

/* States that lead nowhere and accept nothing, to be set one by one; NULL when memory is short. */
struct dfa *dfa_blank(uint32_t n_states);
void dfa_set_next(struct dfa *dfa, uint32_t state, uint8_t byte, uint32_t to);
void dfa_set_accepts(struct dfa *dfa, uint32_t state, bool accepts);

uint32_t dfa_n_states(const struct dfa *dfa);
uint32_t dfa_next(const struct dfa *dfa, uint32_t state, uint8_t byte);
bool dfa_accepts(const struct dfa *dfa, uint32_t state);

bool dfa_matches(const struct dfa *dfa, const void *bytes, size_t size);

/* Accepts no text at all. Of one that was opened or combined, of which every state can be reached. */
bool dfa_is_nothing(const struct dfa *dfa);

#endif
