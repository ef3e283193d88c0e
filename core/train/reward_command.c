/*
 * reward_command.c - rewards from a command that lives as long as the run
 *
 * One JSON object a line in, one out, in any order:
 *
 *     {"id": 3, "prompt": .., "meta": .., "completion": .., "finish": "end"}
 *     {"id": 3, "reward": 0.5}        or {"id": 3, "error": "why"}
 *
 * A batch is written while answers are read, so that neither side waits for the other's full pipe. What is not answered
 * in time, wrongly, or not at all has no reward; a command that has gone is started again with the next batch. SIGPIPE
 * is the caller's to ignore.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "train/reward.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1 << 20 };

struct reward_command {
    char *text;
    double timeout;
    pid_t pid;                  /* 0: not running */
    int to, from;
    struct buffer in;           /* read, but no whole line yet */
    long long next_id;
};

/* ------------------------------------------------------------------ */
/* The process                                                         */
/* ------------------------------------------------------------------ */

static dsr1_status start(struct reward_command *c, dsr1_error *err)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0)
        return error_errno(err, DSR1_ERR_IO, "cannot open a pipe");
    if (pipe2(out, O_CLOEXEC) != 0) {
        close(in[0]);
        close(in[1]);
        return error_errno(err, DSR1_ERR_IO, "cannot open a pipe");
    }
    c->pid = fork();
    if (c->pid == 0) {
        /* A group of its own: Ctrl-C is for us, and all that it starts can be ended. */
        setpgid(0, 0);
        signal(SIGPIPE, SIG_DFL);
        if (dup2(in[0], STDIN_FILENO) >= 0 && dup2(out[1], STDOUT_FILENO) >= 0)
            execl("/bin/sh", "sh", "-c", c->text, (char *) NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    if (c->pid < 0) {
        c->pid = 0;
        close(in[1]);
        close(out[0]);
        return error_errno(err, DSR1_ERR_IO, "cannot start the reward's command");
    }
    setpgid(c->pid, c->pid);
    c->to = in[1];
    c->from = out[0];
    fcntl(c->to, F_SETFL, O_NONBLOCK);
    fcntl(c->from, F_SETFL, O_NONBLOCK);
    c->in.size = 0;
    return DSR1_OK;
}

/* Gives it a moment to end by itself, unless at once is wanted. */
static void stop(struct reward_command *c, bool at_once)
{
    if (c->pid == 0)
        return;
    close(c->to);
    close(c->from);
    for (int i = 0; i < 200 && !at_once; i++) {
        if (waitpid(c->pid, NULL, WNOHANG) == c->pid) {
            kill(-c->pid, SIGKILL);     /* what it left behind */
            c->pid = 0;
            return;
        }
        poll(NULL, 0, 10);
    }
    kill(-c->pid, SIGKILL);
    waitpid(c->pid, NULL, 0);
    c->pid = 0;
}

dsr1_status reward_command_open(const char *command, double timeout, struct reward_command **out, dsr1_error *err)
{
    struct reward_command *c = memory_array(1, sizeof *c);
    *out = NULL;
    if (!c || !(c->text = strdup(command))) {
        free(c);
        return error_nomem(err, "a reward");
    }
    c->timeout = timeout;
    dsr1_status status = start(c, err);
    if (status == DSR1_OK)
        *out = c;
    else
        reward_command_close(c);
    return status;
}

void reward_command_close(struct reward_command *c)
{
    if (!c)
        return;
    stop(c, false);
    buffer_free(&c->in);
    free(c->text);
    free(c);
}

/* ------------------------------------------------------------------ */
/* Lines                                                               */
/* ------------------------------------------------------------------ */

/* Bytes that are no UTF-8 become U+FFFD: JSON has no others. */
static json_t *text_json(const char *text, size_t size)
{
    json_t *value = json_stringn(text, size);
    if (value)
        return value;
    struct buffer clean = {0};
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char) text[i] < 0x80)
            buffer_append(&clean, text + i, 1);
        else
            buffer_append(&clean, "\xef\xbf\xbd", 3);
    }
    value = json_stringn(clean.data ? clean.data : "", clean.size);
    buffer_free(&clean);
    return value;
}

static const char *finish_name(dsr1_finish finish)
{
    return finish == DSR1_FINISH_END ? "end" : finish == DSR1_FINISH_STOP ? "stop" : "length";
}

