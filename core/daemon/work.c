/*
 * work.c - one request, from its frame to its last event
 *
 * A work lives from its submit to its DONE event, which always comes; only
 * then is it freed. Its session may end before that.
 *
 * Answers depend on the request alone, so one that is asked for again while it
 * is computed, by whoever shares computed prefixes with who asked first, joins
 * that work: it follows it, takes no place in the engine, and gets the same
 * answer. What one of them cancels goes on for the others. Streamed answers and
 * those with a time limit stand alone.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/work.h"

#include "base/error.h"
#include "daemon/draft.h"

#include <stdlib.h>
#include <string.h>

struct work {
    struct server *server;
    struct session *session;    /* NULL once it ended */
    struct served *served;
    struct work *next, **link;  /* in server->works */
    enum wire_type type;        /* of the frame that asked */
    uint64_t request;           /* the client's id */
    uint64_t scope;             /* the session's */
    uint64_t id;                /* the engine's */
    bool stream, want_tokens;
    bool cancelled;             /* in the engine */
    dsr1_phase phase;           /* as the engine told it last */
    struct buffer key;          /* what was asked; empty: nobody may join */
    struct work *leader;        /* who computes it; NULL: this one */
    struct work *followers, *next_follower;
    struct buffer text, reasoning, tokens;  /* not sent yet */
    uint32_t n_tokens;
    struct wire_score_result *scores;       /* SCORE */
    struct wire_embed_result *embedding;    /* EMBED */
};

static void free_memory(struct work *work)
{
    *work->link = work->next;
    if (work->next)
        work->next->link = work->link;
    buffer_free(&work->key);
    buffer_free(&work->text);
    buffer_free(&work->reasoning);
    buffer_free(&work->tokens);
    free(work->scores);
    free(work->embedding);
    free(work);
}

static void free_work(struct work *work)
{
    work->served->n_works--;
    free_memory(work);
}

/* ------------------------------------------------------------------ */
/* Events                                                              */
/* ------------------------------------------------------------------ */

static struct wire_text text_of(const struct buffer *buffer)
{
    return (struct wire_text){buffer->size ? buffer->data : "", buffer->size};
}

static struct wire_piece piece_of(const struct work *work)
{
    return (struct wire_piece){text_of(&work->text), text_of(&work->reasoning), work->n_tokens,
                               text_of(&work->tokens)};
}

/* Who follows computed nothing of the prompt. */
static dsr1_usage usage_of(const struct work *to, const dsr1_event *event)
{
    dsr1_usage usage = event->usage;
    if (to->leader)
        usage.cached_tokens = usage.prompt_tokens;
    return usage;
}

static bool put_result(struct work *work, const struct work *to, const dsr1_event *event)
{
    struct buffer *out = &to->session->out;
    struct wire_done done = {event->finish, usage_of(to, event), work->served->id, piece_of(work)};
    bool whole = event->finish == DSR1_FINISH_LENGTH;
    if (work->type == WIRE_SCORE && whole) {
        work->scores->usage = done.usage;
        work->scores->model = done.model;
        return wire_put_score_result(out, to->request, work->scores);
    }
    if (work->type == WIRE_EMBED && whole) {
        work->embedding->usage = done.usage;
        work->embedding->model = done.model;
        return wire_put_embed_result(out, to->request, work->embedding);
    }
    return wire_put_done(out, to->request, &done);
}

static bool is_heard(const struct work *work)
{
    return work->session && !work->session->dead;
}

/* What a work computed, to itself or to one that follows it. */
static void finish(struct work *work, const struct work *to, const dsr1_event *event)
{
    struct session *session = to->session;
    if (!is_heard(to))
        return;
    if (event->finish == DSR1_FINISH_ERROR && event->error)
        session_say_error(session, to->request, event->error->status, event->error->message);
    else if (work->text.failed || work->reasoning.failed || work->tokens.failed)
        session_say_error(session, to->request, DSR1_ERR_NOMEM, "out of memory for the answer");
    else if (put_result(work, to, event))
        session_put(session, true);
    else
        session_say_error(session, to->request, DSR1_ERR_LIMIT, "the answer does not fit a message");
}

