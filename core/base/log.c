/*
 * log.c - lines for people, to wherever the program wants them
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static log_sink current_sink;
static void *current_user;
static enum log_level current_level;

void log_set_sink(log_sink sink, void *user, enum log_level level)
{
    current_sink = sink;
    current_user = user;
    current_level = level;
}

void log_line(enum log_level level, const char *format, ...)
{
    if (!current_sink || level < current_level)
        return;
    char line[1000];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    current_sink(level, line, current_user);
}

void log_to_stderr(enum log_level level, const char *line, void *user)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    (void) user;
    fprintf(stderr, "dsr1: %s: %s\n", names[level], line);
}
