/*
 * server_say.c - words for people: our log, the client's log, messages, progress
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "server_state.h"

#include "base/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------------------ */
/* Our own log                                                         */
/* ------------------------------------------------------------------ */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = STDERR_FILENO;
static enum log_level least = LOG_WARN;

/* A full disk or a closed stderr loses the line and nothing else. */
static void write_line(enum log_level level, const char *line, void *user)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    char out[1200], stamp[40];
    time_t now = time(NULL);
    struct tm tm;
    strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", localtime_r(&now, &tm));
    pthread_mutex_lock(&log_lock);
    if (level >= least) {
        int n = log_fd == STDERR_FILENO
                    ? snprintf(out, sizeof out, "dsr1-lsp: %s: %s\n", names[level], line)
                    : snprintf(out, sizeof out, "%s %d %s: %s\n", stamp, (int) getpid(), names[level], line);
        n = n < (int) sizeof out ? n : (int) sizeof out - 1;
        if (write(log_fd, out, (size_t) n) < 0)
            n = 0;
    }
    pthread_mutex_unlock(&log_lock);
}

void say_open(void)
{
    log_set_sink(write_line, NULL, LOG_DEBUG);
}

void say_to(const char *path, int level)
{
    int fd = *path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : STDERR_FILENO;
    pthread_mutex_lock(&log_lock);
    if (log_fd != STDERR_FILENO)
        close(log_fd);
    log_fd = fd < 0 ? STDERR_FILENO : fd;
    least = (enum log_level) level;
    pthread_mutex_unlock(&log_lock);
    if (fd < 0)
        log_line(LOG_WARN, "cannot write to the log file %s", path);
}

/* ------------------------------------------------------------------ */
/* To the client                                                       */
/* ------------------------------------------------------------------ */

void say_log(struct server *server, enum say_type type, const char *format, ...)
{
    static const enum log_level levels[] = {LOG_ERROR, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG};
    char line[900];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    log_line(levels[type], "%s", line);
    outbox_notify(server->outbox, "window/logMessage", json_pack("{s: i, s: s}", "type", (int) type, "message", line));
}

void say_show(struct server *server, enum say_type type, const char *text)
{
    log_line(type == SAY_ERROR ? LOG_ERROR : LOG_WARN, "%s", text);
    outbox_notify(server->outbox, "window/showMessage",
                  json_pack("{s: i, s: s++}", "type", (int) type, "message", "dsr1: ", text, ""));
}

static void send_progress(struct server *server, json_t *value)
{
    char token[40];
    snprintf(token, sizeof token, "dsr1-load-%u", server->progress_token);
    outbox_notify(server->outbox, "$/progress", json_pack("{s: s, s: o}", "token", token, "value", value));
}

void say_progress_start(struct server *server)
{
    if (!server->can_progress)
        return;
    char token[40];
    pthread_mutex_lock(&server->lock);
    bool ask = server->progress == PROGRESS_NONE;
    server->progress_over = false;
    if (ask) {
        server->progress = PROGRESS_ASKED;
        server->progress_token++;
    }
    snprintf(token, sizeof token, "dsr1-load-%u", server->progress_token);
    pthread_mutex_unlock(&server->lock);
    if (ask)
        server_ask(server, QUESTION_PROGRESS, "window/workDoneProgress/create", json_pack("{s: s}", "token", token));
}

/* The lock is held. */
static void end_progress(struct server *server)
{
    send_progress(server, json_pack("{s: s, s: s}", "kind", "end", "message",
                                    worker_state(server->worker) == WORKER_READY ? "ready" : "no model"));
    server->progress = PROGRESS_NONE;
}

void say_progress_created(struct server *server, bool allowed)
{
    pthread_mutex_lock(&server->lock);
    if (server->progress == PROGRESS_ASKED) {
        server->progress = allowed ? PROGRESS_BEGUN : PROGRESS_NONE;
        if (allowed)
            send_progress(server, json_pack("{s: s, s: s, s: b}", "kind", "begin", "title", "dsr1: loading the model",
                                            "cancellable", 0));
        if (allowed && server->progress_over)
            end_progress(server);
    }
    pthread_mutex_unlock(&server->lock);
}

void say_progress_end(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    server->progress_over = true;
    if (server->progress == PROGRESS_BEGUN)
        end_progress(server);
    pthread_mutex_unlock(&server->lock);
}
