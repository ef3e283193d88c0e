/*
 * query.h - what is answered without computing: tokens, the model, counts, another model
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_QUERY_H
#define DAEMON_QUERY_H

#include "daemon/session.h"

/* Answer a frame of that type. */
void query_tokens(struct session *session, const struct wire_frame *frame);
void query_detokenize(struct session *session, const struct wire_frame *frame);
void query_model(struct session *session, const struct wire_frame *frame);
void query_adapter(struct session *session, const struct wire_frame *frame);
void query_stats(struct session *session, const struct wire_frame *frame);

/* Begins to load another model; query_reloaded() answers. */
void query_reload(struct session *session, const struct wire_frame *frame);

/* What was asked for with RELOAD is there, or cannot be had. Called when the loader ended, and does nothing else. */
void query_reloaded(struct server *server);

/* The session ends, and need not be told any more. */
void query_abandon(struct session *session);

#endif
