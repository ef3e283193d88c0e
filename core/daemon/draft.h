/*
 * draft.h - what a client asked, as a request for the engine
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_DRAFT_H
#define DAEMON_DRAFT_H

#include "daemon/prompt.h"

/* A message of any of the three kinds. */
union draft_message {
    struct wire_complete complete;
    struct wire_score score;
    struct wire_embed embed;
};

dsr1_status draft_read(const struct wire_frame *frame, enum wire_type type, union draft_message *m, struct wire_terms *terms);

/* A request under construction: tokens and texts that submit copies. */
struct draft {
    dsr1_request request;
    struct prompt prompt;
    const char *stop[WIRE_STOP_MAX];
    const char *constraint[WIRE_LIST_MAX];
    dsr1_tokens continuations[WIRE_LIST_MAX];
};

/* *d is zero before. No lock is needed. What was filled is freed by draft_free() after a failure, too. */
dsr1_status draft_fill(const struct served *served, enum wire_type type, const union draft_message *m, struct draft *d,
                       dsr1_error *err);
/* The draft itself, too. */
void draft_free(struct draft *d);

#endif
