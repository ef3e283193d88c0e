/*
 * grpo_parent.c - a run that another program started, and wants to hear about
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/grpo_parent.h"

#include "base/error.h"
#include "train/line_peer.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

/* ------------------------------------------------------------------ */
/* Telling                                                             */
/* ------------------------------------------------------------------ */

struct wait {
    int64_t step;               /* -1: for no answer */
};

static bool await_step(void *user, const char *line, size_t size)
{
    const struct wait *w = user;
    json_t *object = json_loadb(line, size, 0, NULL), *step = json_object_get(object, "step");
    bool kept = json_is_integer(step) && json_integer_value(step) == w->step;
    json_decref(object);
    return !kept;
}

/* A stop does not end the wait for an answer: the other side, which asked for it, has gone or will answer. */
static dsr1_status tell(struct grpo *g, const char *text, size_t size, int64_t step, dsr1_error *err)
{
    struct line_peer *peer = reward_command_peer(g->reward.command);
    struct buffer out = {.data = (char *) text, .size = size};
    struct wait wait = {step};
    peer->stop = NULL;
    enum line_peer_end end = line_peer_exchange(peer, &out, INFINITY, await_step, &wait);
    return end == LINE_PEER_DONE ? DSR1_OK : error_set(err, DSR1_ERR_CANCELLED, "the program that keeps the steps has ended");
}

/* ------------------------------------------------------------------ */
/* What is told                                                        */
/* ------------------------------------------------------------------ */

static dsr1_status tell_file(struct grpo *g, FILE *file, char **text, size_t *size, int64_t step, dsr1_error *err)
{
    bool written = file && fclose(file) == 0;
    dsr1_status status = written ? tell(g, *text, *size, step, err) : error_nomem(err, "a step's lines");
    free(*text);
    return status;
}

dsr1_status grpo_parent_begin(struct grpo *g, dsr1_error *err)
{
    char line[200];
    int64_t done = grpo_steps_done(g);
    int n = snprintf(line, sizeof line, "{\"begin\": %lld, \"steps\": %d, \"prompts\": %d, \"model\": \"%s\"}\n", (long long) done,
                     g->options.steps, g->prompts.n, digest_wait(&g->digest));
    return tell(g, line, (size_t) n, done, err);
}

dsr1_status grpo_parent_eval(struct grpo *g, double reward, double length, dsr1_error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (file)
        (void) grpo_log_eval(file, reward, length, err);
    return tell_file(g, file, &text, &size, 0, err);
}

dsr1_status grpo_parent_step(struct grpo *g, const struct grpo_report *report, dsr1_error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (file && grpo_log_answers(file, g, report->step, err) == DSR1_OK)
        (void) grpo_log_step(file, report, err);
    return tell_file(g, file, &text, &size, report->step, err);
}

dsr1_status grpo_parent_done(struct grpo *g, dsr1_error *err)
{
    struct buffer out = {0};
    json_t *line = json_pack("{s:s}", "done", g->options.output);
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    if (text)
        buffer_string(&out, text);
    buffer_append(&out, "\n", 1);
    dsr1_status status = text && !out.failed ? tell(g, out.data, out.size, grpo_steps_done(g), err)
                                             : error_nomem(err, "a line");
    free(text);
    json_decref(line);
    buffer_free(&out);
    return status;
}
