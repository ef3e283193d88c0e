/*
 * session.c - one client's connection: frames in, frames out, what it asked for
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/session.h"

#include "base/log.h"
#include "daemon/query.h"
#include "daemon/work.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RECEIVE_SIZE = 64 << 10,
    MAX_RECEIVES = 16,              /* per turn of the loop, so that one client cannot hold it up */
    SOFT_BACKLOG = 1 << 20,         /* stop reading requests */
    HARD_BACKLOG = 2 * WIRE_FRAME_MAX,
    KEEP_CAPACITY = 64 << 10
};

bool session_open(struct server *server, int fd)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        close(fd);
        return false;
    }
    session->server = server;
    session->fd = fd;
    session->next = server->sessions;
    server->sessions = session;
    server->n_sessions++;
    return true;
}

static size_t backlog(const struct session *session)
{
    return session->out.size - session->sent;
}

short session_events(const struct session *session)
{
    short events = 0;
    if (!session->ending && backlog(session) < SOFT_BACKLOG)
        events |= POLLIN;
    if (backlog(session) > 0)
        events |= POLLOUT;
    return events;
}

void session_put(struct session *session, bool put)
{
    if (!put || session->out.failed || backlog(session) > HARD_BACKLOG) {
        log_line(LOG_WARN, "a client was cut off: %s",
                 put && !session->out.failed ? "it does not read its answers" : "no memory for its answers");
        session->dead = true;
    }
}

void session_say_error(struct session *session, uint64_t request, dsr1_status status, const char *message)
{
    struct wire_error error = {status, wire_text(message)};
    session_put(session, wire_put_error(&session->out, request, &error));
}

/* The stream cannot be understood any more: say why, then hang up. */
static void refuse(struct session *session, dsr1_status status, const char *message)
{
    log_line(LOG_WARN, "a client was turned away: %s", message);
    session_say_error(session, 0, status, message);
    session->ending = true;
}

static void take_hello(struct session *session, const struct wire_frame *frame)
{
    struct wire_hello theirs;
    struct wire_hello ours = {.protocol = WIRE_PROTOCOL,
                              .peer = WIRE_PEER_ENGINE,
                              .pid = (uint32_t) getpid(),
                              .version = wire_text(dsr1_version()),
                              .model = wire_text(session->server->pump.served->path)};
    dsr1_status status = wire_get_hello(frame, &theirs);
    if (status == DSR1_ERR_FORMAT || session->greeted) {
        refuse(session, DSR1_ERR_FORMAT, "a broken greeting");
        return;
    }
    /* Ours goes out even to a stranger, so that it can tell which version it met. */
    session_put(session, wire_put_hello(&session->out, &ours));
    session->greeted = status == DSR1_OK;
    session->pid = theirs.pid;
    session->phases = theirs.phases;
    session->scope = (uint64_t) theirs.database << 32 | theirs.role;
    if (!session->greeted) {
        char message[100];
        snprintf(message, sizeof message, "the client speaks protocol %u, the engine %d", theirs.protocol,
                 WIRE_PROTOCOL);
        refuse(session, DSR1_ERR_UNSUPPORTED, message);
    }
}

static void take_frame(struct session *session, const struct wire_frame *frame)
{
    if (!session->greeted && frame->type != WIRE_HELLO) {
        refuse(session, DSR1_ERR_FORMAT, "a request came before the greeting");
        return;
    }
    switch (frame->type) {
    case WIRE_HELLO: take_hello(session, frame); break;
    case WIRE_COMPLETE: work_complete(session, frame); break;
    case WIRE_SCORE: work_score(session, frame); break;
    case WIRE_EMBED: work_embed(session, frame); break;
    case WIRE_TOKENS: query_tokens(session, frame); break;
    case WIRE_DETOKENIZE: query_detokenize(session, frame); break;
    case WIRE_MODEL: query_model(session, frame); break;
    case WIRE_ADAPTER: query_adapter(session, frame); break;
    case WIRE_RELOAD: query_reload(session, frame); break;
    case WIRE_CANCEL: work_cancel(session, frame->request); break;
    case WIRE_STATS: query_stats(session, frame); break;
    case WIRE_REQUESTS: work_list(session, frame); break;
    case WIRE_PING: session_put(session, wire_put_bare(&session->out, WIRE_PONG, frame->request)); break;
    default:
        /* Its size is known, so a newer client's request can be declined alone. */
        session_say_error(session, frame->request, DSR1_ERR_UNSUPPORTED, "the engine does not know this request");
    }
}

static void take_frames(struct session *session)
{
    struct wire_frame frame;
    int got = 0;
    while (!session->dead && !session->ending && (got = wire_reader_next(&session->reader, &frame)) > 0)
        take_frame(session, &frame);
    if (got < 0)
        refuse(session, DSR1_ERR_FORMAT, "broken frame");
}

/* Is there perhaps more to receive? */
static bool receive_once(struct session *session)
{
    char *room = wire_reader_room(&session->reader, RECEIVE_SIZE);
    if (!room) {
        session->dead = true;
        return false;
    }
    ssize_t n = recv(session->fd, room, RECEIVE_SIZE, 0);
    if (n > 0) {
        wire_reader_received(&session->reader, (size_t) n);
        take_frames(session);
    } else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        session->dead = true;
    }
    return n == RECEIVE_SIZE;
}

void session_receive(struct session *session)
{
    for (int i = 0; i < MAX_RECEIVES && receive_once(session); i++)
        if (session->dead || !(session_events(session) & POLLIN))
            break;
}

void session_flush(struct session *session)
{
    while (!session->dead && backlog(session) > 0) {
        ssize_t n = send(session->fd, session->out.data + session->sent, backlog(session), MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            break;
        if (n < 0)
            session->dead = true;
        else
            session->sent += (size_t) n;
    }
    if (session->sent > SOFT_BACKLOG / 2 || backlog(session) == 0) {
        buffer_drop(&session->out, session->sent);
        session->sent = 0;
    }
    if (session->out.size == 0 && session->out.capacity > KEEP_CAPACITY)
        buffer_free(&session->out);
}

static void close_session(struct session *session)
{
    work_abandon(session);
    query_abandon(session);
    close(session->fd);
    wire_reader_free(&session->reader);
    buffer_free(&session->out);
    session->server->n_sessions--;
    free(session);
}

void session_sweep(struct server *server)
{
    struct session **link = &server->sessions;
    while (*link) {
        struct session *session = *link;
        if (session->dead || (session->ending && backlog(session) == 0)) {
            *link = session->next;
            close_session(session);
        } else {
            link = &session->next;
        }
    }
}
