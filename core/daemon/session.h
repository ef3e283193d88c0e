/*
 * session.h - one client's connection: frames in, frames out, what it asked for
 *
 * Output is buffered and written when the socket takes it. A client that does
 * not read is not read from either once a megabyte waits for it, and is cut off
 * when two of the longest frames do. When a session ends, all that it asked for
 * is cancelled.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_SESSION_H
#define DAEMON_SESSION_H

#include "daemon/server.h"
#include "wire/wire_message.h"

struct session {
    struct server *server;
    struct session *next;
    int fd;
    bool greeted;           /* its HELLO was accepted */
    uint32_t pid;           /* of its HELLO */
    bool phases;            /* wants PHASE events */
    uint64_t scope;         /* who may share prefixes with it: database and role of its HELLO */
    bool ending;            /* close when all output is written; nothing more is read */
    bool dead;              /* close now */
    struct wire_reader reader;
    struct buffer out;
    size_t sent;            /* bytes of out already written */
};

/* Takes fd over, in any case. False when memory is short. */
bool session_open(struct server *server, int fd);

/* Poll events that this session waits for. */
short session_events(const struct session *session);

/* Receives what is there, within reason, and answers what has come whole. */
void session_receive(struct session *session);

/* Writes what the socket takes. */
void session_flush(struct session *session);

/* A frame was just put into session->out by a wire_put_ function that returned put. */
void session_put(struct session *session, bool put);

void session_say_error(struct session *session, uint64_t request, dsr1_status status, const char *message);

/* Closes and forgets every session that is dead, or ending with nothing left to write. */
void session_sweep(struct server *server);

#endif
