/*
 * rpc.h - one JSON-RPC message, taken apart
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_RPC_H
#define LSP_RPC_H

#include <jansson.h>
#include <stddef.h>

enum rpc_code {
    RPC_PARSE_ERROR = -32700,
    RPC_INVALID_REQUEST = -32600,
    RPC_METHOD_NOT_FOUND = -32601,
    RPC_INVALID_PARAMS = -32602,
    RPC_SERVER_NOT_INITIALIZED = -32002,
    RPC_REQUEST_CANCELLED = -32800,
    RPC_REQUEST_FAILED = -32803
};

enum rpc_kind {
    RPC_REQUEST,
    RPC_NOTIFICATION,
    RPC_RESPONSE,
    RPC_BAD         /* answer with code, reason and id */
};

struct rpc_message {
    enum rpc_kind kind;
    json_t *root;           /* owns what the others point to */
    const char *method;     /* "" for a response */
    json_t *params;         /* an object or array, or NULL */
    json_t *result;         /* of a response; NULL for an error */
    char *id;               /* as JSON text, so that 0 and "0" stay two; "null" where there is none */
    enum rpc_code code;
    const char *reason;
};

/*
 * Reads a body. Ill-formed text inside a document that is opened or changed is
 * repaired; anything else that is no JSON is RPC_BAD. End with rpc_free().
 */
void rpc_parse(struct rpc_message *message, const char *body, size_t size);
void rpc_free(struct rpc_message *message);

/* Members of params, checked: NULL or the fallback where missing or of another type. */
const char *rpc_string(json_t *object, const char *key);
long long rpc_integer(json_t *object, const char *key, long long fallback);

/* The member at a path like "textDocument.inlineCompletion"; NULL where there is none. */
json_t *rpc_path(json_t *object, const char *path);

/* The text of an id as struct rpc_message has it; NULL when it is no valid id or memory is short. The caller frees. */
char *rpc_id(const json_t *id);

#endif
