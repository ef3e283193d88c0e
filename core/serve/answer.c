/*
 * answer.c - from a step's logits to events
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/clock.h"
#include "base/error.h"
#include "serve/engine.h"

#include <math.h>

void answer_send(const struct request *r, dsr1_event *event)
{
    event->request = r->id;
    if (r->on_event)
        r->on_event(event, r->user);
}

static float *logits_of(const struct engine *e, const struct step_row *row)
{
    return e->step.logits + (size_t) row->logits * (size_t) e->model->shape.n_vocab;
}

/* ------------------------------------------------------------------ */
/* The prompt                                                          */
/* ------------------------------------------------------------------ */

static void send_logits(struct engine *e, const struct request *r, const struct step_row *row)
{
    bool wanted = r->want_logits == DSR1_LOGITS_ALL ||
                  (r->want_logits == DSR1_LOGITS_LAST && row->position == r->n_prompt - 1);
    if (!wanted || row->logits < 0 || row->position >= r->n_prompt)
        return;
    dsr1_event event = {.type = DSR1_EVENT_LOGITS, .position = row->position, .logits = logits_of(e, row)};
    answer_send(r, &event);
}

/* Sums go on in order of position, so that it does not matter how the prompt was cut. */
static void pool(struct engine *e, struct request *r, const struct step_row *row)
{
    for (int i = 0; row->hidden && i < e->model->shape.n_embd; i++)
        r->pooled[i] += (double) row->hidden[i];
}

static void send_experts(const struct request *r, const struct step_row *row)
{
    dsr1_event event = {.type = DSR1_EVENT_EXPERTS, .position = row->position, .experts = row->experts};
    if (row->experts)
        answer_send(r, &event);
}

static void send_embedding(struct engine *e, struct request *r)
{
    int d = e->model->shape.n_embd;
    double square = 0;
    for (int i = 0; i < d; i++)
        square += r->pooled[i] * r->pooled[i];
    double scale = square > 0 ? 1 / sqrt(square) : 0;
    /* Nobody needs the rows of hidden states any more. */
    for (int i = 0; i < d; i++)
        e->hidden[i] = (float) (r->pooled[i] * scale);
    dsr1_event event = {.type = DSR1_EVENT_EMBEDDING, .embedding = e->hidden, .n_embd = d};
    answer_send(r, &event);
}

/* ------------------------------------------------------------------ */
/* One token                                                           */
/* ------------------------------------------------------------------ */

static void send_token(struct request *r, int32_t token, float logprob, const dsr1_top *top, int n_top)
{
    struct buffer *ready = &r->stream.ready, *thought = &r->thought.ready;
    dsr1_event event = {.type = DSR1_EVENT_TOKEN, .token = token, .logprob = logprob, .top = top, .n_top = n_top,
                        .text = ready->data, .text_size = ready->size, .reasoning = thought->data,
                        .reasoning_size = thought->size};
    answer_send(r, &event);
    ready->size = thought->size = 0;
}

static void push_bytes(struct request *r, const char *bytes, size_t n)
{
    struct buffer thought = {0}, answer = {0};
    if (!r->separate_reasoning) {
        stream_push(&r->stream, bytes, n);
        return;
    }
    reasoning_feed(&r->reasoning, bytes, n, &thought, &answer);
    stream_push(&r->thought, thought.size ? thought.data : "", thought.size);
    stream_push(&r->stream, answer.size ? answer.data : "", answer.size);
    r->stream.pending.failed |= thought.failed || answer.failed;
    buffer_free(&thought);
    buffer_free(&answer);
}

static void push_text(struct engine *e, struct request *r, int32_t token)
{
    bool tag = r->separate_reasoning && (token == e->think_open || token == e->think_close);
    bool special = r->special || tag;
    char bytes[512];
    size_t n = tokenizer_token_bytes(e->tokenizer, token, special, bytes, sizeof bytes);
    if (n <= sizeof bytes) {
        push_bytes(r, bytes, n);
        return;
    }
    struct buffer big = {0};
    char *to = buffer_reserve(&big, n);
    if (to)
        tokenizer_token_bytes(e->tokenizer, token, special, to, n);
    push_bytes(r, to ? to : "", to ? n : 0);
    r->stream.pending.failed |= !to;
    buffer_free(&big);
}

/* One more token of the answer, and whether the answer ends with it. */
static void append(struct engine *e, struct request *r, int32_t token)
{
    if (r->n_tokens == r->n_prompt)
        r->t_first = clock_seconds();
    r->tokens[r->n_tokens++] = token;
    e->n_written++;
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
    if (!stream_ok(&r->stream) || !stream_ok(&r->thought)) {
        r->finish = DSR1_FINISH_ERROR;
        error_nomem(&r->error, "an answer");
    }
}

