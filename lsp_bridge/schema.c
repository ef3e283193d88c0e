/*
 * schema.c - the tables that the connected role may read, as lines for a prompt
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "schema.h"

#include "base/clock.h"
#include "base/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_PAUSE 0.5
#define LAST_PAUSE 30.0
#define CLOSE_NS 300000000
#define TEXT_BYTES 12000        /* about a context's worth; the tables of the search path come first */

struct schema {
    struct pg_wish wish;
    char *conninfo;
    bool columns;
    int ttl_s;
    void (*failed)(void *user, const char *message);
    void *user;
    pthread_t thread;
    pthread_mutex_t lock;       /* guards all below */
    pthread_cond_t changed;
    char *text;
    double read_at;             /* 0: never */
    bool wanted, closing;
    PGconn *connection;         /* a query is running on it */
};

/*
 * One line a table: name(column type, ...), with -> for foreign keys. Names are
 * qualified where the search path does not find them.
 */
static const char query_columns[] =
    "SELECT c.oid::regclass::text || '(' || string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)"
    " || coalesce(' -> ' || (SELECT f.confrelid::regclass::text FROM pg_constraint f WHERE f.conrelid = c.oid AND"
    " f.contype = 'f' AND f.conkey[1] = a.attnum LIMIT 1), ''), ', ' ORDER BY a.attnum) || ')'"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid"
    " WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped"
    " AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND has_schema_privilege(n.oid, 'USAGE')"
    " AND has_column_privilege(c.oid, a.attnum, 'SELECT')"
    " GROUP BY c.oid, c.relname, n.nspname ORDER BY NOT pg_table_is_visible(c.oid), n.nspname, c.relname LIMIT 300";
static const char query_names[] =
    "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND NOT c.relispartition AND n.nspname <> 'information_schema'"
    " AND n.nspname !~ '^pg_' AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')"
    " ORDER BY NOT pg_table_is_visible(c.oid), n.nspname, c.relname LIMIT 1000";

/* Asks the database. A new string, or NULL. */
static char *read_tables(struct schema *schema, dsr1_error *err)
{
    PGconn *connection = pg_connect(&schema->wish, err);
    if (!connection)
        return NULL;
    pthread_mutex_lock(&schema->lock);
    schema->connection = connection;
    pthread_mutex_unlock(&schema->lock);
    PGresult *result = PQexec(connection, schema->columns ? query_columns : query_names);
    struct buffer text = {0};
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        buffer_string(&text, "");
        for (int i = 0; i < PQntuples(result) && text.size < TEXT_BYTES; i++)
            buffer_printf(&text, "%s\n", PQgetvalue(result, i, 0));
    } else if (err->status == DSR1_OK) {
        const char *reason = PQerrorMessage(connection);
        err->status = DSR1_ERR_IO;
        snprintf(err->message, sizeof err->message, "cannot read the schema: %.*s", (int) strcspn(reason, "\n"), reason);
    }
    PQclear(result);
    pthread_mutex_lock(&schema->lock);
    schema->connection = NULL;
    pthread_mutex_unlock(&schema->lock);
    PQfinish(connection); /* a connection that is needed once a minute is not worth a slot of the server */
    return text.data;
}

static void sleep_until(struct schema *schema, double when)
{
    struct timespec until = {.tv_sec = (time_t) when, .tv_nsec = (long) ((when - (double) (time_t) when) * 1e9)};
    pthread_cond_timedwait(&schema->changed, &schema->lock, &until);
}

static void *follow(void *argument)
{
    struct schema *schema = argument;
    double pause = 0;
    pthread_mutex_lock(&schema->lock);
    while (!schema->closing) {
        if (!schema->wanted) {
            pthread_cond_wait(&schema->changed, &schema->lock);
            continue;
        }
        schema->wanted = false;
        pthread_mutex_unlock(&schema->lock);
        dsr1_error err = {0};
        char *text = read_tables(schema, &err);
        pthread_mutex_lock(&schema->lock);
        if (!text && pause == 0 && !schema->closing)
            schema->failed(schema->user, err.message);
        if (text) {
            free(schema->text);
            schema->text = text;
            schema->read_at = clock_seconds();
            pause = 0;
        } else {
            pause = pause == 0 ? FIRST_PAUSE : pause * 2 > LAST_PAUSE ? LAST_PAUSE : pause * 2;
            for (double until = clock_seconds() + pause; !schema->closing && clock_seconds() < until;)
                sleep_until(schema, until);
            schema->wanted = true;
        }
    }
    pthread_mutex_unlock(&schema->lock);
    return NULL;
}

struct schema *schema_open(const struct pg_wish *wish, bool columns, int ttl_s,
                           void (*failed)(void *user, const char *message), void *user)
{
    struct schema *schema = memory_array(1, sizeof *schema);
    if (!schema || !(schema->conninfo = strdup(wish->conninfo))) {
        free(schema);
        return NULL;
    }
    schema->wish = *wish;
    schema->wish.conninfo = schema->conninfo;
    schema->columns = columns;
    schema->ttl_s = ttl_s;
    schema->failed = failed;
    schema->user = user;
    schema->wanted = true;
    pthread_mutex_init(&schema->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&schema->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&schema->thread, NULL, follow, schema) != 0) {
        free(schema->conninfo);
        free(schema);
        return NULL;
    }
    return schema;
}

bool schema_close(struct schema *schema)
{
    if (!schema)
        return true;
    char reason[256];
    pthread_mutex_lock(&schema->lock);
    schema->closing = true;
    PGcancel *cancel = schema->connection ? PQgetCancel(schema->connection) : NULL;
    pthread_cond_signal(&schema->changed);
    pthread_mutex_unlock(&schema->lock);
    if (cancel)
        PQcancel(cancel, reason, sizeof reason);
    PQfreeCancel(cancel);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += CLOSE_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (pthread_timedjoin_np(schema->thread, NULL, &until) != 0)
        return false;
    pthread_cond_destroy(&schema->changed);
    pthread_mutex_destroy(&schema->lock);
    free(schema->text);
    free(schema->conninfo);
    free(schema);
    return true;
}

char *schema_text(struct schema *schema)
{
    if (!schema)
        return strdup("");
    pthread_mutex_lock(&schema->lock);
    if (schema->read_at > 0 && clock_seconds() - schema->read_at > schema->ttl_s)
        schema->wanted = true;
    char *text = strdup(schema->text ? schema->text : "");
    if (schema->wanted)
        pthread_cond_signal(&schema->changed);
    pthread_mutex_unlock(&schema->lock);
    return text;
}

void schema_refresh(struct schema *schema)
{
    if (!schema)
        return;
    pthread_mutex_lock(&schema->lock);
    schema->wanted = true;
    pthread_cond_signal(&schema->changed);
    pthread_mutex_unlock(&schema->lock);
}
