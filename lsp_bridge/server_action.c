/*
 * server_action.c - code actions: listing, resolving, running, answering
 *
 * Editors ask for the list at every move of the cursor, so it is made from the
 * request and one line of the document.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "server_state.h"

#include "action.h"
#include "base/clock.h"
#include "base/memory.h"
#include "codepoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEARBY_BYTES 1500
#define CODE_BYTES 12000
#define ACTION_TOKENS 512
#define WISH_BYTES 1000
#define REPORT_S 0.1

/* ------------------------------------------------------------------ */
/* The place                                                           */
/* ------------------------------------------------------------------ */

struct lines {
    size_t first, last;         /* whole lines, last included */
    bool empty;                 /* nothing was selected */
};

static bool read_lines(const struct document *document, json_t *range, struct lines *lines)
{
    json_t *start = json_object_get(range, "start"), *end = json_object_get(range, "end");
    long long from = rpc_integer(start, "line", -1), to = rpc_integer(end, "line", -1);
    long long from_column = rpc_integer(start, "character", -1), to_column = rpc_integer(end, "character", -1);
    size_t n = gap_text_lines(&document->text);
    if (from < 0 || to < from || from_column < 0 || to_column < 0)
        return false;
    lines->empty = from == to && from_column == to_column;
    if (to > from && to_column == 0)
        to--; /* a selection of whole lines ends at the start of the next one */
    lines->first = (size_t) from < n ? (size_t) from : n - 1;
    lines->last = (size_t) to < n ? (size_t) to : n - 1;
    return true;
}

/* Appends whole lines with \n as their ends. */
static void copy_lines(const struct document *document, size_t first, size_t last, struct buffer *out)
{
    const struct gap_text *text = &document->text;
    for (size_t line = first; line <= last && line < gap_text_lines(text); line++) {
        gap_text_append(text, gap_text_line_start(text, line), gap_text_line_end(text, line), out);
        buffer_string(out, "\n");
    }
}

/* "dsr1: use a loop" in a comment on the first line is what the user wants changed. Empty when there is none. */
static void read_wish(const struct document *document, size_t line, char wish[WISH_BYTES])
{
    struct buffer text = {0};
    *wish = 0;
    if (gap_text_line_end(&document->text, line) - gap_text_line_start(&document->text, line) < WISH_BYTES) {
        copy_lines(document, line, line, &text);
        const char *at = text.data ? strstr(text.data, "dsr1:") : NULL;
        if (at)
            snprintf(wish, WISH_BYTES, "%.*s", (int) strcspn(at + 5, "\n"), at + 5 + (at[5] == ' '));
        wish[strcspn(wish, "\n")] = 0;
    }
    buffer_free(&text);
}

/* ------------------------------------------------------------------ */
/* Listing                                                             */
/* ------------------------------------------------------------------ */

/* Is `kind` wanted by context.only? "refactor" wants "refactor.rewrite", too. */
static bool is_wanted(json_t *only, const char *kind)
{
    size_t i;
    json_t *one;
    json_array_foreach(only, i, one) {
        const char *prefix = json_is_string(one) ? json_string_value(one) : "";
        size_t n = strlen(prefix);
        if (strncmp(kind, prefix, n) == 0 && (n == 0 || kind[n] == 0 || kind[n] == '.'))
            return true;
    }
    return json_array_size(only) == 0;
}

static json_t *list_item(const struct server *server, enum action_kind kind, json_t *uri, json_t *range, const char *wish)
{
    const struct action_about *about = &action_about[kind];
    json_t *argument = json_pack("{s: O, s: O, s: s}", "uri", uri, "range", range, "instruction", wish);
    json_t *item = json_pack("{s: s, s: s}", "title", about->title, "kind", about->lsp_kind);
    if (item && argument && server->can_resolve && kind != ACTION_EXPLAIN) {
        json_object_set_new(argument, "action", json_string(about->name));
        json_object_set_new(item, "data", argument);
    } else if (item && argument) {
        json_object_set_new(item, "command", json_pack("{s: s, s: s, s: [o]}", "title", about->title, "command",
                                                       about->name, "arguments", argument));
    }
    return item;
}

