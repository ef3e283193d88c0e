/*
 * rollout.c - groups of answers from the serving engine, with all that training wants of them
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/rollout.h"

#include "api/handle.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

/* An answer while it is written. */
struct writing {
    struct rollout *rollout;
    const struct rollouts *all;
    struct writing *first;      /* of its group: keeps what is known of the prompt */
    uint16_t *experts;          /* n_limit positions x n_layers x n_used */
    uint8_t *seen;              /* n_prompt: are the prompt's known? */
    int n_limit;
    uint64_t id;                /* of its request; 0: not asked */
    bool done;
    dsr1_error err;
};

dsr1_status rollouts_open(const dsr1_model *model, int n_batch, int context, int n_used, int threads,
                          struct rollouts *r, dsr1_error *err)
{
    const struct model_shape *shape = &model->model.shape;
    *r = (struct rollouts){.model = model, .n_layers = shape->n_layers,
                           .n_used = shape->n_experts == 0 ? 0 : n_used > 0 ? n_used : shape->n_used};
    int batch = n_batch < 64 ? n_batch : 64;
    struct kv_shape kv = model_kv_shape(&model->model, KV_F32);
    dsr1_engine_options options = {.n_threads = threads, .context_size = context, .max_batch = batch,
                                   .max_queue = n_batch, .kv_type = DSR1_KV_F32, .n_experts_used = n_used,
                                   .kv_cache_size = kv_cache_bytes(&kv, context) * ((size_t) batch + 2)};
    return dsr1_engine_open(model, &options, &r->engine, err);
}

void rollouts_close(struct rollouts *r)
{
    dsr1_engine_close(r->engine);
    *r = (struct rollouts){0};
}

void rollout_free(struct rollout *r)
{
    free(r->tokens);
    free(r->logp);
    free(r->chosen);
    buffer_free(&r->text);
    *r = (struct rollout){0};
}

/* ------------------------------------------------------------------ */
/* Listening                                                           */
/* ------------------------------------------------------------------ */

static size_t width(const struct rollouts *r)
{
    return (size_t) r->n_layers * (size_t) r->n_used;
}

/* Same prompt, same adapter, same choices: the prompt's belong to the group, whoever computed them. */
static void note_experts(struct writing *w, const dsr1_event *event)
{
    struct writing *owner = event->position < w->rollout->n_prompt ? w->first : w;
    memcpy(owner->experts + (size_t) event->position * width(w->all), event->experts,
           width(w->all) * sizeof *owner->experts);
    if (owner == w->first && event->position < w->rollout->n_prompt)
        owner->seen[event->position] = 1;
}

static void on_event(const dsr1_event *event, void *user)
{
    struct writing *w = user;
    struct rollout *r = w->rollout;
    if (event->type == DSR1_EVENT_EXPERTS)
        note_experts(w, event);
    if (event->type == DSR1_EVENT_TOKEN && r->n_tokens < w->n_limit) {
        r->logp[r->n_tokens - r->n_prompt] = (real) event->logprob;
        r->tokens[r->n_tokens++] = event->token;
    }
    if (event->type == DSR1_EVENT_TOKEN || event->type == DSR1_EVENT_DONE)
        buffer_append(&r->text, event->text, event->text_size);
    if (event->type == DSR1_EVENT_DONE) {
        w->done = true;
        r->finish = event->finish;
        if (event->error)
            w->err = *event->error;
    }
}

/* ------------------------------------------------------------------ */
/* Before and after                                                    */
/* ------------------------------------------------------------------ */

static dsr1_status begin(struct writing *w, const struct rollout_prompt *prompt, int max_tokens, dsr1_error *err)
{
    struct rollout *r = w->rollout;
    w->n_limit = prompt->n + max_tokens;
    r->n_prompt = r->n_tokens = prompt->n;
    r->tokens = memory_array((size_t) w->n_limit, sizeof *r->tokens);
    r->logp = memory_array((size_t) max_tokens, sizeof *r->logp);
    if (w->all->n_used > 0) {
        w->experts = memory_array((size_t) w->n_limit, width(w->all) * sizeof *w->experts);
        w->seen = memory_array((size_t) prompt->n, 1);
    }
    buffer_append(&r->text, "", 0);
    if (!r->tokens || !r->logp || (w->all->n_used > 0 && (!w->experts || !w->seen)))
        return error_nomem(err, "an answer");
    memcpy(r->tokens, prompt->tokens, (size_t) prompt->n * sizeof *r->tokens);
    return DSR1_OK;
}

