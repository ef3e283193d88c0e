/*
 * line_peer.c - lines to and from another process, over two descriptors or one socket
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/line_peer.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE_MAX_BYTES = 1 << 20,
    LOOK_MS = 200               /* a signal that came just before poll() is seen after so long */
};

void line_peer_begin(struct line_peer *peer, int to, int from)
{
    peer->to = to;
    peer->from = from;
    peer->in.size = 0;
    fcntl(to, F_SETFL, fcntl(to, F_GETFL) | O_NONBLOCK);
    fcntl(from, F_SETFL, fcntl(from, F_GETFL) | O_NONBLOCK);
}

void line_peer_close(struct line_peer *peer)
{
    buffer_free(&peer->in);
}

/* Hands over whole lines; returns whether more are wanted. */
static bool read_lines(struct line_peer *peer, line_peer_fn function, void *user)
{
    struct buffer *in = &peer->in;
    char *end;
    bool more = true;
    while (more && in->size > 0 && (end = memchr(in->data, '\n', in->size))) {
        size_t size = (size_t) (end - in->data);
        if (size > 0)
            more = function(user, in->data, size);
        buffer_drop(in, size + 1);
    }
    return more;
}

/* Returns false when the other side is gone. */
static bool read_some(struct line_peer *peer)
{
    for (;;) {
        char *to = buffer_reserve(&peer->in, 65536);
        ssize_t n = to ? read(peer->from, to, 65536) : 0;
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0 || peer->in.size > LINE_MAX_BYTES)
            return false;
        peer->in.size += (size_t) n;
        if (n < 65536)
            return true;
    }
}

static bool write_some(const struct line_peer *peer, const struct buffer *out, size_t *written)
{
    while (*written < out->size) {
        ssize_t n = write(peer->to, out->data + *written, out->size - *written);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        *written += (size_t) n;
    }
    return true;
}

enum line_peer_end line_peer_exchange(struct line_peer *peer, const struct buffer *out, double timeout,
                                      line_peer_fn function, void *user)
{
    size_t written = 0;
    double end = clock_seconds() + timeout;
    while (read_lines(peer, function, user)) {
        double left = end - clock_seconds();
        struct pollfd fds[2] = {{.fd = peer->from, .events = POLLIN}, {.fd = peer->to, .events = POLLOUT}};
        if (peer->stop && *peer->stop)
            return LINE_PEER_STOPPED;
        if (left <= 0)
            return LINE_PEER_LATE;
        if (poll(fds, written < out->size ? 2 : 1, left * 1000 < LOOK_MS ? (int) (left * 1000) + 1 : LOOK_MS) < 0 &&
            errno != EINTR)
            return LINE_PEER_BROKEN;
        bool there = !fds[0].revents || read_some(peer);
        /* What it said before it went counts. */
        if (!there)
            return read_lines(peer, function, user) ? LINE_PEER_GONE : LINE_PEER_DONE;
        if (fds[1].revents && !write_some(peer, out, &written))
            return read_lines(peer, function, user) ? LINE_PEER_GONE : LINE_PEER_DONE;
    }
    return LINE_PEER_DONE;
}
