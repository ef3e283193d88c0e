/*
 * check.c - what an editor would get, from the shell
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "check.h"

#include "ask.h"
#include "base/clock.h"
#include "base/error.h"
#include "complete.h"
#include "schema.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLL_US 20000               /* between looks at a thread's result */
#define TABLES_WAIT_S 1.0           /* once there is a connection; a database may also have none */

static int fail(const dsr1_error *err)
{
    fprintf(stderr, "dsr1-lsp: %s\n", err->message);
    return 1;
}

static dsr1_status open_model(const struct settings *settings, struct model_host *host, char *path, size_t size,
                              dsr1_error *err)
{
    snprintf(path, size, "%s", settings->model);
    if (!*path)
        model_host_default_path(path, size);
    struct pg_wish pg = {settings->pg_conninfo, settings->pg_connect_ms, settings->pg_statement_ms};
    struct model_wish wish = {settings->backend == BACKEND_PG ? &pg : NULL, path, settings->threads, settings->context,
                              settings->kv_mib, settings->prompt};
    return model_host_open(host, &wish, err);
}

int check_status(const struct settings *settings)
{
    char path[4096];
    struct model_host host;
    dsr1_engine_stats stats;
    dsr1_error err = {0};
    if (open_model(settings, &host, path, sizeof path, &err) < 0) {
        model_host_close(&host);
        return fail(&err);
    }
    if (host.pg) {
        printf("server    %s\n", pg_host_name(host.pg));
        model_host_close(&host);
        return 0;
    }
    dsr1_engine_get_stats(host.engine, &stats);
    printf("model     %s\n", path);
    printf("          %s, %s, %s, %.1f million weights\n", host.info.name, host.info.architecture, host.info.file_type,
           (double) host.info.n_parameters / 1e6);
    printf("prompt    %s\n", job_prompt_name(host.prompt));
    printf("engine    %d threads, %s, %d tokens of context, loaded in %.0f ms\n", stats.n_threads, dsr1_cpu_name(),
           stats.context_size, host.load_ms);
    model_host_close(&host);
    return 0;
}

/* FILE:LINE:COLUMN; the file name may have colons. */
static bool parse_place(const char *place, char *file, size_t size, long *line, long *column)
{
    const char *last = strrchr(place, ':');
    const char *middle = last ? memrchr(place, ':', (size_t) (last - place)) : NULL;
    char *end;
    if (!middle || middle == place || (size_t) (middle - place) >= size)
        return false;
    snprintf(file, size, "%.*s", (int) (middle - place), place);
    *line = strtol(middle + 1, &end, 10);
    if (end != last || *line < 1)
        return false;
    *column = strtol(last + 1, &end, 10);
    return end != last + 1 && !*end && *column >= 1;
}

static dsr1_status read_document(const char *file, struct documents *documents, struct document **document,
                                 dsr1_error *err)
{
    struct buffer text = {0};
    FILE *in = fopen(file, "rb");
    if (!in)
        return error_errno(err, DSR1_ERR_IO, "cannot open %s", file);
    size_t n;
    char *room;
    while ((room = buffer_reserve(&text, 65536)) && (n = fread(room, 1, 65536, in)) > 0)
        text.size += n;
    bool bad = ferror(in);
    fclose(in);
    *document = documents_open(documents, file, "");
    bool good = *document && !text.failed && document_set(*document, text.data, text.size);
    buffer_free(&text);
    if (bad)
        return error_set(err, DSR1_ERR_IO, "cannot read %s", file);
    return good ? DSR1_OK : error_nomem(err, "document");
}

static void note_failure(void *user, const char *message)
{
    fprintf(stderr, "dsr1-lsp: %s\n", message);
    atomic_store((atomic_bool *) user, true);
}

