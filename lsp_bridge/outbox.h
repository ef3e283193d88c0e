/*
 * outbox.h - messages to the client, written by a thread of their own
 *
 * A client that writes a thousand messages before it reads the first answer
 * would otherwise wait for us while we wait for it. Any thread may post.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_OUTBOX_H
#define LSP_OUTBOX_H

#include "dsr1.h"

#include <jansson.h>

struct outbox;

/* Starts the writer on a file descriptor. on_broken runs in its thread, once, when nobody reads any more. */
dsr1_status outbox_open(int fd, void (*on_broken)(void *user), void *user, struct outbox **outbox, dsr1_error *err);

/* Waits at most `seconds` for what was posted to be written, and ends the writer. Accepts NULL. */
void outbox_close(struct outbox *outbox, double seconds);

/* Only waits: for the end of a process whose other threads may still post. */
void outbox_flush(struct outbox *outbox, double seconds);

/* Each takes over the reference to its JSON; NULL there means that memory was short, and null is sent. */
void outbox_result(struct outbox *outbox, const char *id, json_t *result);
void outbox_error(struct outbox *outbox, const char *id, int code, const char *message);
void outbox_notify(struct outbox *outbox, const char *method, json_t *params);
void outbox_request(struct outbox *outbox, const char *id, const char *method, json_t *params);

#endif
