/*
 * parent.h - what the engine tells the process that started it
 *
 * Lines of text over one socket, so that a person can read along:
 *
 *     loading
 *     ready
 *     failed STATUS REASON      STATUS is the number of a dsr1_status
 *     log LEVEL TEXT            debug, info, warning, error
 *     beat                      about once a second after "ready"
 *
 * The other direction carries nothing: its end means that the parent is gone.
 * Writing never blocks; what does not fit is dropped. Without a parent the
 * lines of interest go to stderr.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_PARENT_H
#define DAEMON_PARENT_H

#include "base/log.h"
#include "dsr1.h"

struct parent {
    int fd;                 /* -1: nobody's child */
    double last_beat;
};

/*
 * Also asks the kernel to kill this process when its parent dies, and to kill it first when memory is short.
 * DSR1_ERR_IO: the parent is dead already; DSR1_ERR_ARGUMENT: fd is not a socket.
 */
dsr1_status parent_open(struct parent *parent, int fd, dsr1_error *err);

void parent_say(struct parent *parent, const char *word);
void parent_failed(struct parent *parent, const dsr1_error *err);

/* Says "beat" when the last one is older than a second. */
void parent_beat(struct parent *parent);

/* After fd became readable: is the parent gone? */
bool parent_gone(struct parent *parent);

/* A sink for log_set_sink(); user is the struct parent. */
void parent_log(enum log_level level, const char *line, void *user);

#endif
