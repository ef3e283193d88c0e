/*
 * error.h - errors travel as values: a dsr1_status and, once, its reason
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "dsr1.h"

/*
 * Records status and the formatted reason in *err unless an earlier failure is
 * there already, and returns status, so that `return error_set(...)` reads well.
 * err may be NULL.
 */
dsr1_status error_set(dsr1_error *err, dsr1_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* error_set with ": " and errno's text behind the reason. Keeps errno. */
dsr1_status error_errno(dsr1_error *err, dsr1_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "out of memory" with what was wanted. */
dsr1_status error_nomem(dsr1_error *err, const char *what);

#endif
