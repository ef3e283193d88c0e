/*
 * log.h - lines for people, to wherever the program wants them
 *
 * The core never prints: a program installs a sink. Without one, lines are dropped.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

typedef void (*log_sink)(enum log_level level, const char *line, void *user);

/* Set before the first thread starts; level is the least that is passed on. */
void log_set_sink(log_sink sink, void *user, enum log_level level);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A ready sink: "dsr1: warning: ..." on stderr. */
void log_to_stderr(enum log_level level, const char *line, void *user);

#endif
