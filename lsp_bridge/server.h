/*
 * server.h - the language server: one client on two file descriptors
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_SERVER_H
#define LSP_SERVER_H

#include <jansson.h>

struct server_options {
    int in, out;            /* file descriptors */
    json_t *settings;       /* what the command line chose; wins over all that the client says. May be NULL */
    int record;             /* a file descriptor for a trace of what the client says, or 0 */
    int parent;             /* process to end with; 0: the one that `initialize` names */
};

/*
 * Serves until the client says exit (status 0 after shutdown, else 1), hangs up
 * or dies (1 unless shut down), or sends what cannot be followed (2).
 */
int server_run(const struct server_options *options);

#endif
