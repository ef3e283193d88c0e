/*
 * server_command.c - workspace/executeCommand
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "server_state.h"

#include "action.h"

#include <string.h>

json_t *server_status_json(struct server *server)
{
    static const char *const states[] = {"idle", "loading", "ready", "failed"};
    struct worker_model model;
    json_t *json = json_pack("{s: s, s: s, s: s, s: b, s: i, s: s}", "version", dsr1_version(), "state",
                             states[worker_state(server->worker)], "cpu", dsr1_cpu_name(), "enabled",
                             server->settings.enabled && !server->switched_off, "documents",
                             (int) server->documents.n_open, "positionEncoding",
                             position_encoding_name(server->encoding));
    pthread_mutex_lock(&server->lock);
    if (worker_state(server->worker) == WORKER_FAILED)
        json_object_set_new(json, "failure", json_string(server->last_failure));
    pthread_mutex_unlock(&server->lock);
    bool known = worker_model(server->worker, &model);
    json_object_set_new(json, "backend", json_string(server->settings.backend == BACKEND_PG ? "pg" : "core"));
    if (known && model.remote)
        json_object_set_new(json, "server", json_string(model.path));
    else if (known)
        json_object_set_new(
            json, "model",
            json_pack("{s: s, s: s, s: s, s: s, s: I, s: s, s: b, s: i, s: i, s: f}", "path", model.path, "name", model.name,
                      "architecture", model.architecture, "type", model.file_type, "parameters",
                      (json_int_t) model.parameters, "prompt", job_prompt_name(model.prompt), "promptRemembered", model.remembered, "threads",
                      model.engine.n_threads, "context", model.engine.context_size, "loadMs", model.load_ms));
    return json;
}

static json_t *status(struct server *server, json_t *arguments)
{
    return server_status_json(server);
}

static json_t *stats(struct server *server, json_t *arguments)
{
    struct worker_model model;
    json_t *json = tally_json(&server->tally);
    if (worker_model(server->worker, &model))
        json_object_set_new(json, "engine",
                            json_pack("{s: I, s: I, s: I, s: I, s: I}", "requests", (json_int_t) model.engine.n_requests,
                                      "cancelled", (json_int_t) model.engine.n_cancelled, "steps",
                                      (json_int_t) model.engine.n_steps, "kvUsed", (json_int_t) model.engine.kv_used,
                                      "kvSize", (json_int_t) model.engine.kv_size));
    return json;
}

static json_t *toggle(struct server *server, json_t *arguments)
{
    json_t *wish = json_array_get(arguments, 0);
    server->switched_off = json_is_boolean(wish) ? json_is_false(wish) : !server->switched_off;
    if (server->switched_off)
        worker_forget(server->worker, NULL);
    return json_pack("{s: b}", "enabled", server->settings.enabled && !server->switched_off);
}

static json_t *accepted(struct server *server, json_t *arguments)
{
    accept_reported(server->accept);
    return json_null();
}

static json_t *clear_cache(struct server *server, json_t *arguments)
{
    recall_clear(server->recall);
    return json_null();
}

static json_t *explain_last(struct server *server, json_t *arguments)
{
    pthread_mutex_lock(&server->lock);
    json_t *json = server->last_report ? json_loads(server->last_report, JSON_ALLOW_NUL, NULL) : json_null();
    pthread_mutex_unlock(&server->lock);
    return json;
}

static json_t *refresh_schema(struct server *server, json_t *arguments)
{
    schema_refresh(server->schema);
    return json_pack("{s: b}", "database", server->schema != NULL);
}

static const struct {
    const char *name;
    json_t *(*run)(struct server *server, json_t *arguments);
} commands[] = {
    {"dsr1.accepted", accepted}, {"dsr1.clearCache", clear_cache}, {"dsr1.explainLast", explain_last},
    {"dsr1.refreshSchema", refresh_schema}, {"dsr1.stats", stats}, {"dsr1.status", status}, {"dsr1.toggle", toggle},
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

json_t *server_commands(void)
{
    json_t *names = json_array();
    for (size_t i = 0; i < N_COMMANDS; i++)
        json_array_append_new(names, json_string(commands[i].name));
    for (int i = 0; i < ACTION_KINDS; i++)
        json_array_append_new(names, json_string(action_about[i].name));
    return names;
}

void server_execute_command(struct server *server, const struct rpc_message *message)
{
    const char *name = rpc_string(message->params, "command");
    if (name && server_action_command(server, message, name))
        return;
    for (size_t i = 0; name && i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            outbox_result(server->outbox, message->id,
                          commands[i].run(server, json_object_get(message->params, "arguments")));
            return;
        }
    }
    outbox_error(server->outbox, message->id, RPC_INVALID_PARAMS, "no such command");
}