void server_code_action(struct server *server, const struct rpc_message *message)
{
    json_t *uri = json_object_get(json_object_get(message->params, "textDocument"), "uri"), *list = json_array();
    json_t *context = json_object_get(message->params, "context"), *only = json_object_get(context, "only");
    json_t *range = json_object_get(message->params, "range"), *diagnostics = json_object_get(context, "diagnostics");
    struct document *document = json_is_string(uri) ? documents_find(&server->documents, json_string_value(uri)) : NULL;
    struct lines lines;
    char wish[WISH_BYTES];
    enum { AUTOMATIC = 2 };
    bool moved = rpc_integer(context, "triggerKind", 0) == AUTOMATIC;
    if (document && server_may_read(server, document) && read_lines(document, range, &lines)) {
        document->place = gap_text_line_start(&document->text, lines.first);
        read_wish(document, lines.first, wish);
        const char *mistake = rpc_string(json_array_get(diagnostics, 0), "message");
        for (int kind = 0; kind < ACTION_KINDS; kind++) {
            bool fits = kind == ACTION_FIX ? mistake != NULL
                                           : !(lines.empty && moved) && (kind != ACTION_REWRITE || *wish);
            if (fits && is_wanted(only, action_about[kind].lsp_kind))
                json_array_append_new(list, list_item(server, (enum action_kind) kind, uri, range,
                                                      kind == ACTION_FIX ? mistake : kind == ACTION_REWRITE ? wish : ""));
        }
    }
    outbox_result(server->outbox, message->id, list);
}

/* ------------------------------------------------------------------ */
/* Running                                                             */
/* ------------------------------------------------------------------ */

static void fill_code(struct action *action, const struct document *document, const struct lines *lines)
{
    copy_lines(document, lines->first, lines->last, &action->code);
    size_t from = lines->first, bytes = 0;
    while (from > 0 && bytes < NEARBY_BYTES) {
        from--;
        bytes += gap_text_line_end(&document->text, from) - gap_text_line_start(&document->text, from) + 1;
    }
    if (from < lines->first && bytes < 4 * NEARBY_BYTES)
        copy_lines(document, from, lines->first - 1, &action->nearby);
    size_t lead = action->code.data ? strspn(action->code.data, " \t") : 0;
    action->indent = strndup(action->code.data ? action->code.data : "", lead);
    action->line_end = strdup(document_line_end(document));
    action->language = strdup(document->language);
    action->version = document->version;
    action->range = json_pack("{s: {s: I, s: i}, s: {s: I, s: i}}", "start", "line", (json_int_t) lines->first, "character",
                              0, "end", "line", (json_int_t) lines->last + 1, "character", 0);
}

static struct job *action_job(struct server *server, const char *id, enum action_kind kind, json_t *argument,
                              const struct document *document, const struct lines *lines)
{
    struct job *job = memory_array(1, sizeof *job);
    struct action *action = job ? memory_array(1, sizeof *action) : NULL;
    if (!action) {
        job_free(job);
        return NULL;
    }
    const char *wish = rpc_string(argument, "instruction");
    char comment[WISH_BYTES];
    read_wish(document, lines->first, comment);
    job->kind = JOB_ACTION;
    job->action = action;
    job->id = strdup(id);
    job->uri = strdup(document->uri);
    job->max_tokens = ACTION_TOKENS;
    job->received_at = clock_seconds();
    action->kind = kind;
    action->uri = strdup(document->uri);
    action->wish = strdup(wish ? wish : kind == ACTION_REWRITE ? comment : "");
    fill_code(action, document, lines);
    if (!job->id || !job->uri || !action->uri || !action->wish || !action->indent || !action->line_end ||
        !action->language || !action->range || action->code.failed || action->nearby.failed) {
        job_free(job);
        return NULL;
    }
    return job;
}

/* Where the answer can be followed: the client's token, or one that we ask it to make. */
static void start_progress(struct server *server, struct action *action, json_t *token)
{
    if (token) {
        action->token = json_incref(token);
    } else if (server->can_progress) {
        char name[40];
        snprintf(name, sizeof name, "dsr1-action-%u", ++server->n_actions);
        action->token = json_string(name);
        server_ask(server, QUESTION_ACTION, "window/workDoneProgress/create", json_pack("{s: s}", "token", name));
    }
    action->own_token = !token;
}

/* The reason why an action cannot run, or NULL and it is on its way. */
static const char *start(struct server *server, const char *id, enum action_kind kind, json_t *argument, json_t *token,
                         json_t *original)
{
    const char *uri = rpc_string(argument, "uri");
    struct document *document = uri ? documents_find(&server->documents, uri) : NULL;
    struct lines lines;
    if (!document || !server_may_read(server, document))
        return "no such document, or none that may be read";
    if (!read_lines(document, json_object_get(argument, "range"), &lines))
        return "range is missing";
    if (gap_text_line_end(&document->text, lines.last) - gap_text_line_start(&document->text, lines.first) > CODE_BYTES)
        return "the selection is too long";
    if (worker_state(server->worker) != WORKER_READY)
        return "the model is not ready";
    struct job *job = action_job(server, id, kind, argument, document, &lines);
    if (!job)
        return "out of memory";
    if (kind == ACTION_REWRITE && !*job->action->wish) {
        job_free(job);
        return "instruction is missing";
    }
    job->action->original = json_incref(original);
    job->action->resolve = original != NULL;
    start_progress(server, job->action, token);
    tally_add(&server->tally, TALLY_ACTIONS, 1);
    worker_submit(server->worker, job);
    return NULL;
}