static void finish_all(struct work *work, const dsr1_event *event)
{
    finish(work, work, event);
    while (work->followers) {
        struct work *follower = work->followers;
        work->followers = follower->next_follower;
        finish(work, follower, event);
        free_work(follower);
    }
    free_work(work);
}

static void keep_token(struct work *work, const dsr1_event *event)
{
    char bytes[256];
    struct wire_token token = {.id = event->token, .logprob = event->logprob, .n_top = event->n_top};
    size_t n = dsr1_token_bytes(work->served->model, event->token, false, bytes, sizeof bytes);
    token.bytes = (struct wire_text){bytes, n < sizeof bytes ? n : sizeof bytes};
    for (int i = 0; i < event->n_top; i++)
        token.top[i] = event->top[i];
    wire_put_token(&work->tokens, &token);
    work->n_tokens++;
}

static void keep(struct work *work, const dsr1_event *event)
{
    buffer_append(&work->text, event->text, event->text_size);
    buffer_append(&work->reasoning, event->reasoning, event->reasoning_size);
    if (event->type == DSR1_EVENT_TOKEN && work->want_tokens)
        keep_token(work, event);
    if (event->type == DSR1_EVENT_SCORE)
        work->scores->scores[event->index] = event->score;
    if (event->type == DSR1_EVENT_EMBEDDING) {
        work->embedding->n = (uint32_t) event->n_embd;
        memcpy(work->embedding->values, event->embedding, (size_t) event->n_embd * sizeof *event->embedding);
    }
}

static void send_piece(struct work *work)
{
    struct wire_piece piece = piece_of(work);
    session_put(work->session, wire_put_text_event(&work->session->out, work->request, &piece));
    buffer_drop(&work->text, work->text.size);
    buffer_drop(&work->reasoning, work->reasoning.size);
    buffer_drop(&work->tokens, work->tokens.size);
    work->n_tokens = 0;
}

static void put_phase(const struct work *to, dsr1_phase phase)
{
    struct wire_phase m = {phase};
    if (is_heard(to) && to->session->phases && phase != DSR1_PHASE_QUEUED)
        session_put(to->session, wire_put_phase(&to->session->out, to->request, &m));
}

/* Now, not after the step: it may be a long one. */
static void take_phase(struct work *work, dsr1_phase phase)
{
    work->phase = phase;
    put_phase(work, phase);
    for (struct work *follower = work->followers; follower; follower = follower->next_follower)
        put_phase(follower, phase);
    pump_call_main(&work->server->pump);
}

static void take_event(struct work *work, const dsr1_event *event)
{
    if (event->type == DSR1_EVENT_PHASE) {
        take_phase(work, event->phase);
        return;
    }
    if (is_heard(work) || work->followers)
        keep(work, event);
    if (event->type == DSR1_EVENT_DONE) {
        finish_all(work, event);
    } else if (is_heard(work) && work->stream && (work->text.size || work->reasoning.size || work->n_tokens)) {
        send_piece(work);
    }
}

/* On the pump's thread; a step calls it without any lock of the engine. */
static void on_event(const dsr1_event *event, void *user)
{
    struct work *work = user;
    struct pump *pump = &work->server->pump;
    pump_lock(pump);
    pump->news |= work->stream || event->type == DSR1_EVENT_DONE;
    take_event(work, event);
    pump_unlock(pump);
}

/* ------------------------------------------------------------------ */
/* Requests                                                            */
/* ------------------------------------------------------------------ */

static struct work *find(const struct session *session, uint64_t request)
{
    for (struct work *work = session->server->works; work; work = work->next)
        if (work->session == session && work->request == request)
            return work;
    return NULL;
}

