/*
 * server.c - the engine process: one model, many clients
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/server.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "daemon/listener.h"
#include "daemon/query.h"
#include "daemon/session.h"
#include "daemon/work.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LISTENER, PARENT, PUMP, FIRST_SESSION };

/* Often enough for a heartbeat a second. */
static const struct timespec half_second = {0, 500000000};

static volatile sig_atomic_t terminated;

static void on_term(int signal)
{
    (void) signal;
    terminated = 1;
}

static void on_quit(int signal)
{
    (void) signal;
    _exit(2);
}

/*
 * The postmaster signals whole process groups, of which the engine is a member:
 * SIGINT is meant for backends, SIGQUIT means at once and without a core dump.
 */
static void set_signals(bool has_parent)
{
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, has_parent ? SIG_IGN : on_term);
    signal(SIGQUIT, on_quit);
}

/*
 * From now on SIGTERM (and SIGINT) ends the loop in good order. They are blocked
 * except while it waits, so that none slips in between the look at the flag
 * and the wait. Before, SIGTERM just kills: loading may take long.
 */
static void hold_term(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGTERM, on_term);
}

/* One client, one descriptor; poll() does not mind how many. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
    setrlimit(RLIMIT_NOFILE, &limit);
}

dsr1_status server_open(struct server *server, const struct settings *settings, dsr1_error *err)
{
    dsr1_engine_stats stats;
    struct served *served;
    *server = (struct server){.settings = settings, .listener = -1};
    server->loader = (struct loader){.pump = &server->pump, .options = &settings->engine,
                                     .notes = settings->digests};
    set_signals(settings->parent_fd >= 0);
    dsr1_status status = parent_open(&server->parent, settings->parent_fd, err);
    if (status < 0)
        return status;
    raise_descriptors();
    log_set_sink(parent_log, &server->parent, LOG_INFO);
    parent_say(&server->parent, "loading");
    status = served_open(settings->model, &settings->engine, settings->digests, &served, err);
    if (status < 0)
        return status;
    hold_term();
    status = pump_open(&server->pump, served, err);
    if (status < 0)
        return status;
    server->listener = listener_open(settings->socket, err);
    if (server->listener < 0)
        return (dsr1_status) server->listener;
    stats = server->pump.stats;
    log_line(LOG_INFO, "serving %s: %d threads (%s), context %d, %d requests at once", settings->model,
             stats.n_threads, dsr1_cpu_name(), stats.context_size, stats.max_batch);
    parent_say(&server->parent, "ready");
    return DSR1_OK;
}

/* Who waits for answers shall know that they may be asked for again. */
static void say_goodbye(struct server *server)
{
    for (struct session *session = server->sessions; session; session = session->next) {
        if (session->greeted && !session->dead) {
            session_put(session, wire_put_bare(&session->out, WIRE_GOODBYE, 0));
            session_flush(session);
        }
        session->dead = true;
    }
    session_sweep(server);
}

bool server_close(struct server *server)
{
    if (server->pump.started) {
        pump_lock(&server->pump);
        say_goodbye(server);
        pump_unlock(&server->pump);
    }
    if (server->listener >= 0) {
        unlink(server->settings->socket);
        close(server->listener);
    }
    /* A model that is being opened cannot be waited for either. */
    if (server->loader.busy || !pump_close(&server->pump))
        return false;
    work_free_all(server);
    return true;
}

/* ------------------------------------------------------------------ */
/* The loop                                                            */
/* ------------------------------------------------------------------ */

static void accept_clients(struct server *server)
{
    for (;;) {
        int fd = listener_accept(server->listener);
        if (fd >= 0) {
            if (!session_open(server, fd))
                log_line(LOG_WARN, "no memory for another client");
        } else if (errno == EACCES) {
            log_line(LOG_WARN, "turned away a client of another user");
        } else {
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED)
                return;
            /* Out of descriptors, most likely: the client waits, and the loop must not spin meanwhile. */
            log_line(LOG_WARN, "cannot accept a client now: %s", strerror(errno));
            server->accept_after = clock_seconds() + 1;
            return;
        }
    }
}

static size_t fill_polls(const struct server *server, struct pollfd *polls)
{
    size_t n = FIRST_SESSION;
    bool accepting = clock_seconds() >= server->accept_after;
    polls[LISTENER] = (struct pollfd){accepting ? server->listener : -1, POLLIN, 0};
    polls[PARENT] = (struct pollfd){server->parent.fd, POLLIN, 0};
    polls[PUMP] = (struct pollfd){server->pump.wake_fd, POLLIN, 0};
    for (struct session *session = server->sessions; session; session = session->next)
        polls[n++] = (struct pollfd){session->fd, session_events(session), 0};
    return n;
}

/* The sessions are in the order of fill_polls; new ones join at the head afterwards. */
static void serve_sessions(struct server *server, const struct pollfd *polls)
{
    size_t i = FIRST_SESSION;
    for (struct session *session = server->sessions; session; session = session->next, i++) {
        short events = polls[i].revents;
        if (events & POLLIN)
            session_receive(session);
        else if (events & (POLLERR | POLLHUP | POLLNVAL))
            session->dead = true;
    }
}

/* Sleeps, without the lock, until something is ready: in polls, which it may move. Negative: memory is short. */
static int wait_for_events(struct server *server, struct pollfd **polls, dsr1_error *err)
{
    sigset_t none;
    struct pollfd *room = memory_resize(*polls, FIRST_SESSION + (size_t) server->n_sessions, sizeof *room);
    if (!room)
        return error_nomem(err, "the list of clients");
    *polls = room;
    sigemptyset(&none);
    size_t n = fill_polls(server, room);
    pump_unlock(&server->pump);
    int ready = ppoll(room, n, &half_second, &none);
    pump_lock(&server->pump);
    return ready < 0 ? 0 : ready;
}

/* One turn of the loop. False: time to end. */
static bool wait_and_serve(struct server *server, struct pollfd **polls, dsr1_error *err)
{
    int ready = wait_for_events(server, polls, err);
    if (terminated || ready < 0)
        return false;
    if (ready > 0) {
        const struct pollfd *polled = *polls;
        if (polled[PARENT].revents && parent_gone(&server->parent))
            return false;
        if (polled[PUMP].revents) {
            pump_woken(&server->pump);
            query_reloaded(server);
        }
        serve_sessions(server, polled);
        if (polled[LISTENER].revents)
            accept_clients(server);
    }
    for (struct session *session = server->sessions; session; session = session->next)
        session_flush(session);
    session_sweep(server);
    if (!pump_hangs(&server->pump))
        parent_beat(&server->parent);
    return !server->pump.failed;
}

dsr1_status server_run(struct server *server, dsr1_error *err)
{
    struct pollfd *polls = NULL;
    pump_lock(&server->pump);
    while (wait_and_serve(server, &polls, err))
        ;
    if (server->pump.failed)
        *err = server->pump.err;
    pump_unlock(&server->pump);
    free(polls);
    return err->status;
}
