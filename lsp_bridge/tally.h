/*
 * tally.h - what the server did, counted
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_TALLY_H
#define LSP_TALLY_H

#include <jansson.h>
#include <stdatomic.h>

enum tally_kind {
    TALLY_INVOKED, TALLY_AUTOMATIC, TALLY_COMPLETION,           /* requests */
    TALLY_SHOWN,                                                /* answers with a text */
    TALLY_NOTHING,                                              /* the model had nothing good to say */
    TALLY_NOT_READY, TALLY_NOT_WANTED, TALLY_SUPERSEDED, TALLY_CANCELLED, TALLY_FAILED,
    TALLY_FROM_RECALL, TALLY_RESUMED,                           /* without the model; continued from a text */
    TALLY_PROMPT_TOKENS, TALLY_CACHED_TOKENS, TALLY_COMPLETION_TOKENS,
    TALLY_ACCEPTED, TALLY_SHOWN_REPORTED, TALLY_PARTLY_ACCEPTED,
    TALLY_LINE_ACCEPTED, TALLY_WORD_ACCEPTED, TALLY_PREFIX_ACCEPTED, TALLY_TYPED_THROUGH, TALLY_REJECTED,
    TALLY_SURVIVED, TALLY_CHANGED_LATER,                        /* accepted texts, half a minute or a save later */
    TALLY_ACTIONS, TALLY_SPECULATED, TALLY_WARMED,
    TALLY_KINDS
};

struct tally {
    atomic_ullong counts[TALLY_KINDS];
};

static inline void tally_add(struct tally *tally, enum tally_kind kind, unsigned long long n)
{
    atomic_fetch_add_explicit(&tally->counts[kind], n, memory_order_relaxed);
}

/* All of it, and what polish cut: {"shown": 3, .., "polish": {"mode": 1, ..}}. */
json_t *tally_json(const struct tally *tally);

#endif