static struct work *new_work(struct session *session, enum wire_type type, uint64_t request)
{
    struct server *server = session->server;
    struct work *work = calloc(1, sizeof *work);
    if (!work)
        return NULL;
    *work = (struct work){.server = server, .session = session, .served = server->pump.served, .type = type,
                          .request = request, .scope = session->scope};
    work->next = server->works;
    work->link = &server->works;
    if (work->next)
        work->next->link = &work->next;
    server->works = work;
    /* From now on the pump does not close what is served here. */
    work->served->n_works++;
    return work;
}

/* ------------------------------------------------------------------ */
/* Asked twice                                                         */
/* ------------------------------------------------------------------ */

static bool may_be_shared(enum wire_type type, const union draft_message *m, const struct wire_terms *terms)
{
    return terms->timeout_ms == 0 && !(type == WIRE_COMPLETE && m->complete.stream);
}

/* A work that is computing the same for the same circle. */
static struct work *find_same(const struct session *session, enum wire_type type, const struct wire_frame *frame)
{
    const struct server *server = session->server;
    for (struct work *work = server->works; work; work = work->next)
        if (work->type == type && work->key.size == frame->size && !work->leader && !work->cancelled &&
            work->served == server->pump.served && work->scope == session->scope &&
            memcmp(work->key.data, frame->payload, frame->size) == 0)
            return work;
    return NULL;
}

static void follow(struct work *work, struct work *leader)
{
    work->leader = leader;
    work->next_follower = leader->followers;
    leader->followers = work;
    put_phase(work, leader->phase);
}

static void cancel_in_engine(struct work *work)
{
    work->cancelled = true;
    dsr1_engine_cancel(work->served->engine, work->id);
}

/* Nobody wants it any more for this one's sake. */
static void stop_following(struct work *work)
{
    struct work *leader = work->leader, **link = &leader->followers;
    while (*link != work)
        link = &(*link)->next_follower;
    *link = work->next_follower;
    free_work(work);
    if (!leader->session && !leader->followers)
        cancel_in_engine(leader);
}

static void give_up(struct work *work)
{
    if (work->leader)
        stop_following(work);
    else if (work->followers)
        work->session = NULL;   /* the others still want it */
    else
        cancel_in_engine(work);
}

/* What the answer is gathered in. */
static bool prepare_result(struct work *work, const union draft_message *m)
{
    if (work->type == WIRE_COMPLETE) {
        work->stream = m->complete.stream;
        work->want_tokens = m->complete.want_logprobs || m->complete.n_top > 0;
        return true;
    }
    if (work->type == WIRE_EMBED)
        return (work->embedding = calloc(1, sizeof *work->embedding)) != NULL;
    work->scores = calloc(1, sizeof *work->scores);
    if (work->scores)
        work->scores->n = m->score.n_continuations;
    return work->scores != NULL;
}

static dsr1_status submit(struct work *work, struct draft *d, const struct wire_terms *terms, dsr1_error *err)
{
    dsr1_request *r = &d->request;
    r->tokens = d->prompt.ids;
    r->n_tokens = d->prompt.n;
    r->priority = terms->priority;
    r->timeout_ms = terms->timeout_ms;
    r->scope = work->session->scope;
    r->client = (uint64_t) (uintptr_t) work->session;
    r->want_phases = work->session->phases;
    r->on_event = on_event;
    r->user = work;
    for (size_t i = 0; work->scores && i < r->n_continuations; i++)
        work->scores->n_tokens[i] = (int32_t) r->continuations[i].n;
    return dsr1_engine_submit(work->served->engine, r, &work->id, err);
}

/*
 * After a success the work may be over already. Texts become tokens, and constraints automata, without the lock, so that the
 * pump can go on; only this thread adds works and ends sessions, and a work
 * keeps what it is served by.
 */
