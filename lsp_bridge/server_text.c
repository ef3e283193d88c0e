/*
 * server_text.c - documents open, change and close
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "server_state.h"

#include "base/clock.h"

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
    size_t size = json_string_length(text);
    if (fits(server, document, size) && !document_set(document, json_string_value(text), size))
        out_of_memory(server, document);
}

static size_t offset_of(const struct server *server, const struct document *document, json_t *position)
{
    long long line = rpc_integer(position, "line", 0), character = rpc_integer(position, "character", 0);
    return document_offset(document, server->encoding, line < 0 ? 0 : (size_t) line,
                           line < 0 || character < 0 ? 0 : (size_t) character);
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
            good = document_set(document, bytes, size);
    } else if (!document->off) {
        size_t from = offset_of(server, document, json_object_get(range, "start"));
        size_t to = offset_of(server, document, json_object_get(range, "end"));
        good = document_change(document, from, to, bytes, size);
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
}

void server_did_close(struct server *server, const struct rpc_message *message)
{
    const char *uri = rpc_string(json_object_get(message->params, "textDocument"), "uri");
    if (!uri)
        return;
    worker_forget(server->worker, uri);
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
    char *room = buffer_reserve(&text, document->text.size);
    if (!room) {
        outbox_error(server->outbox, message->id, RPC_REQUEST_FAILED, "out of memory");
        return;
    }
    gap_text_copy(&document->text, 0, document->text.size, room);
    outbox_result(server->outbox, message->id,
                  json_pack("{s: s, s: s, s: I, s: I, s: b, s: s%}", "uri", document->uri, "languageId",
                            document->language, "version", (json_int_t) document->version, "lineCount",
                            (json_int_t) gap_text_lines(&document->text), "tooLarge", document->off, "text", room,
                            document->text.size));
    buffer_free(&text);
}
