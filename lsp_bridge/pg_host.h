/*
 * pg_host.h - a model that a PostgreSQL server runs, asked over libpq
 *
 * The connection is made when it is needed and made again when it broke, after
 * pauses that grow from half a second to thirty. A cancelled request cancels
 * the query; the connection stays.
 *
 * Used by the worker's thread alone.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_PG_HOST_H
#define LSP_PG_HOST_H

#include "polish.h"

#include <libpq-fe.h>

struct pg_host;

struct pg_wish {
    const char *conninfo;
    int connect_ms, statement_ms;
};

/* Connects only to see that it works: a failure is returned in err, and *host is usable all the same, but for NOMEM. */
dsr1_status pg_host_open(const struct pg_wish *wish, struct pg_host **host, dsr1_error *err);
void pg_host_close(struct pg_host *host);       /* accepts NULL */

/* Server and extension in words, "" while there is no connection. */
const char *pg_host_name(const struct pg_host *host);

enum pg_ask { PG_FILL, PG_CHAT };

struct pg_question {
    enum pg_ask ask;
    const char *before, *behind;        /* PG_FILL: around the hole. PG_CHAT: what the user says, and the system message */
    /* Of PG_FILL: the part of the cursor's line before it, which follows `before`; the grammar that the text is the
       beginning of, or NULL; and whether the last token before the hole is chosen anew. */
    const char *opening, *grammar;
    bool heal;
    int max_tokens;
    double temperature, min_p;
    uint64_t seed;
    bool (*stop)(void *user, const struct draft *draft);    /* asked every few milliseconds and after each piece of text */
    void *user;
    /* results */
    bool fim;                           /* the server filled the hole; else it went on behind the text before it */
    bool masked, healed;                /* it did what grammar and heal ask for */
    double first_ms;
};

/* Appends the answer to the draft. One that was stopped is no failure. */
dsr1_status pg_host_ask(struct pg_host *host, struct pg_question *question, struct draft *draft, dsr1_error *err);

/* A connection as the wishes say, or NULL and the reason. Also for schema.c. */
PGconn *pg_connect(const struct pg_wish *wish, dsr1_error *err);

#endif
