/*
 * load_client.c - requests to a dsr1-engine over several connections, and when their answers came
 *
 * One thread and ppoll. In an open loop a request is sent when it is due, however
 * slow the engine is, and its latency counts from then: a load generator that
 * waits for answers hides the very queues it should show.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "load_client.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ_SIZE = 1 << 16, MAX_CONNECTIONS = 256 };

#define QUESTION UINT64_MAX     /* the id of STATS and TOKENS */

/* ------------------------------------------------------------------ */
/* What comes                                                          */
/* ------------------------------------------------------------------ */

static void add_gap(struct load *load, double seconds)
{
    if (load->n_gaps == load->gaps_capacity) {
        size_t capacity = load->gaps_capacity ? 2 * load->gaps_capacity : 4096;
        double *gaps = memory_resize(load->gaps, capacity, sizeof *gaps);
        if (!gaps)
            return;
        load->gaps = gaps;
        load->gaps_capacity = capacity;
    }
    load->gaps[load->n_gaps++] = seconds;
}

static void take_text(struct load *load, struct load_request *r)
{
    double now = clock_seconds();
    if (r->first == 0)
        r->first = now;
    else
        add_gap(load, now - r->last);
    r->last = now;
}

static void finish(struct load *load, struct load_request *r, const char *failure)
{
    r->done = clock_seconds();
    r->failure = failure;
    load->n_done++;
}

/* The same few sentences come again and again, so a copy of each may stay. */
static const char *keep(struct wire_text text)
{
    char *copy = strndup(text.data, text.size);
    return copy ? copy : "out of memory";
}

static dsr1_status take_done(struct load *load, struct load_request *r, const struct wire_frame *frame, dsr1_error *err)
{
    struct wire_done *done = memory_array(1, sizeof *done);
    dsr1_status status = done ? wire_get_done(frame, done) : error_nomem(err, "an answer");
    if (status == DSR1_OK) {
        if (done->piece.text.size > 0 || r->first == 0)
            take_text(load, r);
        r->usage = done->usage;
        finish(load, r, done->finish == DSR1_FINISH_ERROR ? "ended with an error" : NULL);
    }
    free(done);
    return status;
}

static dsr1_status take_scores(struct load *load, struct load_request *r, const struct wire_frame *frame,
                               dsr1_error *err)
{
    struct wire_score_result *result = memory_array(1, sizeof *result);
    dsr1_status status = result ? wire_get_score_result(frame, result) : error_nomem(err, "an answer");
    if (status == DSR1_OK) {
        r->first = clock_seconds();
        r->usage = result->usage;
        finish(load, r, NULL);
    }
    free(result);
    return status;
}

static dsr1_status take_frame(struct load *load, const struct wire_frame *frame, dsr1_error *err)
{
    struct wire_error error;
    struct load_request *r = NULL;
    if (frame->request > 0 && frame->request <= (uint64_t) load->n_sent)
        r = &load->requests[frame->request - 1];
    switch (frame->type) {
    case WIRE_HELLO:
        return DSR1_OK;
    case WIRE_STATS_RESULT:
        load->answered = true;
        return wire_get_stats_result(frame, &load->stats);
    case WIRE_TOKENS_RESULT: {
        struct wire_ids ids;
        load->answered = true;
        return wire_get_tokens_result(frame, &load->n_tokens, &ids);
    }
    case WIRE_TEXT:
        if (r)
            take_text(load, r);
        return DSR1_OK;
    case WIRE_DONE:
        return r ? take_done(load, r, frame, err) : DSR1_OK;
    case WIRE_SCORE_RESULT:
        return r ? take_scores(load, r, frame, err) : DSR1_OK;
    case WIRE_ERROR:
        if (wire_get_error(frame, &error) != DSR1_OK)
            return error_set(err, DSR1_ERR_FORMAT, "the engine sent a broken error");
        if (!r)
            return error_set(err, error.status, "%.*s", (int) error.message.size, error.message.data);
        finish(load, r, keep(error.message));
        return DSR1_OK;
    default:
        return error_set(err, DSR1_ERR_IO, "the engine sent a frame of type %u", frame->type);
    }
}

