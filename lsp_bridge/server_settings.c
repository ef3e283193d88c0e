/*
 * server_settings.c - the configuration, wherever it comes from, and the model it names
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "server_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* How long a client that offers its configuration may take before the model loads without it. */
#define PATIENCE_S 0.3

static void complain(const char *line, void *user)
{
    struct server *server = user;
    if (json_object_get(server->complained, line))
        return;
    json_object_set_new(server->complained, line, json_true());
    say_log(server, SAY_WARNING, "%s", line);
}

static void open_stats(struct server *server)
{
    const char *path = server->settings.stats_file;
    pthread_mutex_lock(&server->lock);
    if (strcmp(path, server->stats_path) != 0) {
        if (server->stats_fd >= 0)
            close(server->stats_fd);
        server->stats_fd = *path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
        snprintf(server->stats_path, sizeof server->stats_path, "%s", path);
        if (*path && server->stats_fd < 0)
            log_line(LOG_WARN, "cannot write to %s", path);
    }
    pthread_mutex_unlock(&server->lock);
}

/* Puts the sources together again. */
static void rebuild(struct server *server)
{
    int level = server->settings.log_level;
    char log_file[sizeof server->settings.log_file];
    memcpy(log_file, server->settings.log_file, sizeof log_file);
    settings_free(&server->settings);
    settings_defaults(&server->settings);
    settings_apply(&server->settings, server->initial, complain, server);
    settings_apply(&server->settings, server->configured, complain, server);
    settings_apply(&server->settings, server->options->settings, complain, server);
    recall_limit(server->recall, (size_t) server->settings.cache_results);
    recall_clear(server->recall); /* texts were cut by the old settings */
    open_stats(server);
    if (level != server->settings.log_level || strcmp(log_file, server->settings.log_file) != 0)
        say_to(server->settings.log_file, server->settings.log_level);
}

void server_settings_start(struct server *server, json_t *initialization_options)
{
    server->complained = json_object();
    json_t *own = json_object_get(initialization_options, "dsr1");
    server->initial = json_incref(own ? own : initialization_options);
    rebuild(server);
}

/* A cause is shown once, whichever part meets it first. */
static void show_once(struct server *server, enum say_type type, const char *message)
{
    pthread_mutex_lock(&server->lock);
    bool again = strcmp(server->last_failure, message) == 0;
    snprintf(server->last_failure, sizeof server->last_failure, "%s", message);
    pthread_mutex_unlock(&server->lock);
    if (!again)
        say_show(server, type, message);
}

static void schema_failed(void *user, const char *message)
{
    show_once(user, SAY_WARNING, message);
}

/* Follows the database that the settings name, for whichever backend. */
static void follow_schema(struct server *server)
{
    const struct settings *settings = &server->settings;
    char wish[sizeof server->schema_wish];
    snprintf(wish, sizeof wish, "%d %d %s", settings->pg_schema, settings->pg_schema_ttl_s, settings->pg_conninfo);
    if (strcmp(wish, server->schema_wish) == 0)
        return;
    memcpy(server->schema_wish, wish, sizeof wish);
    schema_close(server->schema);
    struct pg_wish pg = {settings->pg_conninfo, settings->pg_connect_ms, settings->pg_statement_ms};
    bool wanted = *settings->pg_conninfo && settings->pg_schema != SCHEMA_OFF;
    server->schema = wanted ? schema_open(&pg, settings->pg_schema == SCHEMA_COLUMNS, settings->pg_schema_ttl_s,
                                          schema_failed, server)
                            : NULL;
}

/* What the settings mean outside: completion, the database, and the model, unless it is the one that is there. */
void server_load(struct server *server)
{
    const struct settings *settings = &server->settings;
    server->load_at = 0;
    follow_schema(server);
    offer_completion(server);
    static struct worker_wish wish; /* too large for a stack; one thread loads */
    memset(&wish, 0, sizeof wish);
    wish.threads = settings->threads;
    wish.context = settings->context;
    wish.kv_mib = settings->kv_mib;
    wish.prompt = settings->prompt;
    wish.connect_ms = settings->pg_connect_ms;
    wish.statement_ms = settings->pg_statement_ms;
    snprintf(wish.path, sizeof wish.path, "%s", settings->model);
    if (settings->backend == BACKEND_PG) /* an empty one means what libpq's environment says */
        snprintf(wish.conninfo, sizeof wish.conninfo, "%s", *settings->pg_conninfo ? settings->pg_conninfo : " ");
    if (server->load_asked && memcmp(&wish, &server->loaded, sizeof wish) == 0)
        return;
    server->load_asked = true;
    server->loaded = wish;
    worker_load(server->worker, &wish);
    say_progress_start(server);
}

void server_model_loaded(void *user, enum worker_state state, const char *message)
{
    struct server *server = user;
    say_progress_end(server);
    if (state == WORKER_READY) {
        say_log(server, SAY_INFO, "%s", message);
        return;
    }
    show_once(server, SAY_ERROR, message);
}

void server_settings_pull(struct server *server)
{
    if (!server->can_configure) {
        server_load(server);
        return;
    }
    server_ask(server, QUESTION_SETTINGS, "workspace/configuration", json_pack("{s: [{s: s}]}", "items", "section", "dsr1"));
    if (!server->load_asked)
        server->load_at = clock_seconds() + PATIENCE_S;
}

static void configure(struct server *server, json_t *section)
{
    json_decref(server->configured);
    server->configured = json_incref(section);
    rebuild(server);
    server_load(server);
}

void server_settings_pulled(struct server *server, json_t *result)
{
    configure(server, json_array_get(result, 0));
}

/* Clients send {settings: {}} or null, or the section itself; those who can be asked are asked. */
void server_did_change_configuration(struct server *server, const struct rpc_message *message)
{
    json_t *settings = json_object_get(message->params, "settings"), *own = json_object_get(settings, "dsr1");
    if (server->can_configure)
        server_settings_pull(server);
    else if (json_is_object(own))
        configure(server, own);
}
