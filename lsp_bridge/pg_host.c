/*
 * pg_host.c - a model that a PostgreSQL server runs, asked over libpq
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "pg_host.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_PAUSE 0.5
#define LAST_PAUSE 30.0
#define LOOK_MS 10              /* how often a waiting query asks whether anybody still waits for it */

struct pg_host {
    char *conninfo;
    struct pg_wish wish;
    PGconn *connection;
    char name[200];
    double retry_at, pause;
    bool no_fim, no_stream;     /* the server has no such function, or its model cannot */
};

PGconn *pg_connect(const struct pg_wish *wish, dsr1_error *err)
{
    char timeout[20], options[80];
    snprintf(timeout, sizeof timeout, "%d", (wish->connect_ms + 999) / 1000);
    snprintf(options, sizeof options, "-c statement_timeout=%d", wish->statement_ms);
    /* Earlier words lose: what the conninfo says stays. */
    const char *names[] = {"connect_timeout", "options", "fallback_application_name", "client_encoding", "dbname", NULL};
    const char *values[] = {timeout, options, "dsr1-lsp", "UTF8", wish->conninfo, NULL};
    PGconn *connection = PQconnectdbParams(names, values, 1);
    if (PQstatus(connection) == CONNECTION_OK)
        return connection;
    const char *reason = connection ? PQerrorMessage(connection) : "out of memory";
    error_set(err, DSR1_ERR_IO, "no connection to PostgreSQL: %.*s", (int) strcspn(reason, "\n"), reason);
    PQfinish(connection);
    return NULL;
}

static void hang_up(struct pg_host *host)
{
    PQfinish(host->connection);
    host->connection = NULL;
    host->name[0] = 0;
}

static void note_failure(struct pg_host *host)
{
    host->pause = host->pause == 0 ? FIRST_PAUSE : host->pause * 2 > LAST_PAUSE ? LAST_PAUSE : host->pause * 2;
    host->retry_at = clock_seconds() + host->pause;
}

static dsr1_status connect_now(struct pg_host *host, dsr1_error *err)
{
    if (host->connection && PQstatus(host->connection) == CONNECTION_OK)
        return DSR1_OK;
    hang_up(host);
    if (clock_seconds() < host->retry_at)
        return error_set(err, DSR1_ERR_BUSY, "no connection to PostgreSQL yet");
    host->connection = pg_connect(&host->wish, err);
    if (!host->connection) {
        note_failure(host);
        return DSR1_ERR_IO;
    }
    host->pause = 0;
    host->no_fim = host->no_stream = false;
    snprintf(host->name, sizeof host->name, "PostgreSQL %d at %s, database %s", PQserverVersion(host->connection) / 10000,
             PQhost(host->connection) ? PQhost(host->connection) : "", PQdb(host->connection));
    return DSR1_OK;
}

dsr1_status pg_host_open(const struct pg_wish *wish, struct pg_host **host, dsr1_error *err)
{
    struct pg_host *h = memory_array(1, sizeof *h);
    *host = NULL;
    if (!h || !(h->conninfo = strdup(wish->conninfo))) {
        free(h);
        return error_nomem(err, "connection");
    }
    h->wish = *wish;
    h->wish.conninfo = h->conninfo;
    *host = h;
    return connect_now(h, err);
}

void pg_host_close(struct pg_host *host)
{
    if (!host)
        return;
    PQfinish(host->connection);
    free(host->conninfo);
    free(host);
}

const char *pg_host_name(const struct pg_host *host)
{
    return host->name;
}

/* ------------------------------------------------------------------ */
/* One query                                                           */
/* ------------------------------------------------------------------ */

struct query {
    struct pg_host *host;
    struct pg_question *question;
    struct draft *draft;
    double started;
    bool stopped;
    char state[6];              /* SQLSTATE of a failure */
};

static void cancel(struct pg_host *host)
{
    char reason[256];
    PGcancel *cancel = PQgetCancel(host->connection);
    if (cancel)
        PQcancel(cancel, reason, sizeof reason);
    PQfreeCancel(cancel);
}

static void look(struct query *query)
{
    struct pg_question *question = query->question;
    if (!query->stopped && question->stop && question->stop(question->user, query->draft)) {
        query->stopped = true;
        cancel(query->host);
    }
}

/* Waits until a result can be taken without waiting. False when the connection broke. */
static bool wait_result(struct query *query)
{
    PGconn *connection = query->host->connection;
    while (PQisBusy(connection)) {
        struct pollfd socket = {.fd = PQsocket(connection), .events = POLLIN};
        if (poll(&socket, 1, LOOK_MS) < 0 || !PQconsumeInput(connection))
            return PQstatus(connection) == CONNECTION_OK;
        look(query);
    }
    return true;
}

