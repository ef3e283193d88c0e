/*
 * loader.h - opens another model while the present one is being served
 *
 * One at a time, on a thread of its own. When it is through, the main loop takes
 * the result and puts the new model in front.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_LOADER_H
#define DAEMON_LOADER_H

#include "daemon/pump.h"
#include "daemon/served.h"

struct session;

struct loader {
    pthread_t thread;
    struct pump *pump;              /* whose lock guards what follows, and who is woken */
    const dsr1_engine_options *options;
    const char *notes;              /* of digests, or NULL */
    char *path;
    bool busy;                      /* a thread runs, or its result was not taken yet */
    bool done;
    struct served *served;          /* NULL: err says why */
    dsr1_error err;
    struct session *session;        /* who asked; NULL once it is gone */
    uint64_t request;
};

/* Under the lock. DSR1_ERR_BUSY while another load is under way. */
dsr1_status loader_start(struct loader *loader, const char *path, dsr1_error *err);

/* Under the lock: true when a load ended; its thread is then over. The caller takes `served` and `err`. */
bool loader_take(struct loader *loader);

#endif