static void write_item(struct buffer *out, const struct reward_item *item, long long id)
{
    json_t *line = json_pack("{s:I, s:o, s:o, s:o, s:s}", "id", (json_int_t) id, "prompt",
                             text_json(item->prompt, strlen(item->prompt)), "meta",
                             json_loads(item->meta, JSON_DECODE_ANY, NULL), "completion",
                             text_json(item->answer, item->size), "finish", finish_name(item->finish));
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    if (text) {
        buffer_string(out, text);
        buffer_append(out, "\n", 1);
    }
    out->failed |= !text;
    free(text);
    json_decref(line);
}

struct scoring {
    struct reward *reward;
    long long first;            /* id of item 0 */
    int n, n_open;
    bool *done;
    double *values;
};

static void read_line(struct scoring *s, const char *line, size_t size)
{
    json_t *object = json_loadb(line, size, 0, NULL), *id = json_object_get(object, "id");
    json_t *value = json_object_get(object, "reward");
    long long at = json_is_integer(id) ? json_integer_value(id) - s->first : -1;
    if (at < 0 || at >= s->n || s->done[at]) {
        /* Late answers of a batch that was given up are nobody's business any more. */
        if (!json_is_integer(id))
            reward_failed(s->reward, "the reward's command wrote a line that is no answer");
    } else {
        const char *why = json_string_value(json_object_get(object, "error"));
        s->done[at] = true;
        s->n_open--;
        if (json_is_number(value) && isfinite(json_number_value(value)))
            s->values[at] = json_number_value(value);
        else
            reward_failed(s->reward, why ? why : "the reward's command gave no number");
    }
    json_decref(object);
}

static void read_lines(struct scoring *s, struct buffer *in)
{
    char *end;
    while (in->size > 0 && (end = memchr(in->data, '\n', in->size))) {
        size_t size = (size_t) (end - in->data);
        if (size > 0)
            read_line(s, in->data, size);
        buffer_drop(in, size + 1);
    }
}

/* Returns false when the other side is gone. */
static bool read_some(struct reward_command *c)
{
    for (;;) {
        char *to = buffer_reserve(&c->in, 65536);
        ssize_t n = to ? read(c->from, to, 65536) : 0;
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0 || c->in.size > LINE_MAX_BYTES)
            return false;
        c->in.size += (size_t) n;
        if (n < 65536)
            return true;
    }
}

static bool write_some(struct reward_command *c, const struct buffer *out, size_t *written)
{
    while (*written < out->size) {
        ssize_t n = write(c->to, out->data + *written, out->size - *written);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        *written += (size_t) n;
    }
    return true;
}

/* Until all are answered. NULL, or why some are not. */
static const char *exchange(struct reward_command *c, struct scoring *s, const struct buffer *out)
{
    size_t written = 0;
    double end = clock_seconds() + c->timeout;
    while (s->n_open > 0) {
        double left = end - clock_seconds();
        struct pollfd fds[2] = {{.fd = c->from, .events = POLLIN}, {.fd = c->to, .events = POLLOUT}};
        if (left <= 0)
            return "the reward's command took too long";
        if (poll(fds, written < out->size ? 2 : 1, (int) (left * 1000) + 1) < 0 && errno != EINTR)
            return "the reward's command cannot be reached";
        bool there = !fds[0].revents || read_some(c);
        read_lines(s, &c->in);
        if (s->n_open > 0 && (!there || (fds[1].revents && !write_some(c, out, &written))))
            return "the reward's command has ended";
    }
    return NULL;
}

dsr1_status reward_command_score(struct reward *reward, const struct reward_item *items, int n, double *values,
                                 dsr1_error *err)
{
    struct reward_command *c = reward->command;
    struct scoring s = {.reward = reward, .first = c->next_id, .n = n, .n_open = n, .values = values};
    struct buffer out = {0};
    dsr1_status status = c->pid == 0 ? start(c, err) : DSR1_OK;
    if (status != DSR1_OK)
        return status;
    s.done = memory_array((size_t) n, sizeof *s.done);
    for (int i = 0; i < n; i++) {
        values[i] = NAN;
        write_item(&out, &items[i], c->next_id++);
    }
    if (!s.done || out.failed) {
        status = error_nomem(err, "rewards");
    } else {
        const char *why = exchange(c, &s, &out);
        for (int i = 0; i < n && why; i++)
            if (!s.done[i])
                reward_failed(reward, why);
        if (why)
            stop(c, true);
    }
    free(s.done);
    buffer_free(&out);
    return status;
}
