/*
 * complete_action.c - a question about code becomes an answer
 *
 * A suggestion that somebody waits for while typing comes first: the action
 * stops between two tokens, and goes on later from its prompt and what it wrote,
 * whose KV rows are still there.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "action.h"
#include "complete.h"

#include "base/clock.h"
#include "base/error.h"
#include "layout.h"

#include <stdio.h>

struct work {
    struct job *job;
    const struct complete_hooks *hooks;
    bool yielded, dropped;
    size_t told;            /* tokens that progress was called for */
};

static bool stop(void *user, const struct draft *draft)
{
    struct work *work = user;
    work->dropped |= work->hooks->stop(work->hooks->user);
    work->yielded |= work->hooks->yield(work->hooks->user);
    if (draft->n_tokens > work->told) {
        work->told = draft->n_tokens;
        work->hooks->progress(work->hooks->user);
    }
    return work->dropped || work->yielded;
}

/* Chat prompt and the draft's own tokens. */
static dsr1_status lay_out(const struct action *action, const struct model_host *host, struct layout *layout,
                           dsr1_error *err)
{
    struct buffer system = {0}, user = {0};
    action_messages(action, &system, &user);
    dsr1_status status = system.failed || user.failed ? error_nomem(err, "prompt")
                                                      : layout_chat(layout, host, system.data, user.data, "", 0, err);
    buffer_free(&system);
    buffer_free(&user);
    return status < 0 ? status : layout_tokens(layout, &action->draft, err);
}

static dsr1_status ask_model(struct work *work, struct model_host *host, dsr1_error *err)
{
    struct action *action = work->job->action;
    struct layout layout = {0};
    dsr1_status status = lay_out(action, host, &layout, err);
    if (status == DSR1_OK) {
        struct generation generation = {
            .tokens = layout.tokens,
            .n_tokens = layout.n_tokens,
            .max_tokens = work->job->max_tokens - (int) action->draft.n_tokens,
            .stop = stop,
            .user = work,
        };
        action->draft.finished = generation.max_tokens <= 0;
        if (!action->draft.finished)
            status = model_host_generate(host, &generation, &action->draft, err);
        work->job->report.prompt_tokens = generation.usage.prompt_tokens;
        work->job->report.cached_tokens = generation.usage.cached_tokens;
        work->job->report.completion_tokens += generation.usage.completion_tokens;
        if (work->job->report.first_ms == 0)
            work->job->report.first_ms = generation.first_ms;
    }
    layout_free(&layout);
    return status;
}

static bool stop_pg(void *user, const struct draft *draft)
{
    struct work *work = user;
    work->dropped |= work->hooks->stop(work->hooks->user);
    return work->dropped;
}

static dsr1_status ask_server(struct work *work, struct model_host *host, dsr1_error *err)
{
    struct action *action = work->job->action;
    struct buffer system = {0}, user = {0};
    action_messages(action, &system, &user);
    struct pg_question question = {.ask = PG_CHAT, .before = user.data, .behind = system.data,
                                   .max_tokens = work->job->max_tokens, .stop = stop_pg, .user = work};
    dsr1_status status = system.failed || user.failed ? error_nomem(err, "prompt")
                                                      : pg_host_ask(host->pg, &question, &action->draft, err);
    buffer_free(&system);
    buffer_free(&user);
    return status;
}

dsr1_status complete_action(struct job *job, struct model_host *host, const struct complete_hooks *hooks, bool *over,
                            dsr1_error *err)
{
    struct work work = {.job = job, .hooks = hooks, .told = job->action->draft.n_tokens};
    dsr1_error reason = {0};
    job->report.prompt = PROMPT_CHAT;
    if (job->report.wait_ms == 0)
        job->report.wait_ms = 1e3 * (clock_seconds() - job->received_at);
    dsr1_status status = host->pg ? ask_server(&work, host, &reason) : ask_model(&work, host, &reason);
    *over = status < 0 || work.dropped || !work.yielded || job->action->draft.finished;
    if (status < 0) {
        job->action->failed = true;
        snprintf(job->report.error, sizeof job->report.error, "%s", reason.message);
        error_set(err, status, "%s", reason.message);
    }
    job->report.total_ms = 1e3 * (clock_seconds() - job->received_at);
    if (*over && !work.dropped)
        hooks->answer(hooks->user);
    return status;
}