/* A row is a piece of text and, in a second column, its log-probability. */
static bool take_rows(struct query *query, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result) && !query->stopped; row++) {
        if (query->question->first_ms == 0)
            query->question->first_ms = 1e3 * (clock_seconds() - query->started);
        double logprob = PQnfields(result) > 1 ? strtod(PQgetvalue(result, row, 1), NULL) : 0;
        if (!draft_append(query->draft, PQgetvalue(result, row, 0), (size_t) PQgetlength(result, row, 0), -1,
                          (float) logprob))
            return false;
        look(query);
    }
    return true;
}

static dsr1_status take_results(struct query *query, dsr1_error *err)
{
    PGconn *connection = query->host->connection;
    dsr1_status status = DSR1_OK;
    for (PGresult *result; wait_result(query) && (result = PQgetResult(connection)); PQclear(result)) {
        ExecStatusType kind = PQresultStatus(result);
        if (kind == PGRES_TUPLES_OK || kind == PGRES_SINGLE_TUPLE) {
            if (!take_rows(query, result))
                status = error_nomem(err, "suggestion");
        } else {
            const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
            const char *reason = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
            snprintf(query->state, sizeof query->state, "%s", state ? state : "");
            if (!query->stopped)
                status = error_set(err, DSR1_ERR_IO, "PostgreSQL: %s", reason ? reason : PQerrorMessage(connection));
        }
    }
    if (PQstatus(connection) != CONNECTION_OK) {
        if (status == DSR1_OK && !query->stopped)
            status = error_set(err, DSR1_ERR_IO, "PostgreSQL closed the connection");
        hang_up(query->host);
        note_failure(query->host);
    }
    return status;
}

static dsr1_status run(struct query *query, const char *sql, const char *const *values, int n, dsr1_error *err)
{
    PGconn *connection = query->host->connection;
    if (!PQsendQueryParams(connection, sql, n, NULL, values, NULL, NULL, 0)) {
        error_set(err, DSR1_ERR_IO, "PostgreSQL: %.*s", (int) strcspn(PQerrorMessage(connection), "\n"),
                  PQerrorMessage(connection));
        hang_up(query->host);
        note_failure(query->host);
        return DSR1_ERR_IO;
    }
    /* Row by row, so that a text that is good enough ends the query. */
    PQsetSingleRowMode(connection);
    return take_results(query, err);
}

/* Is this what a server says that lacks the function, or whose model lacks the ability? */
static bool is_unable(const struct query *query)
{
    return strcmp(query->state, "42883") == 0 || strcmp(query->state, "0A000") == 0;
}

static const char fill_sql[] =
    "SELECT dsr1_fim($1, $2, jsonb_build_object('max_tokens', $3::int, 'temperature', $4::float8))";
static const char stream_sql[] =
    "SELECT (s).token, (s).logprob FROM (SELECT dsr1_stream($1, max_tokens => $2::int, temperature => $3::float8, raw => true)"
    " AS s OFFSET 0) AS rows";
static const char complete_sql[] =
    "SELECT dsr1_complete($1, max_tokens => $2::int, temperature => $3::float8, raw => true)";
static const char chat_sql[] =
    "SELECT dsr1_complete($1, max_tokens => $2::int, temperature => $3::float8, system => $4, think => false)";

static dsr1_status fill(struct query *query, const char *max_tokens, const char *temperature, dsr1_error *err)
{
    struct pg_host *host = query->host;
    const struct pg_question *question = query->question;
    const char *hole[] = {question->before, question->behind, max_tokens, temperature};
    const char *rest[] = {question->before, max_tokens, temperature};
    if (!host->no_fim) {
        dsr1_error reason = {0};
        dsr1_status status = run(query, fill_sql, hole, 4, &reason);
        query->question->fim = status == DSR1_OK;
        if (status == DSR1_OK || !is_unable(query))
            return status < 0 ? error_set(err, status, "%s", reason.message) : status;
        host->no_fim = true;
    }
    if (!host->no_stream) {
        dsr1_error reason = {0};
        dsr1_status status = run(query, stream_sql, rest, 3, &reason);
        if (status == DSR1_OK || !is_unable(query))
            return status < 0 ? error_set(err, status, "%s", reason.message) : status;
        host->no_stream = true;
    }
    return run(query, complete_sql, rest, 3, err);
}

dsr1_status pg_host_ask(struct pg_host *host, struct pg_question *question, struct draft *draft, dsr1_error *err)
{
    dsr1_status status = connect_now(host, err);
    if (status < 0)
        return status;
    struct query query = {.host = host, .question = question, .draft = draft, .started = clock_seconds()};
    char max_tokens[20], temperature[30];
    snprintf(max_tokens, sizeof max_tokens, "%d", question->max_tokens);
    snprintf(temperature, sizeof temperature, "%.6g", question->temperature);
    const char *chat[] = {question->before, max_tokens, temperature, question->behind};
    if (question->ask == PG_FILL)
        status = fill(&query, max_tokens, temperature, err);
    else
        status = run(&query, chat_sql, chat, 4, err);
    if (status == DSR1_OK && !query.stopped)
        draft->finished = true;
    return status;
}
