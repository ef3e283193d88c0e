/*
 * header_reader.h - cut the bytes of stdin into messages
 *
 * LSP's base protocol: header lines, a blank line, Content-Length bytes of
 * JSON. A header that makes no sense is not the end: raw line ends cannot occur
 * inside JSON text as it is sent, so the next real header can always be told
 * from a body, and reading goes on there.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_HEADER_READER_H
#define LSP_HEADER_READER_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

enum header_event {
    HEADER_MORE,    /* feed more bytes */
    HEADER_MESSAGE, /* *body, *size: one body, valid until the next call */
    HEADER_SKIPPED, /* a bad header, or a body over the limit or too large for memory; reason says it. Call again */
    HEADER_FATAL    /* too much was dropped without finding a header again; reason says it */
};

struct header_reader {
    struct buffer input;
    size_t used;        /* bytes of input that are done with */
    size_t limit;       /* the largest body that is taken */
    size_t body;        /* bytes of the body that is being read */
    uint64_t skip;      /* bytes of a refused body that are still to come */
    uint64_t dropped;   /* bytes thrown away since the last good header */
    bool in_body;
    bool no_memory;     /* for the body, which was given up; not said yet */
    bool lost;          /* looking for the next header */
    char reason[120];
};

void header_reader_open(struct header_reader *reader, size_t limit);
void header_reader_close(struct header_reader *reader);

/*
 * Room for size bytes read from the client, and how many of them came. A body
 * is stored as it arrives: a header that promises much costs nothing. Where
 * memory ends within one, its rest is dropped; NULL when not even that helps.
 */
char *header_reader_room(struct header_reader *reader, size_t size);
void header_reader_filled(struct header_reader *reader, size_t size);

enum header_event header_reader_next(struct header_reader *reader, const char **body, size_t *size);

#endif
