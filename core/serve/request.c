/*
 * request.c - one request from submit to its last event
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "serve/request.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dsr1_status check_options(const dsr1_request *f, dsr1_error *err)
{
    if (!(f->temperature >= 0) || !isfinite(f->temperature))
        return error_set(err, DSR1_ERR_ARGUMENT, "temperature %g: must be 0 or more", f->temperature);
    if (f->top_k < 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "top_k %d: must be 0 or more", f->top_k);
    if (!(f->top_p >= 0 && f->top_p <= 1))
        return error_set(err, DSR1_ERR_ARGUMENT, "top_p %g: must be within 0 and 1", f->top_p);
    if (!(f->min_p >= 0 && f->min_p <= 1))
        return error_set(err, DSR1_ERR_ARGUMENT, "min_p %g: must be within 0 and 1", f->min_p);
    if (!(f->repeat_penalty >= 0) || !isfinite(f->repeat_penalty))
        return error_set(err, DSR1_ERR_ARGUMENT, "repeat_penalty %g: must be positive", f->repeat_penalty);
    for (size_t i = 0; i < f->n_stop; i++)
        if (!f->stop[i] || !f->stop[i][0])
            return error_set(err, DSR1_ERR_ARGUMENT, "a stop string is empty");
    return DSR1_OK;
}

static dsr1_status check_prompt(const dsr1_request *f, int context_size, int n_vocab, dsr1_error *err)
{
    if (f->n_tokens == 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "the prompt is empty");
    /* One token of answer must fit behind the prompt, if an answer is asked for. */
    size_t room = (size_t) context_size - (f->max_tokens != 0);
    if (f->n_tokens > room)
        return error_set(err, DSR1_ERR_LIMIT, "prompt has %zu tokens, but the context holds %d", f->n_tokens,
                         context_size);
    for (size_t i = 0; i < f->n_tokens; i++)
        if (f->tokens[i] < 0 || f->tokens[i] >= n_vocab)
            return error_set(err, DSR1_ERR_ARGUMENT, "token %d is not in the vocabulary of %d", f->tokens[i], n_vocab);
    return DSR1_OK;
}

static bool copy_stops(struct request *r, const dsr1_request *f)
{
    r->stops = memory_array(f->n_stop, sizeof *r->stops);
    if (!r->stops)
        return false;
    for (size_t i = 0; i < f->n_stop; i++) {
        buffer_string(&r->stops[i], f->stop[i]);
        r->n_stops++;
        if (r->stops[i].failed)
            return false;
    }
    r->stream.stops = r->stops;
    r->stream.n_stops = r->n_stops;
    return true;
}

dsr1_status request_open(const dsr1_request *f, int context_size, int n_vocab, struct request **out, dsr1_error *err)
{
    dsr1_status status = check_options(f, err);
    if (status == DSR1_OK)
        status = check_prompt(f, context_size, n_vocab, err);
    if (status != DSR1_OK)
        return status;
    struct request *r = memory_array(1, sizeof *r);
    if (!r)
        return error_nomem(err, "a request");
    r->n_prompt = r->n_tokens = (int) f->n_tokens;
    int room = context_size - r->n_prompt;
    r->n_limit = r->n_prompt + (f->max_tokens < 0 || f->max_tokens > room ? room : f->max_tokens);
    r->tokens = memory_array((size_t) r->n_limit, sizeof *r->tokens);
    if (!r->tokens || !copy_stops(r, f)) {
        request_close(r);
        return error_nomem(err, "a request");
    }
    memcpy(r->tokens, f->tokens, f->n_tokens * sizeof *r->tokens);
    r->sampler = (struct sampler){f->temperature, f->top_k, f->top_p, f->min_p, f->repeat_penalty, f->seed};
    r->ignore_end = f->ignore_end;
    r->special = f->special;
    r->want_logits = f->want_logits;
    r->priority = f->priority;
    r->scope = f->scope;
    r->on_event = f->on_event;
    r->user = f->user;
    /* The last token of an answer is never fed back. */
    r->n_reserved = r->n_limit > r->n_prompt ? r->n_limit - 1 : r->n_prompt;
    *out = r;
    return DSR1_OK;
}

void request_close(struct request *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_stops; i++)
        buffer_free(&r->stops[i]);
    free(r->stops);
    stream_free(&r->stream);
    free(r->tokens);
    free(r);
}
