/*
 * model_host.c - one model with its engine, and text from tokens
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model_host.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A request is cancelled between two steps: this many prompt tokens are the longest anyone waits. */
#define CHUNK_TOKENS 32

void model_host_close(struct model_host *host)
{
    pg_host_close(host->pg);
    dsr1_engine_close(host->engine);
    dsr1_model_close(host->model);
    *host = (struct model_host){0};
}

struct collector {
    struct generation *generation;
    struct model_host *host;
    struct draft *draft;
    double started;
    uint64_t id;
    bool stopping, done, nomem;
    dsr1_finish finish;
    dsr1_error error;
};

static bool wants_stop(struct collector *collector)
{
    struct generation *generation = collector->generation;
    return collector->nomem || (generation->stop && generation->stop(generation->user, collector->draft));
}

/* A token whose text came later (a code point or stop string was open) gets it here. */
static void append_rest(struct collector *collector, const dsr1_event *event)
{
    struct draft *draft = collector->draft;
    if (event->text_size == 0)
        return;
    if (draft->n_tokens == 0) {
        collector->nomem |= !draft_append(draft, event->text, event->text_size, -1, 0);
    } else {
        buffer_append(&draft->text, event->text, event->text_size);
        collector->nomem |= draft->text.failed;
        draft->tokens[draft->n_tokens - 1].end = draft->text.size;
    }
}

static void on_event(const dsr1_event *event, void *user)
{
    struct collector *collector = user;
    if (event->type == DSR1_EVENT_TOKEN && !collector->stopping) {
        if (collector->generation->first_ms == 0)
            collector->generation->first_ms = 1e3 * (clock_seconds() - collector->started);
        /* A healed token without more text only says again what was typed: how likely that was does not matter. */
        bool again = collector->draft->text.size == 0 && event->text_size == 0;
        collector->nomem |= !draft_append(collector->draft, event->text, event->text_size, event->token,
                                          again ? 0 : event->logprob);
        if (wants_stop(collector)) {
            collector->stopping = true;
            dsr1_engine_cancel(collector->host->engine, event->request);
        }
    } else if (event->type == DSR1_EVENT_DONE) {
        if (!collector->stopping)
            append_rest(collector, event);
        collector->done = true;
        collector->finish = event->finish;
        collector->generation->usage = event->usage;
        if (event->error)
            collector->error = *event->error;
    }
}

static dsr1_status submit(struct collector *collector, dsr1_error *err)
{
    struct generation *generation = collector->generation;
    dsr1_engine *engine = collector->host->engine;
    dsr1_request request = {
        .tokens = generation->tokens,
        .n_tokens = generation->n_tokens,
        .max_tokens = generation->max_tokens,
        .temperature = generation->temperature,
        .min_p = generation->min_p,
        .seed = generation->seed,
        .heal = generation->heal,
        .constraint = {.kind = generation->grammar ? DSR1_CONSTRAINT_GBNF : DSR1_CONSTRAINT_NONE,
                       .texts = &generation->grammar, .n_texts = generation->grammar != NULL, .open_end = true},
        .want_logprobs = true, /* a healed token has no other, and confidence needs them */
        .on_event = on_event,
        .user = collector,
    };
    dsr1_status status = dsr1_engine_submit(engine, &request, &collector->id, generation->grammar ? NULL : err);
    if (status < 0 && generation->grammar) {
        /* Better a text without a mask than none: polish.c cuts what it would have forbidden. */
        generation->grammar = NULL;
        request.constraint = (dsr1_constraint){.kind = DSR1_CONSTRAINT_NONE};
        status = dsr1_engine_submit(engine, &request, &collector->id, err);
    }
    collector->done = status < 0;
    return status;
}

/* Until all are done. */
static dsr1_status step_all(struct collector *collectors, int n, dsr1_error *err)
{
    for (;;) {
        int open = 0;
        for (int i = 0; i < n; i++) {
            struct collector *collector = &collectors[i];
            if (!collector->done && !collector->stopping && wants_stop(collector)) {
                collector->stopping = true;
                dsr1_engine_cancel(collector->host->engine, collector->id);
            }
            open += !collector->done;
        }
        if (open == 0)
            return DSR1_OK;
        int left = dsr1_engine_step(collectors->host->engine, err);
        if (left < 0)
            return (dsr1_status) left;
        for (int i = 0; i < n && left == 0; i++) {
            if (!collectors[i].done)
                return error_set(err, DSR1_ERR_INTERNAL, "the engine forgot a request");
        }
    }
}

