/*
 * error.c - the place that knows the reason writes it once
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *dsr1_status_name(dsr1_status status)
{
    switch (status) {
    case DSR1_OK: return "DSR1_OK";
    case DSR1_ERR_NOMEM: return "DSR1_ERR_NOMEM";
    case DSR1_ERR_IO: return "DSR1_ERR_IO";
    case DSR1_ERR_FORMAT: return "DSR1_ERR_FORMAT";
    case DSR1_ERR_UNSUPPORTED: return "DSR1_ERR_UNSUPPORTED";
    case DSR1_ERR_LIMIT: return "DSR1_ERR_LIMIT";
    case DSR1_ERR_ARGUMENT: return "DSR1_ERR_ARGUMENT";
    case DSR1_ERR_BUSY: return "DSR1_ERR_BUSY";
    case DSR1_ERR_CANCELLED: return "DSR1_ERR_CANCELLED";
    case DSR1_ERR_INTERNAL: return "DSR1_ERR_INTERNAL";
    }
    return "DSR1_ERR_UNKNOWN";
}

const char *dsr1_version(void)
{
    return DSR1_VERSION;
}

dsr1_status error_set(dsr1_error *err, dsr1_status status, const char *format, ...)
{
    if (err && err->status == DSR1_OK) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

dsr1_status error_errno(dsr1_error *err, dsr1_status status, const char *format, ...)
{
    int saved = errno;
    if (err && err->status == DSR1_OK) {
        va_list args;
        va_start(args, format);
        int n = vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        if (n >= 0 && (size_t) n < sizeof err->message)
            snprintf(err->message + n, sizeof err->message - (size_t) n, ": %s", strerror(saved));
        err->status = status;
    }
    errno = saved;
    return status;
}

dsr1_status error_nomem(dsr1_error *err, const char *what)
{
    return error_set(err, DSR1_ERR_NOMEM, "out of memory for %s", what);
}
