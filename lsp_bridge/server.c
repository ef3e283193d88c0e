/*
 * server.c - the language server: reading, lifecycle, dispatch
 *
 * The reader thread (the caller's) applies every message in the order it came.
 * It never computes and never waits for the client, so a change of the text
 * costs microseconds even while the model is busy.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "server_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "header_reader.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define READ_BYTES 65536

/* ------------------------------------------------------------------ */
/* Lifecycle                                                           */
/* ------------------------------------------------------------------ */

/* Ends with the editor even when it dies without a word. A process that cannot be seen (another pid namespace) is not watched. */
static int watch_process(long long pid)
{
    if (pid <= 1 || pid > INT32_MAX)
        return -1;
    return (int) syscall(SYS_pidfd_open, (pid_t) pid, 0);
}

static void initialize(struct server *server, const struct rpc_message *message)
{
    json_t *params = message->params;
    offer_read_client(server, json_object_get(params, "capabilities"));
    server_settings_start(server, json_object_get(params, "initializationOptions"));
    server->phase = PHASE_RUNNING;
    if (server->parent_fd < 0)
        server->parent_fd = watch_process(rpc_integer(params, "processId", 0));
    outbox_result(server->outbox, message->id,
                  json_pack("{s: o, s: {s: s, s: s}}", "capabilities", offer_capabilities(server),
                            "serverInfo", "name", "dsr1-lsp", "version", dsr1_version()));
}

static void initialized(struct server *server, const struct rpc_message *message)
{
    offer_settings(server);
    server_settings_pull(server);
}

static void shut_down(struct server *server, const struct rpc_message *message)
{
    worker_forget(server->worker, NULL);
    server->phase = PHASE_SHUT_DOWN;
    outbox_result(server->outbox, message->id, json_null());
}

static void leave(struct server *server, int status)
{
    server->exiting = true;
    server->status = status;
}

static void on_exit_notification(struct server *server, const struct rpc_message *message)
{
    leave(server, server->phase == PHASE_SHUT_DOWN ? 0 : 1);
}

static void ignore(struct server *server, const struct rpc_message *message)
{
}

static void count_shown(struct server *server, const struct rpc_message *message)
{
    tally_add(&server->tally, TALLY_SHOWN_REPORTED, 1);
}

static void count_partial(struct server *server, const struct rpc_message *message)
{
    tally_add(&server->tally, TALLY_PARTLY_ACCEPTED, 1);
}

/* ------------------------------------------------------------------ */
/* Our questions to the client                                         */
/* ------------------------------------------------------------------ */

void server_ask(struct server *server, enum question question, const char *method, json_t *params)
{
    char id[sizeof server->questions[0].id];
    pthread_mutex_lock(&server->lock);
    /* A client may never answer; the oldest question gives way. */
    unsigned n = server->n_questions++;
    snprintf(id, sizeof id, "\"dsr1-%u\"", n);
    memcpy(server->questions[n % QUESTIONS].id, id, sizeof id);
    server->questions[n % QUESTIONS].question = question;
    pthread_mutex_unlock(&server->lock);
    outbox_request(server->outbox, id, method, params);
}

static void on_response(struct server *server, const struct rpc_message *message)
{
    enum question question = QUESTION_NONE;
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < QUESTIONS; i++) {
        if (server->questions[i].question != QUESTION_NONE && strcmp(server->questions[i].id, message->id) == 0) {
            question = server->questions[i].question;
            server->questions[i].question = QUESTION_NONE;
        }
    }
    if (question == QUESTION_ACTION && message->result)
        server->action_allowed = server->n_actions;
    pthread_mutex_unlock(&server->lock);
    if (question == QUESTION_SETTINGS)
        server_settings_pulled(server, message->result);
    else if (question == QUESTION_PROGRESS)
        say_progress_created(server, message->result != NULL);
}

/* ------------------------------------------------------------------ */
/* Dispatch                                                            */
/* ------------------------------------------------------------------ */

