/*
 * reward_command.c - rewards from a command that lives as long as the run
 *
 * One JSON object a line in, one out, in any order:
 *
 *     {"id": 3, "prompt": .., "meta": .., "completion": .., "finish": "end"}
 *     {"id": 3, "reward": 0.5}        or {"id": 3, "error": "why"}
 *
 * What is not answered in time, wrongly, or not at all has no reward; a command that has gone is started again with the
 * next batch. The same is spoken with a program that started this one and left a socket, which cannot be started again.
 * SIGPIPE is the caller's to ignore.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "train/json_text.h"
#include "train/line_peer.h"
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

struct reward_command {
    char *text;                 /* NULL: the program that started this one */
    double timeout;
    pid_t pid;                  /* 0: not running */
    struct line_peer peer;
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
    line_peer_begin(&c->peer, in[1], out[0]);
    return DSR1_OK;
}

/* Gives it a moment to end by itself, unless at once is wanted. */
static void stop(struct reward_command *c, bool at_once)
{
    if (c->pid == 0)
        return;
    close(c->peer.to);
    close(c->peer.from);
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

dsr1_status reward_command_open_socket(int fd, struct reward_command **out, dsr1_error *err)
{
    struct reward_command *c = *out = memory_array(1, sizeof *c);
    if (!c)
        return error_nomem(err, "a reward");
    c->timeout = INFINITY;
    line_peer_begin(&c->peer, fd, fd);
    return DSR1_OK;
}

struct line_peer *reward_command_peer(struct reward_command *c)
{
    return &c->peer;
}

void reward_command_close(struct reward_command *c)
{
    if (!c)
        return;
    stop(c, false);
    line_peer_close(&c->peer);
    free(c->text);
    free(c);
}

/* ------------------------------------------------------------------ */
/* Lines                                                               */
/* ------------------------------------------------------------------ */

const char *reward_finish_name(dsr1_finish finish)
{
    return finish == DSR1_FINISH_END ? "end" : finish == DSR1_FINISH_STOP ? "stop" : "length";
}

static void write_item(struct buffer *out, const struct reward_item *item, long long id)
{
    json_t *line = json_pack("{s:I, s:o, s:o, s:o, s:s}", "id", (json_int_t) id, "prompt",
                             json_text(item->prompt, strlen(item->prompt)), "meta",
                             json_loads(item->meta, JSON_DECODE_ANY, NULL), "completion",
                             json_text(item->answer, item->size), "finish", reward_finish_name(item->finish));
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

static bool read_line(void *user, const char *line, size_t size)
{
    struct scoring *s = user;
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
    return s->n_open > 0;
}

static const char *why_not(enum line_peer_end end)
{
    static const char *const reasons[] = {
        [LINE_PEER_LATE] = "the reward's command took too long",
        [LINE_PEER_BROKEN] = "the reward's command cannot be reached",
        [LINE_PEER_GONE] = "the reward's command has ended",
    };
    return reasons[end];
}

/* Until all are answered; what was not has its reason noted. */
static dsr1_status exchange(struct reward_command *c, struct scoring *s, const struct buffer *out, dsr1_error *err)
{
    enum line_peer_end end = line_peer_exchange(&c->peer, out, c->timeout, read_line, s);
    if (end == LINE_PEER_DONE)
        return DSR1_OK;
    if (end == LINE_PEER_STOPPED || !c->text)
        return error_set(err, DSR1_ERR_CANCELLED, "%s", end == LINE_PEER_STOPPED ? "stopped" : why_not(end));
    for (int i = 0; i < s->n; i++)
        if (!s->done[i])
            reward_failed(s->reward, why_not(end));
    stop(c, true);
    return DSR1_OK;
}

dsr1_status reward_command_score(struct reward *reward, const struct reward_item *items, int n, double *values,
                                 dsr1_error *err)
{
    struct reward_command *c = reward->command;
    struct scoring s = {.reward = reward, .first = c->next_id, .n = n, .n_open = n, .values = values};
    struct buffer out = {0};
    dsr1_status status = c->text && c->pid == 0 ? start(c, err) : DSR1_OK;
    if (status != DSR1_OK)
        return status;
    c->peer.stop = reward->stop;
    s.done = memory_array((size_t) n, sizeof *s.done);
    for (int i = 0; i < n; i++) {
        values[i] = NAN;
        write_item(&out, &items[i], c->next_id++);
    }
    if (!s.done || out.failed) {
        status = error_nomem(err, "rewards");
    } else {
        status = exchange(c, &s, &out, err);
    }
    free(s.done);
    buffer_free(&out);
    return status;
}
