/*
 * server.h - the engine process: one model, many clients
 *
 * The main thread turns the loop: what is ready on the sockets, what the last
 * step wrote, a heartbeat. The pump's thread computes meanwhile.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_SERVER_H
#define DAEMON_SERVER_H

#include "daemon/loader.h"
#include "daemon/parent.h"
#include "daemon/pump.h"
#include "daemon/settings.h"

#include <stdint.h>

struct session;
struct work;

struct server {
    const struct settings *settings;
    struct parent parent;
    struct pump pump;           /* its lock guards all that follows; what is served is in it */
    struct loader loader;
    int listener;
    double accept_after;        /* clock_seconds(): no new clients before */
    struct session *sessions;   /* list */
    struct work *works;         /* list: submitted, no DONE yet */
    int n_sessions;
};

/* Loads the model and listens. A failure is in *err; server_close() undoes in any case. */
dsr1_status server_open(struct server *server, const struct settings *settings, dsr1_error *err);

/* False: a step is still being computed, so little was freed and only _exit() can follow. */
bool server_close(struct server *server);

/* Turns the loop until SIGTERM or the parent's end (DSR1_OK), or until the engine failed. */
dsr1_status server_run(struct server *server, dsr1_error *err);

#endif