static dsr1_status receive(struct load *load, struct load_connection *c, dsr1_error *err)
{
    struct wire_frame frame;
    char *room = wire_reader_room(&c->reader, READ_SIZE);
    if (!room)
        return error_nomem(err, "an answer");
    ssize_t n = recv(c->fd, room, READ_SIZE, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return DSR1_OK;
    if (n <= 0)
        return error_set(err, DSR1_ERR_IO, "the engine has hung up");
    wire_reader_received(&c->reader, (size_t) n);
    int got;
    while ((got = wire_reader_next(&c->reader, &frame)) > 0) {
        dsr1_status status = take_frame(load, &frame, err);
        if (status != DSR1_OK)
            return error_set(err, status, "the engine's answer cannot be read");
    }
    return got < 0 ? error_set(err, DSR1_ERR_FORMAT, "the engine's stream is broken") : DSR1_OK;
}

/* ------------------------------------------------------------------ */
/* What goes                                                           */
/* ------------------------------------------------------------------ */

static dsr1_status send_out(struct load_connection *c, dsr1_error *err)
{
    while (c->out.size > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return DSR1_OK;
        if (n < 0)
            return error_errno(err, DSR1_ERR_IO, "cannot send to the engine");
        buffer_drop(&c->out, (size_t) n);
    }
    return DSR1_OK;
}

static void put_prompt(const struct load *load, const struct load_request *r, struct wire_prompt *prompt)
{
    struct wire_text text = {load->prompts.data + r->prompt, r->prompt_size};
    prompt->kind = load->system ? WIRE_PROMPT_CHAT : WIRE_PROMPT_RAW;
    if (load->system)
        prompt->turns[prompt->n_turns++] = (struct wire_turn){wire_text("system"), wire_text(load->system)};
    prompt->turns[prompt->n_turns++] = (struct wire_turn){load->system ? wire_text("user") : (struct wire_text){"", 0}, text};
}

static dsr1_status send_score(struct load *load, int i, struct load_connection *c, dsr1_error *err)
{
    struct wire_score *score = memory_array(1, sizeof *score);
    if (!score)
        return error_nomem(err, "a request");
    put_prompt(load, &load->requests[i], &score->prompt);
    if (load->system)
        score->prompt.opening = wire_text("\"");   /* as dsr1_classify asks */
    score->n_continuations = (uint32_t) load->n_labels;
    for (size_t label = 0; label < load->n_labels && label < WIRE_LIST_MAX; label++)
        score->continuations[label] = wire_text(load->labels[label]);
    bool fits = wire_put_score(&c->out, (uint64_t) i + 1, score);
    free(score);
    return fits ? send_out(c, err) : error_set(err, DSR1_ERR_LIMIT, "a prompt does not fit a frame");
}

static dsr1_status send_request(struct load *load, dsr1_error *err)
{
    int i = load->n_sent++;
    struct load_request *r = &load->requests[i];
    struct load_connection *c = &load->connections[i % load->n_connections];
    if (load->n_labels > 0)
        return send_score(load, i, c, err);
    struct wire_complete *complete = memory_array(1, sizeof *complete);
    if (!complete)
        return error_nomem(err, "a request");
    put_prompt(load, r, &complete->prompt);
    complete->stream = true;
    complete->max_tokens = r->n_answer;
    complete->temperature = load->temperature;
    complete->seed = load->seed + (uint64_t) i;
    bool fits = wire_put_complete(&c->out, (uint64_t) i + 1, complete);
    free(complete);
    return fits ? send_out(c, err) : error_set(err, DSR1_ERR_LIMIT, "a prompt does not fit a frame");
}

/* Waits until something comes, or until then. */
static dsr1_status pump(struct load *load, double until, dsr1_error *err)
{
    struct pollfd fds[MAX_CONNECTIONS];
    double wait = until - clock_seconds();
    wait = wait < 0 ? 0 : wait > 1 ? 1 : wait;
    struct timespec timeout = {(time_t) wait, (long) ((wait - floor(wait)) * 1e9)};
    for (int i = 0; i < load->n_connections; i++)
        fds[i] = (struct pollfd){.fd = load->connections[i].fd,
                                 .events = (short) (POLLIN | (load->connections[i].out.size > 0 ? POLLOUT : 0))};
    if (ppoll(fds, (nfds_t) load->n_connections, &timeout, NULL) < 0 && errno != EINTR)
        return error_errno(err, DSR1_ERR_IO, "poll");
    for (int i = 0; i < load->n_connections; i++) {
        dsr1_status status = DSR1_OK;
        if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
            status = receive(load, &load->connections[i], err);
        if (status == DSR1_OK && fds[i].revents & POLLOUT)
            status = send_out(&load->connections[i], err);
        if (status != DSR1_OK)
            return status;
    }
    return DSR1_OK;
}

dsr1_status load_client_run(struct load *load, dsr1_error *err)
{
    dsr1_status status = DSR1_OK;
    load->start = clock_seconds();
    for (int i = 0; i < load->n_requests; i++)
        load->requests[i].due += load->start;
    while (status == DSR1_OK && load->n_done < load->n_requests) {
        double now = clock_seconds();
        while (status == DSR1_OK && load->n_sent < load->n_requests) {
            struct load_request *r = &load->requests[load->n_sent];
            if (load->rate > 0 ? r->due > now : load->n_sent - load->n_done >= load->concurrency)
                break;
            if (load->rate <= 0)
                r->due = now;
            status = send_request(load, err);
        }
        bool waits = load->rate > 0 && load->n_sent < load->n_requests;
        if (status == DSR1_OK)
            status = pump(load, waits ? load->requests[load->n_sent].due : now + 1, err);
    }
    return status;
}

/* ------------------------------------------------------------------ */
/* Questions, opening and closing                                      */
/* ------------------------------------------------------------------ */

static dsr1_status ask(struct load *load, bool put, dsr1_error *err)
{
    load->answered = false;
    dsr1_status status = put ? send_out(&load->connections[0], err) : error_nomem(err, "a question");
    while (status == DSR1_OK && !load->answered)
        status = pump(load, clock_seconds() + 1, err);
    return status;
}

dsr1_status load_client_stats(struct load *load, dsr1_error *err)
{
    return ask(load, wire_put_bare(&load->connections[0].out, WIRE_STATS, QUESTION), err);
}

dsr1_status load_client_tokens(struct load *load, const char *text, size_t size, dsr1_error *err)
{
    struct wire_tokens tokens = {.text = {text, size}};
    return ask(load, wire_put_tokens(&load->connections[0].out, QUESTION, &tokens), err);
}

static dsr1_status connect_one(struct load_connection *c, const char *path, dsr1_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct wire_hello hello = {.protocol = WIRE_PROTOCOL, .peer = WIRE_PEER_OTHER, .pid = (uint32_t) getpid(),
                               .version = wire_text(DSR1_VERSION), .model = wire_text("")};
    if (strlen(path) >= sizeof address.sun_path)
        return error_set(err, DSR1_ERR_ARGUMENT, "%s: too long for a socket", path);
    strcpy(address.sun_path, path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *) &address, sizeof address) != 0)
        return error_errno(err, DSR1_ERR_IO, "cannot connect to %s", path);
    return wire_put_hello(&c->out, &hello) ? send_out(c, err) : error_nomem(err, "a connection");
}

dsr1_status load_client_open(struct load *load, const char *path, int n, dsr1_error *err)
{
    if (n > MAX_CONNECTIONS)
        return error_set(err, DSR1_ERR_ARGUMENT, "more than %d connections", MAX_CONNECTIONS);
    load->connections = memory_array((size_t) n, sizeof *load->connections);
    if (!load->connections)
        return error_nomem(err, "connections");
    for (int i = 0; i < n; i++)
        load->connections[i].fd = -1;
    load->n_connections = n;
    dsr1_status status = DSR1_OK;
    for (int i = 0; i < n && status == DSR1_OK; i++)
        status = connect_one(&load->connections[i], path, err);
    return status;
}

void load_client_close(struct load *load)
{
    for (int i = 0; i < load->n_connections; i++) {
        struct load_connection *c = &load->connections[i];
        if (c->fd >= 0)
            close(c->fd);
        buffer_free(&c->out);
        wire_reader_free(&c->reader);
    }
    free(load->connections);
    load->connections = NULL;
    load->n_connections = 0;
}
