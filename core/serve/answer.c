/*
 * answer.c - from a step's logits to events
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/clock.h"
#include "base/error.h"
#include "serve/engine.h"

static void send(const struct request *r, dsr1_event *event)
{
    event->request = r->id;
    if (r->on_event)
        r->on_event(event, r->user);
}

static void send_logits(struct engine *e, const struct request *r, int row, int position)
{
    dsr1_event event = {.type = DSR1_EVENT_LOGITS, .position = position,
                        .logits = e->step.logits + (size_t) row * (size_t) e->model->shape.n_vocab};
    send(r, &event);
}

static void send_token(struct request *r, int32_t token, float logprob)
{
    struct buffer *ready = &r->stream.ready;
    dsr1_event event = {.type = DSR1_EVENT_TOKEN, .token = token, .logprob = logprob, .text = ready->data,
                        .text_size = ready->size};
    send(r, &event);
    ready->size = 0;
}

static void push_text(struct engine *e, struct request *r, int32_t token)
{
    char bytes[512];
    size_t n = tokenizer_token_bytes(e->tokenizer, token, r->special, bytes, sizeof bytes);
    if (n <= sizeof bytes) {
        stream_push(&r->stream, bytes, n);
        return;
    }
    struct buffer big = {0};
    char *to = buffer_reserve(&big, n);
    if (to)
        tokenizer_token_bytes(e->tokenizer, token, r->special, to, n);
    stream_push(&r->stream, to ? to : "", to ? n : 0);
    r->stream.pending.failed |= !to;
    buffer_free(&big);
}

static void next_token(struct engine *e, struct request *r, float *logits)
{
    int n_recent = r->n_tokens < REPEAT_WINDOW ? r->n_tokens : REPEAT_WINDOW;
    float logprob;
    int32_t token = sampler_choose(&r->sampler, e->kernels, logits, e->n_choices,
                                   r->tokens + r->n_tokens - n_recent, n_recent,
                                   (uint64_t) (r->n_tokens - r->n_prompt), &e->work, &logprob);
    if (r->n_tokens == r->n_prompt)
        r->t_first = clock_seconds();
    r->tokens[r->n_tokens++] = token;
    if (!r->ignore_end && tokenizer_is_end(e->tokenizer, token)) {
        r->finish = DSR1_FINISH_END;
        if (r->special)
            push_text(e, r, token);
    } else {
        push_text(e, r, token);
    }
    if (r->stream.stopped)
        r->finish = DSR1_FINISH_STOP;
    else if (r->finish == DSR1_FINISH_NONE && r->n_tokens == r->n_limit)
        r->finish = DSR1_FINISH_LENGTH;
    if (!stream_ok(&r->stream)) {
        r->finish = DSR1_FINISH_ERROR;
        error_nomem(&r->error, "an answer");
    }
    send_token(r, token, logprob);
}

void answer_take(struct engine *e, struct share *share)
{
    struct request *r = share->request;
    int last = -1;
    for (int i = share->first; i < share->first + share->n; i++) {
        const struct step_row *row = &e->step.rows[i];
        if (row->logits < 0)
            continue;
        last = row->logits;
        if (row->position < r->n_prompt &&
            (r->want_logits == DSR1_LOGITS_ALL ||
             (r->want_logits == DSR1_LOGITS_LAST && row->position == r->n_prompt - 1)))
            send_logits(e, r, row->logits, row->position);
    }
    r->n_computed += share->n;
    if (r->n_computed < r->n_tokens)
        return;
    if (r->n_tokens == r->n_limit)
        r->finish = DSR1_FINISH_LENGTH;
    else if (last >= 0)
        next_token(e, r, e->step.logits + (size_t) last * (size_t) e->model->shape.n_vocab);
}

static double span_ms(double from, double to)
{
    return from > 0 && to > from ? (to - from) * 1e3 : 0;
}

void answer_done(struct engine *e, struct request *r)
{
    (void) e;
    r->t_end = clock_seconds();
    if (r->finish != DSR1_FINISH_ERROR && r->finish != DSR1_FINISH_CANCELLED)
        stream_finish(&r->stream);
    dsr1_event event = {.type = DSR1_EVENT_DONE, .finish = r->finish, .text = r->stream.ready.data,
                        .text_size = r->stream.ready.size};
    event.error = r->finish == DSR1_FINISH_ERROR ? &r->error : NULL;
    event.usage = (dsr1_usage){
        .prompt_tokens = r->n_prompt,
        .cached_tokens = r->n_cached,
        .completion_tokens = r->n_tokens - r->n_prompt,
        .queue_ms = span_ms(r->t_submit, r->t_start > 0 ? r->t_start : r->t_end),
        .prefill_ms = span_ms(r->t_start, r->t_first > 0 ? r->t_first : r->t_end),
        .decode_ms = span_ms(r->t_first, r->t_end),
    };
    send(r, &event);
}
