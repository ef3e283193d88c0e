/*
 * parent.c - what the engine tells the process that started it
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/parent.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warning", "error"};

bool parent_open(struct parent *parent, int fd)
{
    *parent = (struct parent){.fd = fd};
    if (fd < 0)
        return true;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Had it died before prctl, no signal would ever come; the socket's end tells. */
    return !parent_gone(parent);
}

/* One line, one write: lines this short go out whole or not at all. */
__attribute__((format(printf, 2, 3))) static void say(struct parent *parent, const char *format, ...)
{
    char line[1200];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (parent->fd < 0 || n < 0)
        return;
    size_t size = (size_t) n < sizeof line - 2 ? (size_t) n : sizeof line - 2;
    for (size_t i = 0; i < size; i++)
        if (line[i] == '\n' || line[i] == '\r')
            line[i] = ' ';
    line[size++] = '\n';
    if (write(parent->fd, line, size) < 0) {
        /* Full or gone: the parent's deadline and the kernel take care of either. */
    }
}

void parent_say(struct parent *parent, const char *word)
{
    say(parent, "%s", word);
    parent->last_beat = clock_seconds();
}

void parent_failed(struct parent *parent, const dsr1_error *err)
{
    say(parent, "failed %d %s", err->status, err->message);
    if (parent->fd < 0)
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
