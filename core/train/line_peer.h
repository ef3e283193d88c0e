/*
 * line_peer.h - lines to and from another process, over two descriptors or one socket
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_LINE_PEER_H
#define TRAIN_LINE_PEER_H

#include "base/buffer.h"

#include <signal.h>

struct line_peer {
    int to, from;               /* the owner closes them; may be the same socket */
    struct buffer in;           /* read, but no whole line yet */
    const volatile sig_atomic_t *stop;  /* not 0: whoever waits gives up; NULL: never */
};

enum line_peer_end {
    LINE_PEER_DONE,             /* the caller has heard enough */
    LINE_PEER_LATE,
    LINE_PEER_BROKEN,           /* errno's */
    LINE_PEER_GONE,
    LINE_PEER_STOPPED
};

/* A line without its end. Returns whether more lines are wanted. */
typedef bool (*line_peer_fn)(void *user, const char *line, size_t size);

/* Makes both descriptors non-blocking. */
void line_peer_begin(struct line_peer *peer, int to, int from);

/*
 * Writes all of out while lines are read, so that neither side waits for the other's full pipe, until the function
 * wants no more. What it was handed no line for by then stays for the next call. timeout: seconds; INFINITY waits.
 */
enum line_peer_end line_peer_exchange(struct line_peer *peer, const struct buffer *out, double timeout,
                                      line_peer_fn function, void *user);

void line_peer_close(struct line_peer *peer);   /* what was read; accepts a zeroed one */

#endif
