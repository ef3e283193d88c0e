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

static float *logits_of(const struct engine *e, int row)
{
    return e->step.logits + (size_t) row * (size_t) e->model->shape.n_vocab;
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
    dsr1_event event = {.type = DSR1_EVENT_LOGITS, .position = row->position, .logits = logits_of(e, row->logits)};
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

/* Less the bytes that the prompt had already. */
static void push_answer(struct request *r, const char *bytes, size_t n)
{
    size_t skip = (size_t) r->n_skip < n ? (size_t) r->n_skip : n;
    r->n_skip -= (int) skip;
    r->hollow &= n == skip;
    push_bytes(r, bytes + skip, n - skip);
}

static void push_text(struct engine *e, struct request *r, int32_t token)
{
    bool tag = r->separate_reasoning && (token == e->think_open || token == e->think_close);
    bool special = r->special || tag;
    char bytes[512];
    size_t n = tokenizer_token_bytes(e->tokenizer, token, special, bytes, sizeof bytes);
    if (n <= sizeof bytes) {
        push_answer(r, bytes, n);
        return;
    }
    struct buffer big = {0};
    char *to = buffer_reserve(&big, n);
    if (to)
        tokenizer_token_bytes(e->tokenizer, token, special, to, n);
    push_answer(r, to ? to : "", to ? n : 0);
    r->stream.pending.failed |= !to;
    buffer_free(&big);
}

/* What the model itself thinks of a token. */
static float judge(struct engine *e, const struct request *r, int row, int32_t token, dsr1_top *top, int *n_top)
{
    const float *logits = logits_of(e, row);
    double total = step_log_total(&e->step, row);
    *n_top = sampler_top(logits, e->n_choices, total, top, r->n_top);
    return (float) ((double) logits[token] - total);
}

/* The next token that the caller does not know yet, and whether the answer ends with it. row: of the logits before it, or -1. */
static void tell(struct engine *e, struct request *r, int row)
{
    int32_t token = r->tokens[r->n_told];
    dsr1_top top[DSR1_TOP_MAX];
    int n_top = 0;
    float logprob = row >= 0 ? judge(e, r, row, token, top, &n_top) : NAN;
    if (r->n_told == r->n_prompt)
        r->t_first = clock_seconds();
    r->n_told++;
    e->n_written++;
    bool ends = tokenizer_is_end(e->tokenizer, token) && (!r->ignore_end || r->obey.now);
    if (!ends || r->special)
        push_text(e, r, token);
    if (r->stream.stopped)
        r->finish = DSR1_FINISH_STOP;
    else if (ends || (r->n_told == r->n_tokens && obey_complete(&r->obey)))
        r->finish = DSR1_FINISH_END;
    else if (r->n_told == r->n_limit)
        r->finish = obey_can_end(&r->obey) ? DSR1_FINISH_END : DSR1_FINISH_LENGTH;
    if (!stream_ok(&r->stream) || !stream_ok(&r->thought)) {
        r->finish = DSR1_FINISH_ERROR;
        error_nomem(&r->error, "an answer");
    }
    send_token(r, token, logprob, top, n_top);
}

/* Forced tokens that nobody wants judged are told at once. */
static void tell_forced(struct engine *e, struct request *r)
{
    while (!request_judges(r) && r->n_told < r->n_tokens && r->finish == DSR1_FINISH_NONE)
        tell(e, r, -1);
}

/* Tokens without an alternative cost no step of their own: they are computed together with what follows. */
static void force(struct engine *e, struct request *r)
{
    int32_t ids[256];
    int room = r->n_limit - r->n_tokens, most = room < 256 ? room : 256;
    int n = obey_forced(&r->obey, ids, most, room);
    for (int i = 0; i < n; i++) {
        obey_accept(&r->obey, ids[i]);
        r->tokens[r->n_tokens++] = ids[i];
    }
    e->n_forced += n;
}

/* Behind a token that closed the reasoning: an empty line, then what the constraint says. */
static void end_thinking(struct engine *e, struct request *r, int32_t token)
{
    bool parsed = r->separate_reasoning && r->reasoning.state == REASONING_ANSWER;
    if (parsed) {
        r->finish = DSR1_FINISH_ERROR;
        error_set(&r->error, DSR1_ERR_LIMIT, "the reasoning ended in the middle of a token");
        return;
    }
    for (int i = 0; i < r->obey.n_blank && token == r->obey.think_close && r->n_tokens < r->n_limit; i++) {
        r->tokens[r->n_tokens++] = r->obey.blank[i];
        e->n_forced++;
    }
    obey_answer(&r->obey);
}

static bool thought_is_over(const struct request *r, int32_t token)
{
    return token == r->obey.think_close ||
           (r->separate_reasoning && (r->reasoning.state == REASONING_CLOSED || r->reasoning.state == REASONING_ANSWER));
}

/* The best token of all was found with the logits. */
static bool takes_best(const struct request *r, const uint64_t *allowed)
{
    return r->sampler.temperature == 0 && !allowed && (r->sampler.repeat_penalty == 0 || r->sampler.repeat_penalty == 1);
}

static int32_t choose(struct engine *e, const struct request *r, int row, const uint64_t *allowed, int budget,
                      struct sampler_work *work)
{
    int n_recent = r->n_tokens < REPEAT_WINDOW ? r->n_tokens : REPEAT_WINDOW;
    int32_t token = takes_best(r, allowed)
                        ? step_best(&e->step, row)
                        : sampler_choose(&r->sampler, e->kernels, logits_of(e, row), e->n_choices, allowed,
                                         r->tokens + r->n_tokens - n_recent, n_recent,
                                         (uint64_t) (r->n_tokens - r->n_prompt), work);
    return obey_correct(&r->obey, token, tokenizer_is_end(e->tokenizer, token), budget);
}

/* As obey_mask, and a hole is filled with something. */
static bool mask(const struct engine *e, struct request *r, int budget, const uint64_t **allowed)
{
    if (!obey_mask(&r->obey, budget, allowed))
        return false;
    if (!*allowed && r->hollow)
        *allowed = e->no_end;
    return true;
}

/* The row whose logits choose the request's next token; -1: none in this step. */
static int choosing_row(const struct engine *e, const struct share *share)
{
    const struct request *r = share->request;
    int n_known = share->n - share->n_draft, row = share->first + n_known - 1;
    bool chooses = n_known > 0 && r->n_limit > r->n_prompt && r->n_tokens < r->n_limit &&
                   e->step.rows[row].position == r->n_tokens - 1;
    return chooses ? e->step.rows[row].logits : -1;
}

static bool chooses_slowly(const struct engine *e, const struct share *share)
{
    const struct request *r = share->request;
    return choosing_row(e, share) >= 0 && (r->obey.now || !takes_best(r, NULL));
}

static void choose_some(void *context, int thread, int n_threads)
{
    struct engine *e = context;
    int i;
    (void) n_threads;
    while ((i = atomic_fetch_add(&e->n_taken, 1)) < e->n_running) {
        struct request *r = e->running[i].request;
        const uint64_t *allowed;
        int budget = r->n_limit - r->n_tokens;
        if (chooses_slowly(e, &e->running[i]) && !obey_complete(&r->obey) && mask(e, r, budget, &allowed))
            r->chosen = choose(e, r, choosing_row(e, &e->running[i]), allowed, budget, &e->works[thread]);
    }
}

void answer_choose(struct engine *e)
{
    int n = 0;
    for (int i = 0; i < e->n_running; i++) {
        e->running[i].request->chosen = -1;
        n += chooses_slowly(e, &e->running[i]);
    }
    atomic_store(&e->n_taken, 0);
    if (n > 1)
        thread_pool_run(e->pool, choose_some, e);
}

static void next_token(struct engine *e, struct request *r, int row)
{
    const uint64_t *allowed = NULL;
    int budget = r->n_limit - r->n_tokens;
    if (obey_complete(&r->obey)) {
        r->finish = DSR1_FINISH_END;
        return;
    }
    if (r->chosen < 0 && !mask(e, r, budget, &allowed)) {
        r->finish = DSR1_FINISH_ERROR;
        error_set(&r->error, DSR1_ERR_LIMIT, "the constraint is too entangled here, or memory is short");
        return;
    }
    int32_t token = r->chosen >= 0 ? r->chosen : choose(e, r, row, allowed, budget, &e->works[0]);
    r->chosen = -1;
    r->tokens[r->n_tokens++] = token;
    obey_accept(&r->obey, token);
    tell(e, r, row);
    if (r->obey.thinking && r->finish == DSR1_FINISH_NONE && thought_is_over(r, token))
        end_thinking(e, r, token);
    if (r->finish == DSR1_FINISH_NONE)
        force(e, r);
    tell_forced(e, r);
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
        score_begin(e, r, rows[n - 1].logits);
}

/* What stands behind this row's token: it is known already, or chosen now. */
static void take_answer(struct engine *e, struct request *r, const struct step_row *row)
{
    int next = row->position + 1;
    if (row->logits < 0 || next < r->n_told || r->finish != DSR1_FINISH_NONE)
        return;
    if (next < r->n_tokens)
        tell(e, r, row->logits);
    else if (r->n_tokens < r->n_limit)
        next_token(e, r, row->logits);
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
        take_answer(e, r, &rows[i]);
    }
    if (!r->guessed)
        draft_learn(&r->draft, right);
    else if (n > 0)
        guess_learn(&r->guess, right > 0);
    e->n_accepted += right;
}

