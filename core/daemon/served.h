/*
 * served.h - a model that is being served: its file, its engine, its requests
 *
 * Usually there is one. After a reload the new one comes first and takes all new
 * requests; the old one goes on until its last request is done.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_SERVED_H
#define DAEMON_SERVED_H

#include "base/digest.h"
#include "daemon/adapters.h"

struct served {
    struct served *next;        /* older */
    char *path;
    dsr1_model *model;
    dsr1_engine *engine;
    dsr1_model_info info;
    struct adapters adapters;   /* of the main thread */
    size_t longest_token;       /* bytes: a text of n bytes has at least n / longest_token tokens */
    int context_size;
    uint64_t id;                /* of its file (digest.h) */
    struct digest digest;
    /* Under the pump's lock: */
    int n_works;                /* requests without a last event, or about to be submitted */
    bool poked;                 /* submitted to since its last step began */
    int n_left;                 /* what that step returned */
};

/* Maps the file and opens an engine on it: takes long. notes: where digests are noted, or NULL. */
dsr1_status served_open(const char *path, const dsr1_engine_options *options, const char *notes,
                        struct served **served, dsr1_error *err);
void served_close(struct served *served);   /* accepts NULL */

#endif
