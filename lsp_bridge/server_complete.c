/*
 * server_complete.c - requests for suggestions and their answers
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "server_state.h"

#include "ask.h"
#include "base/clock.h"
#include "report.h"
#include "suggestion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 100000           /* lines longer than this are data, not text */

/* ------------------------------------------------------------------ */
/* Answers (worker's thread or reader's)                               */
/* ------------------------------------------------------------------ */

/* A reason that holds for a while is said once. */
static void say_failure(struct server *server, const char *reason)
{
    pthread_mutex_lock(&server->lock);
    bool again = strcmp(server->last_failure, reason) == 0;
    snprintf(server->last_failure, sizeof server->last_failure, "%s", reason);
    pthread_mutex_unlock(&server->lock);
    if (!again)
        say_log(server, SAY_WARNING, "no suggestion: %s", reason);
}

/* One line of figures, none of the user's text. One write; a full disk loses lines, not the server. The lock is held. */
static void write_stats(struct server *server, json_t *json)
{
    if (server->stats_fd < 0)
        return;
    json_object_del(json, "modelText");
    json_object_del(json, "shown");
    char *line = json_dumps(json, JSON_COMPACT);
    size_t size = line ? strlen(line) : 0;
    if (line) {
        line[size] = '\n'; /* its zero byte's place */
        if (write(server->stats_fd, line, size + 1) < 0)
            size = 0;
    }
    free(line);
}

static void record(struct server *server, struct job *job)
{
    const struct job_report *report = &job->report;
    if (job->recorded)
        return;
    job->recorded = true;
    tally_add(&server->tally, TALLY_PROMPT_TOKENS, (unsigned long long) report->prompt_tokens);
    tally_add(&server->tally, TALLY_CACHED_TOKENS, (unsigned long long) report->cached_tokens);
    tally_add(&server->tally, TALLY_COMPLETION_TOKENS, (unsigned long long) report->completion_tokens);
    if (report->source == SOURCE_RECALL)
        tally_add(&server->tally, TALLY_FROM_RECALL, 1);
    if (report->source == SOURCE_RESUMED)
        tally_add(&server->tally, TALLY_RESUMED, 1);
    if (*report->error) {
        tally_add(&server->tally, TALLY_FAILED, 1);
        say_failure(server, report->error);
    }
    json_t *json = report_json(job);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (text) {
        pthread_mutex_lock(&server->lock);
        free(server->last_report);
        server->last_report = text;
        write_stats(server, json);
        pthread_mutex_unlock(&server->lock);
    }
    json_decref(json);
}

void server_answer(void *user, struct job *job)
{
    struct server *server = user;
    if (job->kind == JOB_ACTION) {
        server_action_answer(server, job);
        return;
    }
    if (!job->report.dropped)
        accept_show(server->accept, job->uri, job->cursor, job->text.data, job->text.size, job->replaced);
    /* Before the answer: whoever has it may ask about it. One that came early is recorded when its job ends. */
    if (job->report.over)
        record(server, job);
    tally_add(&server->tally, job->report.dropped ? TALLY_SUPERSEDED : job->text.size > 0 ? TALLY_SHOWN : TALLY_NOTHING, 1);
    outbox_result(server->outbox, job->id, suggestion_result(job));
}

void server_job_done(void *user, struct job *job)
{
    struct server *server = user;
    if (job->kind >= JOB_SPECULATION)
        tally_add(&server->tally, job->kind == JOB_SPECULATION ? TALLY_SPECULATED : TALLY_WARMED, 1);
    else
        record(server, job);
}

/* ------------------------------------------------------------------ */
/* Requests                                                            */
/* ------------------------------------------------------------------ */

/* A popup's choice at the cursor: the suggestion has to begin with it. Else the range is empty. */
static struct ask_choice read_choice(const struct server *server, const struct document *document, json_t *context,
                                 size_t line, size_t cursor)
{
    json_t *info = json_object_get(context, "selectedCompletionInfo"), *range = json_object_get(info, "range");
    json_t *start = json_object_get(range, "start"), *end = json_object_get(range, "end");
    struct ask_choice choice = {cursor, cursor, NULL};
    const char *text = rpc_string(info, "text");
    if (!text || rpc_integer(start, "line", -1) != (long long) line || rpc_integer(end, "line", -1) != (long long) line)
        return choice;
    long long from_column = rpc_integer(start, "character", -1), to_column = rpc_integer(end, "character", -1);
    if (from_column < 0 || to_column < 0)
        return choice;
    size_t from = document_offset(document, server->encoding, line, (size_t) from_column);
    size_t to = document_offset(document, server->encoding, line, (size_t) to_column);
    if (from <= cursor && cursor <= to)
        choice = (struct ask_choice){from, to, text};
    return choice;
}