static const struct method {
    const char *name;
    enum rpc_kind kind;
    void (*run)(struct server *server, const struct rpc_message *message);
} methods[] = {
    {"shutdown", RPC_REQUEST, shut_down},
    {"textDocument/inlineCompletion", RPC_REQUEST, server_inline_completion},
    {"textDocument/completion", RPC_REQUEST, server_completion},
    {"textDocument/codeAction", RPC_REQUEST, server_code_action},
    {"codeAction/resolve", RPC_REQUEST, server_resolve_action},
    {"workspace/executeCommand", RPC_REQUEST, server_execute_command},
    {"dsr1/document", RPC_REQUEST, server_document},
    {"initialized", RPC_NOTIFICATION, initialized},
    {"$/cancelRequest", RPC_NOTIFICATION, server_cancel},
    {"$/setTrace", RPC_NOTIFICATION, ignore},
    {"textDocument/didOpen", RPC_NOTIFICATION, server_did_open},
    {"textDocument/didChange", RPC_NOTIFICATION, server_did_change},
    {"textDocument/didSave", RPC_NOTIFICATION, server_did_save},
    {"textDocument/didClose", RPC_NOTIFICATION, server_did_close},
    {"textDocument/didShowCompletion", RPC_NOTIFICATION, count_shown},
    {"textDocument/didPartiallyAcceptCompletion", RPC_NOTIFICATION, count_partial},
    {"workspace/didChangeConfiguration", RPC_NOTIFICATION, server_did_change_configuration},
    {"workspace/didChangeWorkspaceFolders", RPC_NOTIFICATION, ignore},
    {"workspace/didChangeWatchedFiles", RPC_NOTIFICATION, ignore},
};

static const struct method *find_method(const char *name, enum rpc_kind kind)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (methods[i].kind == kind && strcmp(methods[i].name, name) == 0)
            return &methods[i];
    }
    return NULL;
}

static void on_request(struct server *server, const struct rpc_message *message)
{
    bool is_initialize = strcmp(message->method, "initialize") == 0;
    const struct method *method = find_method(message->method, RPC_REQUEST);
    if (server->phase == PHASE_SHUT_DOWN)
        outbox_error(server->outbox, message->id, RPC_INVALID_REQUEST, "the server is shut down");
    else if (is_initialize && server->phase == PHASE_NEW)
        initialize(server, message);
    else if (is_initialize)
        outbox_error(server->outbox, message->id, RPC_INVALID_REQUEST, "the server is initialized already");
    else if (server->phase == PHASE_NEW)
        outbox_error(server->outbox, message->id, RPC_SERVER_NOT_INITIALIZED, "the server is not initialized");
    else if (!method)
        outbox_error(server->outbox, message->id, RPC_METHOD_NOT_FOUND, "no such method");
    else
        method->run(server, message);
}

static void on_notification(struct server *server, const struct rpc_message *message)
{
    const struct method *method = find_method(message->method, RPC_NOTIFICATION);
    if (strcmp(message->method, "exit") == 0)
        on_exit_notification(server, message);
    else if (method && server->phase == PHASE_RUNNING)
        method->run(server, message);
}

/* One line a message, with the milliseconds since the server's first one. */
static void record(const struct server *server, json_t *message)
{
    static double first; /* of this thread alone */
    first = first == 0 ? server->message_at : first;
    json_t *line = json_pack("{s: f, s: O}", "at", 1e3 * (server->message_at - first), "message", message);
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
    size_t size = text ? strlen(text) : 0;
    if (text) {
        text[size] = '\n'; /* its zero byte's place */
        if (write(server->options->record, text, size + 1) < 0)
            log_line(LOG_WARN, "cannot write the trace");
    }
    free(text);
    json_decref(line);
}

static void on_body(struct server *server, const char *body, size_t size)
{
    struct rpc_message message;
    server->message_at = clock_seconds();
    server->message_cpu = clock_thread_seconds();
    rpc_parse(&message, body, size);
    if (server->options->record > 0 && message.kind != RPC_BAD)
        record(server, message.root);
    switch (message.kind) {
    case RPC_REQUEST: on_request(server, &message); break;
    case RPC_NOTIFICATION: on_notification(server, &message); break;
    case RPC_RESPONSE: on_response(server, &message); break;
    case RPC_BAD:
        log_line(LOG_WARN, "refused a message of %zu bytes: %s", size, message.reason);
        outbox_error(server->outbox, message.id, message.code, message.reason);
        break;
    }
    rpc_free(&message);
}

/* ------------------------------------------------------------------ */
/* Reading                                                             */
/* ------------------------------------------------------------------ */

static void take_messages(struct server *server, struct header_reader *reader)
{
    const char *body;
    size_t size;
    while (!server->exiting) {
        reader->limit = (size_t) server->settings.message_bytes;
        switch (header_reader_next(reader, &body, &size)) {
        case HEADER_MORE: return;
        case HEADER_MESSAGE: on_body(server, body, size); break;
        case HEADER_SKIPPED: log_line(LOG_ERROR, "%s; looking for the next message", reader->reason); break;
        case HEADER_FATAL:
            log_line(LOG_ERROR, "%s; giving up", reader->reason);
            leave(server, 2);
            break;
        }
    }
}

