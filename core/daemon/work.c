/*
 * work.c - one request, from its frame to its last event
 *
 * A work lives from its submit to its DONE event, which always comes; only
 * then is it freed. Its session may end before that.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/work.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

struct work {
    struct server *server;
    struct session *session;    /* NULL once it ended */
    struct work *next, **link;  /* in server->works */
    uint64_t request;           /* the client's id */
    uint64_t id;                /* the engine's */
    bool stream;
    struct buffer text;         /* not sent yet */
};

/* ---- The prompt ---- */

struct tokens {
    int32_t *ids;
    size_t n;
};

/* The core takes strings that end with a zero byte, so none may lie within. */
static char *copy_text(struct wire_text text, const char *what, dsr1_error *err)
{
    if (memchr(text.data, 0, text.size)) {
        error_set(err, DSR1_ERR_ARGUMENT, "%s holds a zero byte", what);
        return NULL;
    }
    char *copy = malloc(text.size + 1);
    if (!copy) {
        error_nomem(err, what);
        return NULL;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    return copy;
}

static ptrdiff_t encode(const struct server *server, const struct wire_complete *complete, const char *prompt,
                        const char *system, int32_t *ids, size_t capacity, dsr1_error *err)
{
    if (complete->raw) {
        ptrdiff_t n = dsr1_tokenize(server->model, prompt, complete->prompt.size, DSR1_ADD_BOS, ids, capacity);
        return n < 0 ? error_nomem(err, "the prompt's tokens") : n;
    }
    dsr1_message messages[2];
    size_t n_messages = 0;
    if (system)
        messages[n_messages++] = (dsr1_message){"system", system};
    messages[n_messages++] = (dsr1_message){"user", prompt};
    return dsr1_chat_tokens(server->model, messages, n_messages, true, ids, capacity, err);
}

/*
 * A guess of one token for two bytes is nearly always enough; when it is not,
 * the first call has told how many there are.
 */
static dsr1_status encode_all(const struct server *server, const struct wire_complete *complete, const char *prompt,
                              const char *system, struct tokens *tokens, dsr1_error *err)
{
    size_t capacity = (complete->prompt.size + complete->system.size) / 2 + 256;
    for (;;) {
        int32_t *ids = memory_resize(tokens->ids, capacity, sizeof *ids);
        if (!ids)
            return error_nomem(err, "the prompt's tokens");
        tokens->ids = ids;
        ptrdiff_t n = encode(server, complete, prompt, system, ids, capacity, err);
        if (n < 0)
            return (dsr1_status) n;
        tokens->n = (size_t) n;
        if (tokens->n <= capacity)
            return DSR1_OK;
        capacity = tokens->n;
    }
}

/* Refuses what cannot fit before it is cut into tokens: a long text would hold up everybody else meanwhile. */
static dsr1_status check_size(const struct server *server, const struct wire_complete *complete, dsr1_error *err)
{
    size_t most = (size_t) server->context_size * server->longest_token;
    if (complete->prompt.size > most || complete->system.size > most)
        return error_set(err, DSR1_ERR_LIMIT, "prompt has %zu bytes, which cannot fit a context of %d tokens",
                         complete->prompt.size + complete->system.size, server->context_size);
    return DSR1_OK;
}

static dsr1_status render(const struct server *server, const struct wire_complete *complete, struct tokens *tokens,
                          dsr1_error *err)
{
    dsr1_status status = check_size(server, complete, err);
    if (status < 0)
        return status;
    char *prompt = copy_text(complete->prompt, "the prompt", err);
    char *system = prompt && complete->has_system ? copy_text(complete->system, "the system text", err) : NULL;
    if (prompt && (system || !complete->has_system))
        status = encode_all(server, complete, prompt, system, tokens, err);
    else
        status = err->status;
    free(prompt);
    free(system);
    return status;
}

/* ---- Events ---- */

static void free_work(struct work *work)
{
    *work->link = work->next;
    if (work->next)
        work->next->link = work->link;
    work->server->pump.n_works--;
    buffer_free(&work->text);
    free(work);
}

static struct wire_text pending_text(const struct work *work)
{
    return (struct wire_text){work->text.size ? work->text.data : "", work->text.size};
}

static void finish(struct work *work, const dsr1_event *event)
{
    struct session *session = work->session;
    if (event->finish == DSR1_FINISH_ERROR && event->error) {
        session_say_error(session, work->request, event->error->status, event->error->message);
    } else if (work->text.failed) {
        session_say_error(session, work->request, DSR1_ERR_NOMEM, "out of memory for the answer");
    } else {
        struct wire_done done = {event->finish, event->usage, pending_text(work)};
        if (!wire_put_done(&session->out, work->request, &done))
            session_say_error(session, work->request, DSR1_ERR_LIMIT, "the answer does not fit a message");
        else
            session_put(session, true);
    }
}

static void take_event(struct work *work, const dsr1_event *event)
{
    struct session *session = work->session;
    bool heard = session && !session->dead;
    if (heard && event->text_size)
        buffer_append(&work->text, event->text, event->text_size);
    if (event->type == DSR1_EVENT_DONE) {
        if (heard)
            finish(work, event);
        free_work(work);
    } else if (heard && work->stream && work->text.size) {
        session_put(session, wire_put_text_event(&session->out, work->request, pending_text(work)));
        buffer_drop(&work->text, work->text.size);
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

/* ---- Requests ---- */

static struct work *find(const struct session *session, uint64_t request)
{
    for (struct work *work = session->server->works; work; work = work->next)
        if (work->session == session && work->request == request)
            return work;
    return NULL;
}

static struct work *new_work(struct session *session, uint64_t request, bool stream)
{
    struct server *server = session->server;
    struct work *work = calloc(1, sizeof *work);
    if (!work)
        return NULL;
    *work = (struct work){.server = server, .session = session, .request = request, .stream = stream};
    work->next = server->works;
    work->link = &server->works;
    if (work->next)
        work->next->link = &work->next;
    server->works = work;
    server->pump.n_works++;
    return work;
}

static dsr1_status submit(struct work *work, const struct wire_complete *complete, const struct tokens *tokens,
                          dsr1_error *err)
{
    const char *stop[WIRE_STOP_MAX];
    dsr1_status status = DSR1_OK;
    uint32_t n = 0;
    while (n < complete->n_stop && (stop[n] = copy_text(complete->stop[n], "a stop string", err)))
        n++;
    dsr1_request request = {.tokens = tokens->ids,
                            .n_tokens = tokens->n,
                            .max_tokens = complete->max_tokens,
                            .temperature = complete->temperature,
                            .top_k = complete->top_k,
                            .top_p = complete->top_p,
                            .min_p = complete->min_p,
                            .repeat_penalty = complete->repeat_penalty,
                            .seed = complete->seed,
                            .stop = stop,
                            .n_stop = n,
                            .priority = complete->priority,
                            .scope = work->session->scope,
                            .on_event = on_event,
                            .user = work};
    if (n == complete->n_stop)
        status = dsr1_engine_submit(work->server->engine, &request, &work->id, err);
    else
        status = err->status;
    while (n > 0)
        free((char *) stop[--n]);
    return status;
}

/* Without the lock, so that the pump can go on; only this thread adds works and ends sessions. */
static dsr1_status prepare(struct server *server, const struct wire_complete *complete, struct tokens *tokens,
                           dsr1_error *err)
{
    pump_unlock(&server->pump);
    dsr1_status status = render(server, complete, tokens, err);
    pump_lock(&server->pump);
    return status;
}

void work_complete(struct session *session, const struct wire_frame *frame)
{
    struct wire_complete complete;
    struct tokens tokens = {0};
    dsr1_error err = {0};
    dsr1_status status = wire_get_complete(frame, &complete);
    if (status < 0)
        error_set(&err, status, "broken request");
    else if (find(session, frame->request))
        status = error_set(&err, DSR1_ERR_ARGUMENT, "request %llu is running already",
                           (unsigned long long) frame->request);
    else
        status = prepare(session->server, &complete, &tokens, &err);
    if (status == DSR1_OK) {
        struct work *work = new_work(session, frame->request, complete.stream);
        status = work ? submit(work, &complete, &tokens, &err) : error_nomem(&err, "a request");
        if (work && status < 0)
            free_work(work);
        else if (work)
            pump_wake(&session->server->pump);
    }
    free(tokens.ids);
    if (status < 0)
        session_say_error(session, frame->request, status, err.message);
}

void work_count_tokens(struct session *session, const struct wire_frame *frame)
{
    struct wire_text text;
    if (wire_get_tokens(frame, &text) < 0) {
        session_say_error(session, frame->request, DSR1_ERR_FORMAT, "broken request");
        return;
    }
    /* A text may be long; only this thread can end the session meanwhile. */
    pump_unlock(&session->server->pump);
    ptrdiff_t n = dsr1_tokenize(session->server->model, text.data, text.size, 0, NULL, 0);
    pump_lock(&session->server->pump);
    if (n < 0)
        session_say_error(session, frame->request, (dsr1_status) n, "out of memory for the text's tokens");
    else
        session_put(session, wire_put_tokens_result(&session->out, frame->request, (uint64_t) n));
}

void work_cancel(struct session *session, uint64_t request)
{
    struct work *work = find(session, request);
    if (work)
        dsr1_engine_cancel(session->server->engine, work->id);
}

void work_abandon(struct session *session)
{
    for (struct work *work = session->server->works; work; work = work->next) {
        if (work->session == session) {
            work->session = NULL;
            dsr1_engine_cancel(session->server->engine, work->id);
        }
    }
}

void work_free_all(struct server *server)
{
    while (server->works)
        free_work(server->works);
}