/* The tables that the database has, if one is named and answers in time. Free them with free(). */
static char *read_tables(const struct settings *settings)
{
    struct pg_wish pg = {settings->pg_conninfo, settings->pg_connect_ms, settings->pg_statement_ms};
    static atomic_bool failed;  /* a thread that still tries to connect may outlive this call */
    char *text = NULL;
    if (!*settings->pg_conninfo || settings->pg_schema == SCHEMA_OFF)
        return NULL;
    bool columns = settings->pg_schema == SCHEMA_COLUMNS;
    struct schema *schema = schema_open(&pg, columns, settings->pg_schema_ttl_s, note_failure, &failed);
    double until = clock_seconds() + 1e-3 * settings->pg_connect_ms + TABLES_WAIT_S;
    while (schema && !(text && *text) && !atomic_load(&failed) && clock_seconds() < until) {
        free(text);
        usleep(POLL_US);
        text = schema_text(schema);
    }
    schema_close(schema);
    return text;
}

static bool go_on(void *user)
{
    return false;
}

static void no_answer(void *user)
{
}

static void print_text(const char *title, const char *text, size_t size)
{
    printf("--- %s\n", title);
    fwrite(text, 1, size, stdout);
    printf("%s", size > 0 && text[size - 1] == '\n' ? "" : "\n");
}

static void print_job(const struct job *job)
{
    const struct job_report *report = &job->report;
    if (job->context.size > 0)
        print_text("before the file", job->context.data, job->context.size);
    print_text("before the cursor", job->around.prefix.data, job->around.prefix.size);
    print_text("behind the cursor", job->around.suffix.data, job->around.suffix.size);
    print_text("the model wrote", report->raw.data ? report->raw.data : "", report->raw.size);
    print_text("suggestion", job->text.data ? job->text.data : "", job->text.size);
    for (int i = 0; i < job->n_choices; i++)
        print_text("or", job->choices[i].text.data, job->choices[i].text.size);
    printf("--- %s mode, %s%s, %d prompt tokens%s, %d new ones; first after %.0f ms, all after %.0f ms\n",
           job->line_only ? "line" : "block", job_prompt_name(report->prompt), report->masked ? ", masked" : "", report->prompt_tokens,
           report->healed ? " (the last word taken back)" : "", report->completion_tokens, report->first_ms,
           report->total_ms);
    printf("--- changed by:");
    for (int i = 0; i < POLISH_STEPS; i++) {
        if (job->hits & 1u << i)
            printf(" %s", polish_names[i]);
    }
    printf("%s\n", job->hits ? "" : " nothing");
}

static dsr1_status complete(const struct settings *settings, struct document *document, long line, long column,
                            dsr1_error *err)
{
    char path[4096];
    struct model_host host = {0};
    struct complete_hooks hooks = {go_on, no_answer, NULL, NULL, NULL};
    struct ask ask = {
        .settings = settings,
        .kind = JOB_INVOKED,
        .id = "0",
        .encoding = POSITION_UTF32,
        .cursor = document_offset(document, POSITION_UTF32, (size_t) line - 1, (size_t) column - 1),
    };
    char *tables = read_tables(settings);
    ask.schema = tables;
    struct recall *recall = recall_open(1);
    dsr1_status status = recall ? open_model(settings, &host, path, sizeof path, err) : error_nomem(err, "cache");
    struct job *job = status == DSR1_OK ? ask_job(&ask, document) : NULL;
    if (status == DSR1_OK && !job)
        status = error_nomem(err, "request");
    if (status == DSR1_OK)
        status = complete_with_model(job, &host, recall, &hooks, err);
    if (status == DSR1_OK)
        print_job(job);
    job_free(job);
    free(tables);
    model_host_close(&host);
    recall_close(recall);
    return status;
}

int check_place(const struct settings *settings, const char *place)
{
    char file[4096];
    long line, column;
    if (!parse_place(place, file, sizeof file, &line, &column)) {
        fprintf(stderr, "dsr1-lsp: --check wants FILE:LINE:COLUMN, both counted from 1\n");
        return 2;
    }
    struct documents documents = {0};
    struct document *document = NULL;
    dsr1_error err = {0};
    dsr1_status status = read_document(file, &documents, &document, &err);
    if (status == DSR1_OK)
        status = complete(settings, document, line, column, &err);
    documents_free(&documents);
    return status < 0 ? fail(&err) : 0;
}
