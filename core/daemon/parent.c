/*
 * parent.c - what the engine tells the process that started it
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/parent.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warning", "error"};

/* Best effort: where /proc is not there, the kernel's own choice stands. */
static void be_killed_first(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "900", 3) < 0) {
        /* As good as not there. */
    }
    close(fd);
}

dsr1_status parent_open(struct parent *parent, int fd, dsr1_error *err)
{
    int type;
    socklen_t size = sizeof type;
    *parent = (struct parent){.fd = -1};
    if (fd < 0)
        return DSR1_OK;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
        return error_set(err, DSR1_ERR_ARGUMENT, "--parent-fd %d is not a stream socket", fd);
    parent->fd = fd;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    be_killed_first();
    /* Had it died before prctl, no signal would ever come; the socket's end tells. */
    return parent_gone(parent) ? error_set(err, DSR1_ERR_IO, "the parent is gone") : DSR1_OK;
}

/*
 * One line, one write: lines this short go out whole or not at all. False when
 * it did not: the socket is full or its other end gone, which the parent's
 * deadline and the kernel take care of.
 */
__attribute__((format(printf, 2, 3))) static bool say(struct parent *parent, const char *format, ...)
{
    char line[1200];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (parent->fd < 0 || n < 0)
        return false;
    size_t size = (size_t) n < sizeof line - 2 ? (size_t) n : sizeof line - 2;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char) line[i] < ' ' || line[i] == 127)
            line[i] = ' ';
    line[size++] = '\n';
    return send(parent->fd, line, size, MSG_NOSIGNAL) == (ssize_t) size;
}

void parent_say(struct parent *parent, const char *word)
{
    say(parent, "%s", word);
    parent->last_beat = clock_seconds();
}

void parent_failed(struct parent *parent, const dsr1_error *err)
{
    if (!say(parent, "failed %d %s", err->status, err->message))
        fprintf(stderr, "dsr1-engine: %s\n", err->message);
}

void parent_beat(struct parent *parent)
{
    if (parent->fd >= 0 && clock_seconds() - parent->last_beat >= 1)
        parent_say(parent, "beat");
}

bool parent_gone(struct parent *parent)
{
    char bytes[64];
    ssize_t n;
    do
        n = read(parent->fd, bytes, sizeof bytes);
    while (n > 0 || (n < 0 && errno == EINTR));
    return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

void parent_log(enum log_level level, const char *line, void *user)
{
    struct parent *parent = user;
    if (parent->fd >= 0)
        say(parent, "log %s %s", level_names[level], line);
    else
        log_to_stderr(level, line, NULL);
}