void answer_take(struct engine *e, struct share *share)
{
    struct request *r = share->request;
    const struct step_row *rows = e->step.rows + share->first;
    int n_known = share->n - share->n_draft - share->n_score;
    if (n_known > 0) {
        take_prompt(e, r, rows, n_known);
        if (request_answering(r))
            tell_forced(e, r);
        for (int i = 0; i < n_known; i++)
            take_answer(e, r, &rows[i]);
        take_drafts(e, r, rows + n_known, share->n_draft);
    }
    if (share->n_score > 0)
        score_take(e, share, share->n_score);
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

/* One that made way and was not taken up again has given back what it had computed. */
static int n_read(const struct request *r)
{
    if (r->n_told > r->n_prompt || r->n_computed >= r->n_prompt)
        return r->n_prompt;
    return r->n_computed > r->n_cached ? r->n_computed : r->n_cached;
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
        .prompt_tokens = n_read(r),
        .cached_tokens = r->n_cached,
        .completion_tokens = r->n_told - r->n_prompt,
        .queue_ms = span_ms(r->t_submit, r->t_start > 0 ? r->t_start : r->t_end),
        .prefill_ms = span_ms(r->t_start, r->t_first > 0 ? r->t_first : r->t_end),
        .decode_ms = span_ms(r->t_first, r->t_end),
    };
    answer_send(r, &event);
}
