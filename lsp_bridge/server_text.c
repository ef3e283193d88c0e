/*
 * server_text.c - documents open, change and close
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "server_state.h"

#include "base/clock.h"
#include "ignore.h"

#include <string.h>

/* A file that is too large is not kept; it is suggested nothing in, and the log says so once. */
static bool fits(struct server *server, struct document *document, size_t size)
{
    document->off = (long long) size > server->settings.file_bytes;
    if (document->off) {
        gap_text_free(&document->text);
        if (!document->off_said)
            say_log(server, SAY_INFO, "%s has %zu bytes, over limits.fileBytes: no suggestions there", document->uri, size);
        document->off_said = true;
    }
    return !document->off;
}

static void out_of_memory(struct server *server, struct document *document)
{
    document->off = true;
    gap_text_free(&document->text);
    say_log(server, SAY_ERROR, "out of memory for %s: no suggestions there", document->uri);
}

bool server_may_read(const struct server *server, const struct document *document)
{
    return !document->off && !document->ignored && !server->switched_off &&
           settings_allow(&server->settings, document->language, document->uri);
}

/* The user is at a place of a document now. What was looked at in the one before may help here. */
void server_focus(struct server *server, struct document *document, size_t place)
{
    const struct settings *settings = &server->settings;
    struct document *before = server->focus;
    server->focus = document;
    document->place = place;
    if (before && before != document && server_may_read(server, before))
        ring_take(&server->ring, before, (size_t) settings->ring_chunks, (size_t) settings->ring_chunk_lines);
}

void server_did_open(struct server *server, const struct rpc_message *message)
{
    json_t *item = json_object_get(message->params, "textDocument"), *text = json_object_get(item, "text");
    const char *uri = rpc_string(item, "uri"), *language = rpc_string(item, "languageId");
    if (!uri || !json_is_string(text)) {
        say_log(server, SAY_LOG, "textDocument/didOpen without uri or text");
        return;
    }
    if (!documents_find(&server->documents, uri) &&
        server->documents.n_open >= (size_t) server->settings.max_documents) {
        say_log(server, SAY_INFO, "%s is over limits.docs: no suggestions there", uri);
        return;
    }
    worker_forget(server->worker, uri);
    struct document *document = documents_open(&server->documents, uri, language ? language : "");
    if (!document) {
        say_log(server, SAY_ERROR, "out of memory for %s: no suggestions there", uri);
        return;
    }
    document->version = rpc_integer(item, "version", 0);
    document->ignored = ignore_file(server->settings.ignore_files, uri);
    size_t size = json_string_length(text);
    if (fits(server, document, size) && !document_set(document, json_string_value(text), size))
        out_of_memory(server, document);
    ring_forget(&server->ring, uri); /* it may have become a file that must not be read */
    server_warm_up(server, document);
}

static size_t offset_of(const struct server *server, const struct document *document, json_t *position)
{
    long long line = rpc_integer(position, "line", 0), character = rpc_integer(position, "character", 0);
    return document_offset(document, server->encoding, line < 0 ? 0 : (size_t) line,
                           line < 0 || character < 0 ? 0 : (size_t) character);
}

/* Clients that send the whole text: what differs is the change. */
static bool set_text(struct server *server, struct document *document, const char *bytes, size_t size)
{
    size_t from, removed;
    gap_text_differs(&document->text, bytes, size, &from, &removed);
    size_t added = size + removed - document->text.size;
    accept_change(server->accept, document, from, from + removed, bytes + from, added);
    server_focus(server, document, from + added);
    return document_change(document, from, from + removed, bytes + from, added);
}

static void apply_change(struct server *server, struct document *document, json_t *change)
{
    json_t *text = json_object_get(change, "text"), *range = json_object_get(change, "range");
    if (!json_is_string(text)) {
        say_log(server, SAY_LOG, "a change of %s without text", document->uri);
        return;
    }
    const char *bytes = json_string_value(text);
    size_t size = json_string_length(text);
    bool good = true;
    if (!json_is_object(range)) {
        if (fits(server, document, size))
            good = set_text(server, document, bytes, size);
    } else if (!document->off) {
        size_t from = offset_of(server, document, json_object_get(range, "start"));
        size_t to = offset_of(server, document, json_object_get(range, "end"));
        accept_change(server->accept, document, from < to ? from : to, from < to ? to : from, bytes, size);
        good = document_change(document, from, to, bytes, size);
        server_focus(server, document, (from < to ? from : to) + size);
        if (good)
            fits(server, document, document->text.size);
    }
    if (!good)
        out_of_memory(server, document);
}

void server_did_change(struct server *server, const struct rpc_message *message)
{
    json_t *item = json_object_get(message->params, "textDocument"), *change;
    const char *uri = rpc_string(item, "uri");
    struct document *document = uri ? documents_find(&server->documents, uri) : NULL;
    if (!document) {
        say_log(server, SAY_LOG, "a change of %s, which is not open", uri ? uri : "nothing");
        return;
    }
    size_t i;
    json_array_foreach(json_object_get(message->params, "contentChanges"), i, change)
        apply_change(server, document, change);
    document->version = rpc_integer(item, "version", document->version);
    document_touch(document, clock_seconds());
    accept_look(server->accept, document, false);
    server->apply_ms = 1e3 * (clock_seconds() - server->message_at);
    server->apply_cpu_ms = 1e3 * (clock_thread_seconds() - server->message_cpu);
}

void server_did_save(struct server *server, const struct rpc_message *message)
{
    const char *uri = rpc_string(json_object_get(message->params, "textDocument"), "uri");
    struct document *document = uri ? documents_find(&server->documents, uri) : NULL;
    if (document)
        accept_look(server->accept, document, true);
}

void server_did_close(struct server *server, const struct rpc_message *message)
{
    const char *uri = rpc_string(json_object_get(message->params, "textDocument"), "uri");
    if (!uri)
        return;
    worker_forget(server->worker, uri);
    struct document *document = documents_find(&server->documents, uri);
    if (document && server->focus == document) {
        if (server_may_read(server, document))
            ring_take(&server->ring, document, (size_t) server->settings.ring_chunks,
                      (size_t) server->settings.ring_chunk_lines);
        server->focus = NULL;
    }
    accept_forget(server->accept, uri);
    documents_close(&server->documents, uri);
}

/* dsr1/document: what the server believes the text to be, for those who look for errors. */
void server_document(struct server *server, const struct rpc_message *message)
{
    const char *uri = rpc_string(json_object_get(message->params, "textDocument"), "uri");
    const struct document *document = uri ? documents_find(&server->documents, uri) : NULL;
    if (!document) {
        outbox_result(server->outbox, message->id, json_null());
        return;
    }
    struct buffer text = {0};
    gap_text_append(&document->text, 0, document->text.size, &text);
    if (text.failed) {
        outbox_error(server->outbox, message->id, RPC_REQUEST_FAILED, "out of memory");
        return;
    }
    outbox_result(server->outbox, message->id,
                  json_pack("{s: s, s: s, s: I, s: I, s: b, s: s%}", "uri", document->uri, "languageId",
                            document->language, "version", (json_int_t) document->version, "lineCount",
                            (json_int_t) gap_text_lines(&document->text), "tooLarge", document->off, "text",
                            text.size ? text.data : "", text.size));
    buffer_free(&text);
}