static void next_token(struct engine *e, struct request *r, const float *logits)
{
    int n_recent = r->n_tokens < REPEAT_WINDOW ? r->n_tokens : REPEAT_WINDOW, n_top = 0;
    dsr1_top top[DSR1_TOP_MAX];
    float logprob;
    if (r->n_top > 0)
        n_top = sampler_top(logits, e->n_choices, sampler_log_total(e->kernels, logits, e->n_choices, e->work.values),
                            top, r->n_top);
    int32_t token = sampler_choose(&r->sampler, e->kernels, logits, e->n_choices, NULL,
                                   r->tokens + r->n_tokens - n_recent, n_recent,
                                   (uint64_t) (r->n_tokens - r->n_prompt), &e->work, &logprob);
    append(e, r, token);
    send_token(r, token, logprob, top, n_top);
}

/* ------------------------------------------------------------------ */
/* One request's rows                                                  */
/* ------------------------------------------------------------------ */

static void take_prompt(struct engine *e, struct request *r, const struct step_row *rows, int n)
{
    for (int i = 0; i < n; i++) {
        send_logits(e, r, &rows[i]);
        pool(e, r, &rows[i]);
        send_experts(r, &rows[i]);
    }
    bool open = r->n_computed < r->n_prompt;
    r->n_computed += n;
    if (!open || r->n_computed < r->n_prompt)
        return;
    prefix_tree_insert(&e->tree, r->scope, r->tokens, r->n_prompt, &r->seq, false);
    if (r->pooling != DSR1_POOLING_NONE)
        send_embedding(e, r);
    if (r->score.n_texts > 0)
        score_begin(e, r, logits_of(e, &rows[n - 1]));
}

/*
 * A guessed token that is the one chosen has its keys and values in the cache
 * already, and its logits choose the next one.
 */
static void take_drafts(struct engine *e, struct request *r, const struct step_row *rows, int n)
{
    int right = 0;
    for (int i = 0; i < n && r->finish == DSR1_FINISH_NONE; i++) {
        if (rows[i].position >= r->n_tokens || r->tokens[rows[i].position] != rows[i].token)
            break;
        right++;
        r->n_computed++;
        send_experts(r, &rows[i]);
        if (r->n_computed == r->n_tokens)
            next_token(e, r, logits_of(e, &rows[i]));
    }
    draft_learn(&r->draft, right);
    e->n_accepted += right;
}

void answer_take(struct engine *e, struct share *share)
{
    struct request *r = share->request;
    const struct step_row *rows = e->step.rows + share->first;
    if (score_pending(&r->score) && request_answering(r)) {
        score_take(e, share);
    } else {
        int n_known = share->n - share->n_draft;
        take_prompt(e, r, rows, n_known);
        if (r->n_computed == r->n_tokens && r->n_tokens < r->n_limit) {
            next_token(e, r, logits_of(e, &rows[n_known - 1]));
            take_drafts(e, r, rows + n_known, share->n_draft);
        }
    }
    if (r->finish == DSR1_FINISH_NONE && r->n_limit == r->n_prompt && request_answering(r) && !score_pending(&r->score))
        r->finish = DSR1_FINISH_LENGTH;
}

/* ------------------------------------------------------------------ */
/* The end                                                             */
/* ------------------------------------------------------------------ */

static double span_ms(double from, double to)
{
    return from > 0 && to > from ? (to - from) * 1e3 : 0;
}

static void finish_streams(struct request *r)
{
    struct buffer thought = {0}, answer = {0};
    if (r->separate_reasoning) {
        reasoning_end(&r->reasoning, &thought, &answer);
        stream_push(&r->thought, thought.size ? thought.data : "", thought.size);
        stream_push(&r->stream, answer.size ? answer.data : "", answer.size);
        buffer_free(&thought);
        buffer_free(&answer);
    }
    stream_finish(&r->thought);
    stream_finish(&r->stream);
}

void answer_done(struct engine *e, struct request *r)
{
    (void) e;
    r->t_end = clock_seconds();
    if (r->finish != DSR1_FINISH_ERROR && r->finish != DSR1_FINISH_CANCELLED)
        finish_streams(r);
    dsr1_event event = {.type = DSR1_EVENT_DONE, .finish = r->finish, .text = r->stream.ready.data,
                        .text_size = r->stream.ready.size, .reasoning = r->thought.ready.data,
                        .reasoning_size = r->thought.ready.size};
    event.error = r->finish == DSR1_FINISH_ERROR ? &r->error : NULL;
    event.usage = (dsr1_usage){
        .prompt_tokens = r->n_prompt,
        .cached_tokens = r->n_cached,
        .completion_tokens = r->n_tokens - r->n_prompt,
        .queue_ms = span_ms(r->t_submit, r->t_start > 0 ? r->t_start : r->t_end),
        .prefill_ms = span_ms(r->t_start, r->t_first > 0 ? r->t_first : r->t_end),
        .decode_ms = span_ms(r->t_first, r->t_end),
    };
    answer_send(r, &event);
}
