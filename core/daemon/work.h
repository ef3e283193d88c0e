/*
 * work.h - one request, from its frame to its last event
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_WORK_H
#define DAEMON_WORK_H

#include "daemon/session.h"

/* Submit a frame's request to the engine; what is wrong with it goes back as an ERROR. */
void work_complete(struct session *session, const struct wire_frame *frame);
void work_score(struct session *session, const struct wire_frame *frame);
void work_embed(struct session *session, const struct wire_frame *frame);

/* Asks the engine to end a request; an unknown or finished one is ignored. */
void work_cancel(struct session *session, uint64_t request);

/* Answers which requests there are, and how far each is. */
void work_list(struct session *session, const struct wire_frame *frame);

/* The session ends: cancels all that it asked for; nobody hears of it any more. */
void work_abandon(struct session *session);

/* Forgets all works, after the engines they were submitted to were closed. */
void work_free_all(struct server *server);

#endif
