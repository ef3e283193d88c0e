/*
 * listener.h - the Unix socket that clients connect to
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_LISTENER_H
#define DAEMON_LISTENER_H

#include "dsr1.h"

/*
 * Listens at path, which becomes the owner's alone (0600). A socket that a dead
 * process left there is replaced; one that answers is DSR1_ERR_BUSY, and a file
 * of another kind DSR1_ERR_IO. Returns the descriptor or a negative status.
 */
int listener_open(const char *path, dsr1_error *err);

/*
 * The next client, non-blocking; -1 with errno EAGAIN when there is none. A peer of another user is turned away
 * (errno EACCES).
 */
int listener_accept(int fd);

#endif