static dsr1_status result(const struct collector *collector, dsr1_error *err)
{
    if (collector->finish == DSR1_FINISH_ERROR)
        return error_set(err, collector->error.status, "%s", collector->error.message);
    if (collector->nomem)
        return error_nomem(err, "suggestion");
    if (collector->finish == DSR1_FINISH_END || collector->finish == DSR1_FINISH_STOP ||
        collector->finish == DSR1_FINISH_LENGTH)
        collector->draft->finished = true;
    return DSR1_OK;
}

dsr1_status model_host_generate_all(struct model_host *host, struct generation *generations, struct draft *drafts, int n,
                                    dsr1_error *err)
{
    struct collector *collectors = memory_array((size_t) n, sizeof *collectors);
    if (!collectors)
        return error_nomem(err, "suggestion");
    dsr1_status status = DSR1_OK;
    int begun = 0;
    for (; begun < n && status == DSR1_OK; begun++) {
        collectors[begun] = (struct collector){
            .generation = &generations[begun], .host = host, .draft = &drafts[begun], .started = clock_seconds()};
        status = submit(&collectors[begun], err);
    }
    dsr1_status ran = step_all(collectors, begun, err);
    status = status < 0 ? status : ran;
    for (int i = 0; i < begun && status == DSR1_OK; i++)
        status = result(&collectors[i], err);
    free(collectors);
    return status;
}

dsr1_status model_host_generate(struct model_host *host, struct generation *generation, struct draft *draft,
                                dsr1_error *err)
{
    return model_host_generate_all(host, generation, draft, 1, err);
}

static dsr1_status warm_up(struct model_host *host, dsr1_error *err)
{
    int32_t token = host->info.bos >= 0 ? host->info.bos : 0;
    struct generation generation = {.tokens = &token, .n_tokens = 1, .max_tokens = 1};
    struct draft draft = {0};
    dsr1_status status = model_host_generate(host, &generation, &draft, err);
    draft_free(&draft);
    return status;
}

dsr1_status model_host_open(struct model_host *host, const struct model_wish *wish, dsr1_error *err)
{
    double started = clock_seconds();
    *host = (struct model_host){0};
    if (wish->pg) {
        dsr1_status connected = pg_host_open(wish->pg, &host->pg, err);
        host->load_ms = 1e3 * (clock_seconds() - started);
        return connected;
    }
    dsr1_status status = dsr1_model_open(wish->path, &host->model, err);
    if (status < 0)
        return status;
    dsr1_model_get_info(host->model, &host->info);
    dsr1_engine_options options = {.n_threads = wish->threads,
                                   .context_size = wish->context,
                                   .chunk_size = CHUNK_TOKENS,
                                   .kv_cache_size = (size_t) wish->kv_mib << 20};
    status = dsr1_engine_open(host->model, &options, &host->engine, err);
    if (status == DSR1_OK)
        status = warm_up(host, err);
    if (status == DSR1_OK)
        status = probe_prompt(host, wish->prompt, err);
    if (status < 0)
        model_host_close(host);
    host->load_ms = 1e3 * (clock_seconds() - started);
    return status;
}

/* Is there a file NAME in FOLDER/UP? Then its path. */
static bool there(char *path, size_t size, const char *folder, const char *up, const char *name)
{
    int n = snprintf(path, size, "%s/%s%s", folder, up, name);
    return n > 0 && (size_t) n < size && access(path, R_OK) == 0;
}

void model_host_default_path(char *path, size_t size)
{
    const char *chosen = getenv("DSR1_MODEL");
    if (chosen && *chosen) {
        snprintf(path, size, "%s", chosen);
        return;
    }
    char folder[4096];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    folder[n > 0 ? n : 0] = 0;
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = 0;
    /* An installed dsr1-lsp stands in PREFIX/bin; a built one in build/bin of the sources. */
    if (there(path, size, folder, "../share/dsr1/", "dsr1-default.gguf") ||
        there(path, size, folder, "../../models/", "dsr1-default.gguf"))
        return;
    snprintf(path, size, "models/dsr1-default.gguf");
}
