/*
 * stream.h - token bytes to text that may be shown
 *
 * Holds back what is not certain yet: the open end of a UTF-8 character and the
 * beginning of what may become a stop string. Ill-formed bytes come out as
 * U+FFFD.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_STREAM_H
#define SERVE_STREAM_H

#include "base/buffer.h"

struct stream {
    const struct buffer *stops;     /* n_stops strings, owned by the request */
    size_t n_stops;
    struct buffer pending;          /* bytes not given out yet */
    struct buffer ready;            /* text to give out; the caller empties it */
    bool stopped;                   /* a stop string was met: nothing follows */
};

/* Takes bytes of one more token; certain text is appended to ready. */
void stream_push(struct stream *stream, const char *bytes, size_t size);

/* The answer is over: all that is pending becomes ready. */
void stream_finish(struct stream *stream);

/* False after an allocation failed. */
bool stream_ok(const struct stream *stream);

void stream_free(struct stream *stream);

#endif