bool server_action_command(struct server *server, const struct rpc_message *message, const char *name)
{
    int kind = action_find(name);
    if (kind < 0)
        return false;
    json_t *argument = json_array_get(json_object_get(message->params, "arguments"), 0);
    const char *problem = start(server, message->id, (enum action_kind) kind, argument,
                                json_object_get(message->params, "workDoneToken"), NULL);
    if (problem)
        outbox_error(server->outbox, message->id, RPC_INVALID_PARAMS, problem);
    return true;
}

void server_resolve_action(struct server *server, const struct rpc_message *message)
{
    json_t *data = json_object_get(message->params, "data");
    const char *name = rpc_string(data, "action");
    int kind = name ? action_find(name) : -1;
    if (kind < 0) {
        outbox_result(server->outbox, message->id, json_incref(message->params)); /* nothing of ours to add */
        return;
    }
    const char *problem = start(server, message->id, (enum action_kind) kind, data,
                                json_object_get(message->params, "workDoneToken"), message->params);
    if (problem)
        outbox_error(server->outbox, message->id, RPC_INVALID_PARAMS, problem);
}

/* ------------------------------------------------------------------ */
/* Progress and answers (worker's thread)                              */
/* ------------------------------------------------------------------ */

static void tell(struct server *server, const struct action *action, json_t *value)
{
    outbox_notify(server->outbox, "$/progress", json_pack("{s: O, s: o}", "token", action->token, "value", value));
}

/* May the token be used? Ours only once the client has said so. */
static bool is_open(struct server *server, const struct action *action)
{
    if (!action->token || !action->own_token)
        return action->token != NULL;
    pthread_mutex_lock(&server->lock);
    char name[40];
    snprintf(name, sizeof name, "dsr1-action-%u", server->action_allowed);
    bool open = strcmp(name, json_string_value(action->token)) == 0;
    pthread_mutex_unlock(&server->lock);
    return open;
}

/* The last line of the text, at most 100 bytes and whole characters of it. */
static json_t *last_line(const struct buffer *text)
{
    size_t end = text->size, start = end;
    while (end > 0 && (text->data[end - 1] == '\n' || text->data[end - 1] == ' '))
        end--;
    start = end;
    while (start > 0 && text->data[start - 1] != '\n' && (end - start < 100 || codepoint_continues(text->data[start])))
        start--;
    json_t *json = json_stringn(text->data ? text->data + start : "", end - start);
    return json ? json : json_string("");
}

void server_action_progress(void *user, const struct job *job)
{
    struct server *server = user;
    struct action *action = job->action;
    double now = clock_seconds();
    if (now - action->told_at < REPORT_S || !is_open(server, action))
        return;
    if (action->told_at == 0)
        tell(server, action, json_pack("{s: s, s: s, s: b}", "kind", "begin", "title", action_about[action->kind].title,
                                       "cancellable", 0));
    else
        tell(server, action, json_pack("{s: s, s: o}", "kind", "report", "message", last_line(&action->draft.text)));
    action->told_at = now;
}

/* What the request gets, and the change of the workspace where there is one. */
static json_t *result(struct server *server, const struct action *action, const struct buffer *text)
{
    json_t *edit = action_edit(action, text->data, server->can_create, server->can_version);
    json_t *words = json_stringn(text->data, text->size), *answer;
    if (action->resolve) {
        json_decref(words);
        answer = json_copy(action->original);
        if (answer && edit)
            json_object_set_new(answer, "edit", edit);
        return answer;
    }
    if (edit)
        server_ask(server, QUESTION_EDIT, "workspace/applyEdit",
                   json_pack("{s: s, s: o}", "label", action_about[action->kind].title, "edit", edit));
    else if (action->kind == ACTION_EXPLAIN && words)
        outbox_notify(server->outbox, "window/showMessage",
                      json_pack("{s: i, s: O}", "type", SAY_INFO, "message", words));
    return json_pack("{s: o, s: b}", "text", words ? words : json_string(""), "applied", edit != NULL);
}

void server_action_answer(struct server *server, const struct job *job)
{
    struct action *action = job->action;
    struct buffer text = {0};
    if (!action) {
        outbox_error(server->outbox, job->id, RPC_REQUEST_CANCELLED, "not wanted any more");
        return;
    }
    if (action->told_at > 0)
        tell(server, action, json_pack("{s: s}", "kind", "end"));
    action_answer(action, action->draft.text.data ? action->draft.text.data : "", action->draft.text.size, &text);
    if (action->failed)
        outbox_error(server->outbox, job->id, RPC_REQUEST_FAILED, job->report.error);
    else if (text.failed || text.size == 0)
        outbox_error(server->outbox, job->id, RPC_REQUEST_FAILED, "the model said nothing");
    else
        outbox_result(server->outbox, job->id, result(server, action, &text));
    buffer_free(&text);
}
