/*
 * pg_host.c - a model that a PostgreSQL server runs, asked over libpq
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "pg_host.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_PAUSE 0.5
#define LAST_PAUSE 30.0
#define LOOK_MS 10              /* how often a waiting query asks whether anybody still waits for it */

/*
 * How a hole is filled, the best first. A stream can be ended as soon as there is enough of it, says how likely each piece
 * is, and takes a grammar; a server may lack the function, or its model the tokens for holes.
 */
enum way { STREAM_HOLE, STREAM_ON, FILL_HOLE, GO_ON, N_WAYS };

struct pg_host {
    char *conninfo;
    struct pg_wish wish;
    PGconn *connection;
    char name[200];
    double retry_at, pause;
    enum way way;               /* the first that is not known to fail */
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
    host->way = STREAM_HOLE;
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
        size_t size = (size_t) PQgetlength(result, row, 0);
        /* A healed token without more text only says again what was typed: how likely that was does not matter. */
        bool again = query->draft->text.size == 0 && size == 0;
        if (!draft_append(query->draft, PQgetvalue(result, row, 0), size, -1, again ? 0 : (float) logprob))
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

/* Perhaps it was the grammar that the engine would not take: too large, or beyond what it knows. */
static bool is_refused(const struct query *query)
{
    return strcmp(query->state, "22023") == 0 || strcmp(query->state, "54000") == 0;
}

static const char stream_sql[] = "SELECT (s).token, (s).logprob FROM"
                                 " (SELECT dsr1_stream($1, raw => true, options => $2::jsonb) AS s OFFSET 0) AS rows";
static const char *const fill_sql[N_WAYS] = {
    [STREAM_HOLE] = stream_sql,
    [STREAM_ON] = stream_sql,
    [FILL_HOLE] = "SELECT dsr1_fim($1, $3, $2::jsonb)",
    [GO_ON] = "SELECT dsr1_complete($1, max_tokens => ($2::jsonb ->> 'max_tokens')::int,"
              " temperature => ($2::jsonb ->> 'temperature')::float8, seed => ($2::jsonb ->> 'seed')::bigint, raw => true)",
};
static const char chat_sql[] =
    "SELECT dsr1_complete($1, max_tokens => $2::int, temperature => $3::float8, system => $4, think => false)";

/* The options of one way, as JSON text. Free it with free(). */
static char *fill_options(const struct pg_question *question, enum way way, bool grammar)
{
    json_t *options = json_pack("{s: i, s: f, s: f, s: I}", "max_tokens", question->max_tokens,
                                "temperature", question->temperature, "min_p", question->min_p,
                                "seed", (json_int_t) question->seed);
    if (way == STREAM_HOLE) {
        json_object_set_new(options, "suffix", json_string(question->behind));
        json_object_set_new(options, "opening", json_string(question->opening));
    }
    if (way == STREAM_HOLE || way == STREAM_ON)
        json_object_set_new(options, "heal", json_boolean(question->heal));
    if (grammar) {
        json_object_set_new(options, "grammar", json_string(question->grammar));
        json_object_set_new(options, "open_end", json_true());
    }
    char *text = json_dumps(options, JSON_COMPACT);
    json_decref(options);
    return text;
}

static dsr1_status fill_one_way(struct query *query, enum way way, bool grammar, dsr1_error *err)
{
    struct pg_question *question = query->question;
    struct buffer before = {0};
    char *options = fill_options(question, way, grammar);
    buffer_string(&before, question->before);
    /* Typing only adds tokens to an opening; without a hole the text is one. */
    buffer_string(&before, way == STREAM_HOLE ? "" : question->opening);
    const char *values[] = {before.data, options, question->behind};
    query->state[0] = 0;
    dsr1_status status = !options || before.failed ? error_nomem(err, "prompt")
                                                   : run(query, fill_sql[way], values, way == FILL_HOLE ? 3 : 2, err);
    question->fim = way == STREAM_HOLE || way == FILL_HOLE;
    question->masked = grammar;
    question->healed = question->heal && (way == STREAM_HOLE || way == STREAM_ON);
    free(options);
    buffer_free(&before);
    return status;
}

static dsr1_status fill(struct query *query, dsr1_error *err)
{
    struct pg_host *host = query->host;
    for (;;) {
        enum way way = host->way;
        bool grammar = query->question->grammar && (way == STREAM_HOLE || way == STREAM_ON);
        dsr1_error reason = {0};
        dsr1_status status = fill_one_way(query, way, grammar, &reason);
        /* Better a text without a mask than none: polish.c cuts what it would have forbidden. */
        if (status < 0 && grammar && is_refused(query)) {
            reason = (dsr1_error){0};
            status = fill_one_way(query, way, false, &reason);
        }
        if (status == DSR1_OK || !is_unable(query) || way == GO_ON)
            return status < 0 ? error_set(err, status, "%s", reason.message) : status;
        bool no_function = strcmp(query->state, "42883") == 0;
        host->way = way == STREAM_HOLE ? (no_function ? FILL_HOLE : STREAM_ON) : GO_ON;
    }
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
        status = fill(&query, err);
    else
        status = run(&query, chat_sql, chat, 4, err);
    if (status == DSR1_OK && !query.stopped)
        draft->finished = true;
    return status;
}