/* By layer and row, as training has them. */
static dsr1_status turn_experts(const struct writing *w, dsr1_error *err)
{
    struct rollout *r = w->rollout;
    const struct rollouts *all = w->all;
    size_t rows = (size_t) r->n_tokens - 1, k = (size_t) all->n_used, layers = (size_t) all->n_layers;
    r->chosen = memory_array(layers * rows, k * sizeof *r->chosen);
    if (!r->chosen)
        return error_nomem(err, "an answer's experts");
    for (int p = 0; p < r->n_prompt; p++)
        if (!w->first->seen[p] && p < (int) rows)
            return error_set(err, DSR1_ERR_INTERNAL, "nobody told the experts of prompt token %d", p);
    for (size_t row = 0; row < rows; row++) {
        const uint16_t *from = ((int) row < r->n_prompt ? w->first->experts : w->experts) + row * layers * k;
        for (size_t l = 0; l < layers; l++)
            for (size_t i = 0; i < k; i++)
                r->chosen[(l * rows + row) * k + i] = from[l * k + i];
    }
    return DSR1_OK;
}

static dsr1_status finish(struct writing *w, dsr1_error *err)
{
    const struct rollout *r = w->rollout;
    if (w->err.status != DSR1_OK)
        return error_set(err, w->err.status, "%s", w->err.message);
    if (r->text.failed)
        return error_nomem(err, "an answer");
    if (!w->done || r->n_tokens == r->n_prompt)
        return error_set(err, DSR1_ERR_INTERNAL, "an answer without tokens");
    return w->all->n_used > 0 ? turn_experts(w, err) : DSR1_OK;
}

/* ------------------------------------------------------------------ */
/* A round                                                             */
/* ------------------------------------------------------------------ */

/* A scope per group: its prompt is computed once, and within the group. */
static dsr1_status submit_group(struct rollouts *all, struct lora *lora, int p, const struct rollout_options *o,
                                const struct rollout_prompt *prompt, struct writing *writing, struct rollout *out,
                                dsr1_error *err)
{
    dsr1_status status = DSR1_OK;
    uint64_t scope = rng_mix(++all->n_groups);
    for (int m = 0; m < o->group && status == DSR1_OK; m++) {
        struct writing *w = &writing[m];
        *w = (struct writing){.rollout = &out[m], .all = all, .first = writing};
        out[m].prompt = p;
        status = begin(w, prompt, o->max_tokens, err);
    }
    for (int m = 0; m < o->group && status == DSR1_OK; m++) {
        dsr1_request request = {.tokens = prompt->tokens, .n_tokens = (size_t) prompt->n, .max_tokens = o->max_tokens,
                                .temperature = o->temperature,
                                .seed = rng_at(o->seed, (uint64_t) p * (uint64_t) o->group + (uint64_t) m),
                                .want_logprobs = true, .want_experts = all->n_used > 0,
                                .adapter = (dsr1_adapter *) lora, .scope = scope,
                                .on_event = on_event, .user = &writing[m]};
        status = dsr1_engine_submit(all->engine, &request, &writing[m].id, err);
    }
    return status;
}

/* Until all are done, also after a failure: the engine must not write into what is freed. */
static dsr1_status run_engine(struct rollouts *all, const struct writing *writing, size_t n, dsr1_error *err)
{
    bool stopped = false;
    int left;
    while ((left = dsr1_engine_step(all->engine, err)) > 0) {
        if (stopped || !all->stop || !*all->stop)
            continue;
        stopped = true;
        for (size_t i = 0; i < n; i++)
            if (writing[i].id && !writing[i].done)
                dsr1_engine_cancel(all->engine, writing[i].id);
    }
    if (left < 0)
        return (dsr1_status) left;
    return stopped ? error_set(err, DSR1_ERR_CANCELLED, "stopped") : DSR1_OK;
}

dsr1_status rollouts_run(struct rollouts *all, struct lora *lora, const struct rollout_prompt *prompts, int n,
                         const struct rollout_options *o, struct rollout *out, dsr1_error *err)
{
    size_t total = (size_t) n * (size_t) o->group;
    struct writing *writing = memory_array(total, sizeof *writing);
    dsr1_status status = writing ? DSR1_OK : error_nomem(err, "answers");
    memset(out, 0, total * sizeof *out);
    for (int p = 0; p < n && status == DSR1_OK; p++)
        status = submit_group(all, lora, p, o, &prompts[p], writing + (size_t) p * (size_t) o->group,
                              out + (size_t) p * (size_t) o->group, err);
    dsr1_status ran = run_engine(all, writing, writing ? total : 0, err);
    status = status == DSR1_OK ? ran : status;
    for (size_t i = 0; i < total && status == DSR1_OK; i++)
        status = finish(&writing[i], err);
    for (size_t i = 0; writing && i < total; i++) {
        free(writing[i].experts);
        free(writing[i].seen);
        if (status != DSR1_OK)
            rollout_free(&out[i]);
    }
    free(writing);
    return status;
}
