/*
 * rpc.c - one JSON-RPC message, taken apart
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "rpc.h"

#include "json_repair.h"
#include "long_text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void bad(struct rpc_message *message, enum rpc_code code, const char *reason)
{
    message->kind = RPC_BAD;
    message->code = code;
    message->reason = reason;
}

static bool carries_text(const char *method)
{
    return strcmp(method, "textDocument/didOpen") == 0 || strcmp(method, "textDocument/didChange") == 0;
}

/* The second try, after a failed parse: only messages that bring document text may have been repaired. */
static json_t *parse_repaired(const char *body, size_t size)
{
    struct buffer repaired = {0};
    json_repair(body, size, &repaired);
    json_t *root = repaired.failed || !repaired.data ? NULL : json_loadb(repaired.data, repaired.size, 0, NULL);
    buffer_free(&repaired);
    const char *method = json_string_value(json_object_get(root, "method"));
    if (root && !(method && carries_text(method))) {
        json_decref(root);
        return NULL;
    }
    return root;
}

char *rpc_id(const json_t *id)
{
    if (!json_is_string(id) && !json_is_integer(id) && !json_is_real(id))
        return NULL;
    return json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT);
}

static void classify(struct rpc_message *message)
{
    json_t *root = message->root, *id = json_object_get(root, "id"), *method = json_object_get(root, "method");
    const char *version = json_string_value(json_object_get(root, "jsonrpc"));
    if (id && (message->id = rpc_id(id)) == NULL && (!json_is_null(id) || method)) {
        bad(message, RPC_INVALID_REQUEST, "id is neither a string nor a number");
    } else if (!version || strcmp(version, "2.0") != 0) {
        bad(message, RPC_INVALID_REQUEST, "jsonrpc is not \"2.0\"");
    } else if (json_is_string(method)) {
        message->kind = id ? RPC_REQUEST : RPC_NOTIFICATION;
        message->method = json_string_value(method);
        message->params = json_object_get(root, "params");
        if (message->params && !json_is_object(message->params) && !json_is_array(message->params))
            message->params = NULL;
    } else if (!method && id && (json_object_get(root, "result") || json_object_get(root, "error"))) {
        message->kind = RPC_RESPONSE;
        message->result = json_object_get(root, "error") ? NULL : json_object_get(root, "result");
    } else {
        bad(message, RPC_INVALID_REQUEST, "neither a request nor a response");
    }
}

void rpc_parse(struct rpc_message *message, const char *body, size_t size)
{
    *message = (struct rpc_message){.method = ""};
    message->root = long_text_parse(body, size);
    if (!message->root)
        message->root = json_loadb(body, size, 0, NULL);
    if (!message->root)
        message->root = parse_repaired(body, size);
    if (!message->root)
        bad(message, RPC_PARSE_ERROR, "not valid JSON");
    else if (json_is_array(message->root))
        bad(message, RPC_INVALID_REQUEST, "LSP has no batches");
    else
        classify(message);
    if (!message->id)
        message->id = strdup("null");
    if (!message->id) { /* no memory for four letters; keep going without this message */
        message->kind = RPC_NOTIFICATION;
        message->method = "";
    }
}

void rpc_free(struct rpc_message *message)
{
    json_decref(message->root);
    free(message->id);
    *message = (struct rpc_message){0};
}

const char *rpc_string(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

long long rpc_integer(json_t *object, const char *key, long long fallback)
{
    json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

json_t *rpc_path(json_t *object, const char *path)
{
    while (object && *path) {
        size_t n = strcspn(path, ".");
        object = json_object_getn(object, path, n);
        path += n + (path[n] == '.');
    }
    return object;
}