/* What stands in the way of any suggestion here; NULL: nothing does. */
static const char *refusal(struct server *server, struct document *document, size_t line, enum job_kind kind)
{
    const struct settings *settings = &server->settings;
    if (!document)
        return "not open";
    if (document->off)
        return "too large";
    if (!server_may_read(server, document))
        return "not wanted";
    if (kind == JOB_AUTOMATIC && settings->trigger == TRIGGER_MANUAL)
        return "manual";
    if (kind == JOB_COMPLETION && settings->completion_mode == COMPLETION_NEVER)
        return "no completion";
    size_t size = gap_text_line_end(&document->text, line) - gap_text_line_start(&document->text, line);
    if (size > LINE_BYTES) {
        if (!document->off_said)
            say_log(server, SAY_INFO, "%s has a line of %zu bytes: no suggestions there", document->uri, size);
        document->off_said = true;
        return "long line";
    }
    return NULL;
}

static void nothing(struct server *server, const struct rpc_message *message, enum job_kind kind, enum tally_kind why)
{
    tally_add(&server->tally, why, 1);
    worker_supersede(server->worker, kind);
    outbox_result(server->outbox, message->id, suggestion_nothing(kind));
}

static void suggest(struct server *server, const struct rpc_message *message, enum job_kind kind)
{
    json_t *position = json_object_get(message->params, "position");
    const char *uri = rpc_string(json_object_get(message->params, "textDocument"), "uri");
    long long line = rpc_integer(position, "line", -1), character = rpc_integer(position, "character", -1);
    tally_add(&server->tally, TALLY_INVOKED + (enum tally_kind) kind, 1);
    if (!uri || line < 0 || character < 0) {
        outbox_error(server->outbox, message->id, RPC_INVALID_PARAMS, "textDocument.uri or position is missing");
        return;
    }
    if (!server->load_asked && server->load_at == 0)
        server_load(server); /* a client that forgot `initialized` */
    struct document *document = documents_find(&server->documents, uri);
    size_t cursor = 0, at_line = 0;
    if (document) {
        cursor = document_offset(document, server->encoding, (size_t) line, (size_t) character);
        at_line = gap_text_line_at(&document->text, cursor);
    }
    if (refusal(server, document, at_line, kind)) {
        nothing(server, message, kind, TALLY_NOT_WANTED);
        return;
    }
    if (worker_state(server->worker) != WORKER_READY) {
        nothing(server, message, kind, TALLY_NOT_READY);
        return;
    }
    char *schema = schema_text(server->schema);
    struct ask ask = {
        .settings = &server->settings,
        .encoding = server->encoding,
        .kind = kind,
        .id = message->id,
        .cursor = cursor,
        .choice = read_choice(server, document, json_object_get(message->params, "context"), at_line, cursor),
        .ring = &server->ring,
        .schema = schema,
    };
    server_focus(server, document, cursor);
    struct job *job = ask_job(&ask, document);
    free(schema);
    if (job) {
        job->report.bridge_ms = 1e3 * (clock_seconds() - server->message_at) + server->apply_ms;
        job->report.bridge_cpu_ms = 1e3 * (clock_thread_seconds() - server->message_cpu) + server->apply_cpu_ms;
    }
    server->apply_ms = server->apply_cpu_ms = 0;
    if (!job || !ask_is_welcome(&server->settings, document, job)) {
        nothing(server, message, kind, job ? TALLY_NOT_WANTED : TALLY_FAILED);
        job_free(job);
        return;
    }
    if (complete_from_recall(job, server->recall)) {
        job->report.bridge_cpu_ms = 1e3 * (clock_thread_seconds() - server->message_cpu);
        worker_supersede(server->worker, kind);
        server_answer(server, job);
        server_job_done(server, job);
        if (job->speculate)
            worker_speculate(server->worker, job);
        job_free(job);
        return;
    }
    worker_submit(server->worker, job);
}

void server_warm_up(struct server *server, struct document *document)
{
    if (!server_may_read(server, document) || worker_state(server->worker) != WORKER_READY)
        return;
    size_t most = 3 * (size_t) server->settings.prefix_tokens, size = document->text.size;
    size_t line = gap_text_line_at(&document->text, size < most ? size : most);
    struct ask ask = {.settings = &server->settings, .kind = JOB_INVOKED, .id = "", .ring = &server->ring,
                      .cursor = gap_text_line_start(&document->text, line)};
    ask.choice = (struct ask_choice){ask.cursor, ask.cursor, NULL};
    struct job *job = ask_warm_up(&ask, document);
    if (job)
        worker_submit(server->worker, job);
}

void server_inline_completion(struct server *server, const struct rpc_message *message)
{
    enum { INVOKED = 1, AUTOMATIC = 2 };
    json_t *context = json_object_get(message->params, "context");
    suggest(server, message, rpc_integer(context, "triggerKind", INVOKED) == AUTOMATIC ? JOB_AUTOMATIC : JOB_INVOKED);
}

void server_completion(struct server *server, const struct rpc_message *message)
{
    suggest(server, message, JOB_COMPLETION);
}

void server_cancel(struct server *server, const struct rpc_message *message)
{
    char *id = rpc_id(json_object_get(message->params, "id"));
    if (id && worker_cancel(server->worker, id)) {
        tally_add(&server->tally, TALLY_CANCELLED, 1);
        outbox_error(server->outbox, id, RPC_REQUEST_CANCELLED, "cancelled");
    }
    free(id);
}