static void hang_up(struct server *server)
{
    leave(server, server->phase == PHASE_SHUT_DOWN ? 0 : 1);
}

static void read_input(struct server *server, struct header_reader *reader)
{
    char *room = header_reader_room(reader, READ_BYTES);
    if (!room) {
        log_line(LOG_ERROR, "out of memory for a message; giving up");
        leave(server, 2);
        return;
    }
    ssize_t n = read(server->options->in, room, READ_BYTES);
    if (n > 0) {
        header_reader_filled(reader, (size_t) n);
        take_messages(server, reader);
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        hang_up(server);
    }
}

static void on_broken(void *user)
{
    struct server *server = user;
    uint64_t one = 1;
    if (write(server->wake_fd, &one, sizeof one) < 0)
        _exit(1); /* cannot even say that the client is gone */
}

static int milliseconds_to(double when)
{
    if (when == 0)
        return -1;
    double ms = 1e3 * (when - clock_seconds());
    return ms < 0 ? 0 : (int) ms + 1;
}

static void loop(struct server *server)
{
    struct header_reader reader;
    header_reader_open(&reader, (size_t) server->settings.message_bytes);
    while (!server->exiting) {
        /* A negative descriptor is skipped by poll(). stdout: only to notice that nobody reads it any more. */
        struct pollfd fds[] = {{.fd = server->options->in, .events = POLLIN},
                               {.fd = server->wake_fd, .events = POLLIN},
                               {.fd = server->parent_fd, .events = POLLIN},
                               {.fd = server->options->out, .events = 0}};
        int n = poll(fds, sizeof fds / sizeof *fds, milliseconds_to(server->load_at));
        if (n < 0 && errno != EINTR)
            hang_up(server);
        if (n <= 0 && server->load_at > 0 && clock_seconds() >= server->load_at)
            server_load(server);
        if (n <= 0)
            continue;
        if (fds[0].revents)
            read_input(server, &reader);
        if (fds[1].revents || fds[2].revents || (fds[3].revents & (POLLERR | POLLNVAL)))
            hang_up(server);
    }
    header_reader_close(&reader);
}

/* ------------------------------------------------------------------ */
/* Beginning and end                                                   */
/* ------------------------------------------------------------------ */

static dsr1_status open_parts(struct server *server, dsr1_error *err)
{
    struct worker_hooks hooks = {server_answer, server_model_loaded, server_job_done, server_action_progress, server};
    settings_defaults(&server->settings);
    settings_apply(&server->settings, server->options->settings, NULL, NULL);
    say_to(server->settings.log_file, server->settings.log_level);
    pthread_mutex_init(&server->lock, NULL);
    server->recall = recall_open((size_t) server->settings.cache_results);
    server->wake_fd = eventfd(0, EFD_CLOEXEC);
    server->accept = accept_open(&server->tally);
    if (!server->recall || !server->accept || server->wake_fd < 0)
        return DSR1_ERR_NOMEM;
    dsr1_status status = outbox_open(server->options->out, on_broken, server, &server->outbox, err);
    return status < 0 ? status : worker_open(&hooks, server->recall, &server->worker, err);
}

static void close_parts(struct server *server)
{
    documents_free(&server->documents);
    settings_free(&server->settings);
    json_decref(server->initial);
    json_decref(server->configured);
    json_decref(server->complained);
    recall_close(server->recall);
    accept_close(server->accept);
    ring_free(&server->ring);
    free(server->last_report);
    if (server->stats_fd >= 0)
        close(server->stats_fd);
    if (server->parent_fd >= 0)
        close(server->parent_fd);
    close(server->wake_fd);
    pthread_mutex_destroy(&server->lock);
}

int server_run(const struct server_options *options)
{
    struct server server = {.options = options, .stats_fd = -1};
    dsr1_error err = {0};
    signal(SIGPIPE, SIG_IGN);
    say_open();
    server.parent_fd = watch_process(options->parent);
    if (open_parts(&server, &err) < 0) {
        log_line(LOG_ERROR, "cannot start: %s", *err.message ? err.message : "out of memory");
        return 1;
    }
    loop(&server);
    /* Nobody waits longer than a second for the end, whatever the model is doing or the client is not reading. */
    bool stopped = worker_close(server.worker, 0.5);
    stopped &= schema_close(server.schema);
    if (!stopped) {
        outbox_flush(server.outbox, 0.3);
        _exit(server.status);
    }
    outbox_close(server.outbox, 0.3);
    close_parts(&server);
    return server.status;
}