static dsr1_status start(struct work *work, const union draft_message *m, const struct wire_terms *terms, dsr1_error *err)
{
    struct pump *pump = &work->server->pump;
    struct draft *d = calloc(1, sizeof *d);
    if (!d || !prepare_result(work, m)) {
        free(d);
        return error_nomem(err, "a request");
    }
    pump_unlock(pump);
    dsr1_status status = adapters_get(&work->served->adapters, work->served->model, work->server->settings->adapters,
                                      terms->adapter, &d->request.adapter, err);
    if (status == DSR1_OK)
        status = draft_fill(work->served, work->type, m, d, err);
    if (status == DSR1_OK)
        status = submit(work, d, terms, err);
    draft_free(d);
    pump_lock(pump);
    return status;
}

static void begin(struct session *session, const struct wire_frame *frame, enum wire_type type)
{
    struct wire_terms terms = {0};
    dsr1_error err = {0};
    struct served *served = session->server->pump.served;
    struct work *work = NULL;
    union draft_message *m = malloc(sizeof *m);
    dsr1_status status = m ? draft_read(frame, type, m, &terms) : error_nomem(&err, "a request");
    if (status == DSR1_ERR_FORMAT)
        error_set(&err, status, "broken request");
    else if (status == DSR1_OK && find(session, frame->request))
        status = error_set(&err, DSR1_ERR_ARGUMENT, "request %llu is running already",
                           (unsigned long long) frame->request);
    bool shared = status == DSR1_OK && may_be_shared(type, m, &terms);
    struct work *same = shared ? find_same(session, type, frame) : NULL;
    if (status == DSR1_OK) {
        work = new_work(session, type, frame->request);
        if (work && same)
            follow(work, same);
        else if (work && shared)
            buffer_append(&work->key, frame->payload, frame->size);
        status = !work ? error_nomem(&err, "a request") : same ? DSR1_OK : start(work, m, &terms, &err);
    }
    if (status == DSR1_OK)
        pump_wake(&session->server->pump, served);
    else if (work)
        free_work(work);
    if (status < 0)
        session_say_error(session, frame->request, status, err.message);
    free(m);
}

void work_complete(struct session *session, const struct wire_frame *frame)
{
    begin(session, frame, WIRE_COMPLETE);
}

void work_score(struct session *session, const struct wire_frame *frame)
{
    begin(session, frame, WIRE_SCORE);
}

void work_embed(struct session *session, const struct wire_frame *frame)
{
    begin(session, frame, WIRE_EMBED);
}

void work_cancel(struct session *session, uint64_t request)
{
    struct work *work = find(session, request);
    if (!work)
        return;
    if (work->leader || work->followers) {
        /* What goes on for others ends for this one now. */
        struct wire_done done = {.finish = DSR1_FINISH_CANCELLED, .piece = piece_of(work)};
        session_put(session, wire_put_done(&session->out, request, &done));
    }
    give_up(work);
}

void work_list(struct session *session, const struct wire_frame *frame)
{
    struct wire_requests *list = calloc(1, sizeof *list);
    for (struct work *work = session->server->works; list && work && list->n < WIRE_REQUESTS_MAX; work = work->next) {
        const struct work *computed = work->leader ? work->leader : work;
        struct wire_progress p = {.request = work->request};
        if (!is_heard(work) || !dsr1_engine_get_progress(work->served->engine, computed->id, &p.progress))
            continue;
        p.pid = work->session->pid;
        list->list[list->n++] = p;
    }
    if (list)
        session_put(session, wire_put_requests_result(&session->out, frame->request, list));
    else
        session_say_error(session, frame->request, DSR1_ERR_NOMEM, "out of memory for the list of requests");
    free(list);
}

void work_abandon(struct session *session)
{
    for (struct work *work = session->server->works, *next; work; work = next) {
        next = work->next;
        if (work->session != session)
            continue;
        if (!work->leader)
            work->session = NULL;
        give_up(work);
    }
}

void work_free_all(struct server *server)
{
    while (server->works)
        free_memory(server->works);
}
