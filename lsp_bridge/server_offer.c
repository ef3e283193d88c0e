/*
 * server_offer.c - what the client can do, and what it is offered
 *
 * What the settings cannot change is offered in the answer to initialize.
 * Completion depends on completion.mode, which a client may tell only when it
 * is asked, and change later: one that can register is told then, and told
 * again when it changes. The others hear of it in the answer to initialize,
 * as far as the settings are known by then.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "server_state.h"

#include <string.h>

#define COMPLETION_ID "dsr1-completion"

static enum position_encoding choose_encoding(json_t *capabilities)
{
    json_t *offered = rpc_path(capabilities, "general.positionEncodings"), *one;
    bool utf8 = false, utf16 = json_array_size(offered) == 0, utf32 = false;
    size_t i;
    json_array_foreach(offered, i, one) {
        const char *name = json_is_string(one) ? json_string_value(one) : "";
        utf8 |= strcmp(name, "utf-8") == 0;
        utf16 |= strcmp(name, "utf-16") == 0;
        utf32 |= strcmp(name, "utf-32") == 0;
    }
    return utf8 ? POSITION_UTF8 : utf16 || !utf32 ? POSITION_UTF16 : POSITION_UTF32;
}

void offer_read_client(struct server *server, json_t *capabilities)
{
    server->encoding = choose_encoding(capabilities);
    server->can_configure = json_is_true(rpc_path(capabilities, "workspace.configuration"));
    server->can_register_settings =
        json_is_true(rpc_path(capabilities, "workspace.didChangeConfiguration.dynamicRegistration"));
    server->can_progress = json_is_true(rpc_path(capabilities, "window.workDoneProgress"));
    server->can_version = json_is_true(rpc_path(capabilities, "workspace.workspaceEdit.documentChanges"));
    json_t *operations = rpc_path(capabilities, "workspace.workspaceEdit.resourceOperations"), *one;
    json_t *resolved = rpc_path(capabilities, "textDocument.codeAction.resolveSupport.properties");
    size_t i;
    json_array_foreach(operations, i, one)
        server->can_create |= json_is_string(one) && strcmp(json_string_value(one), "create") == 0;
    server->can_create &= server->can_version;
    json_array_foreach(resolved, i, one)
        server->can_resolve |= json_is_string(one) && strcmp(json_string_value(one), "edit") == 0;
    server->can_resolve &= json_is_true(rpc_path(capabilities, "textDocument.codeAction.dataSupport"));
    server->has_inline = json_is_object(rpc_path(capabilities, "textDocument.inlineCompletion"));
    server->can_register_completion = json_is_true(rpc_path(capabilities, "textDocument.completion.dynamicRegistration"));
}

static bool wants_completion(const struct server *server)
{
    int mode = server->settings.completion_mode;
    return mode == COMPLETION_ALWAYS || (mode == COMPLETION_AUTO && !server->has_inline);
}

json_t *offer_capabilities(const struct server *server)
{
    json_t *json = json_pack("{s: s, s: {s: b, s: i, s: {s: b}}, s: {}, s: {s: [s, s, s], s: b}, s: {s: o}, s: {s: {s: b, s: b}}}",
                             "positionEncoding", position_encoding_name(server->encoding),
                             "textDocumentSync", "openClose", 1, "change", 2, "save", "includeText", 0,
                             "inlineCompletionProvider",
                             "codeActionProvider", "codeActionKinds", "quickfix", "refactor", "refactor.rewrite",
                             "resolveProvider", 1,
                             "executeCommandProvider", "commands", server_commands(),
                             "workspace", "workspaceFolders", "supported", 1, "changeNotifications", 0);
    if (json && wants_completion(server) && !server->can_register_completion)
        json_object_set_new(json, "completionProvider", json_pack("{s: b}", "resolveProvider", 0));
    return json;
}

void offer_settings(struct server *server)
{
    if (server->can_register_settings)
        server_ask(server, QUESTION_REGISTER, "client/registerCapability",
                   json_pack("{s: [{s: s, s: s, s: {s: s}}]}", "registrations", "id", "dsr1-settings", "method",
                             "workspace/didChangeConfiguration", "registerOptions", "section", "dsr1"));
}

void offer_completion(struct server *server)
{
    bool wanted = wants_completion(server);
    if (!server->can_register_completion || wanted == server->completion_registered)
        return;
    server->completion_registered = wanted;
    if (wanted) /* documentSelector: null means the files for which the client runs us */
        server_ask(server, QUESTION_REGISTER, "client/registerCapability",
                   json_pack("{s: [{s: s, s: s, s: {s: n, s: b}}]}", "registrations", "id", COMPLETION_ID, "method",
                             "textDocument/completion", "registerOptions", "documentSelector", "resolveProvider", 0));
    else /* the protocol spells it so */
        server_ask(server, QUESTION_REGISTER, "client/unregisterCapability",
                   json_pack("{s: [{s: s, s: s}]}", "unregisterations", "id", COMPLETION_ID, "method", "textDocument/completion"));
}
