/*
 * ring.h - pieces of the other files that were looked at lately
 *
 * When the cursor leaves a file, the lines around the place it stood at are
 * kept. They stand at the front of prompts for files of the same language, in
 * the order they came, so that a new piece leaves the KV rows of the older ones
 * as they are. A full ring drops half of its pieces at once, for the same reason.
 *
 * Used by the reader thread alone.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_RING_H
#define LSP_RING_H

#include "base/buffer.h"
#include "document.h"

struct ring_chunk;

struct ring {
    struct ring_chunk *chunks;
    size_t n_chunks;
};

/* Keeps about `lines` lines around the document's place, in a ring of `limit` pieces. Short of memory: nothing. */
void ring_take(struct ring *ring, const struct document *document, size_t limit, size_t lines);

/* Drops what came from a file: it must not be read, or is gone. */
void ring_forget(struct ring *ring, const char *uri);
void ring_free(struct ring *ring);

/* Appends the pieces that may help in this document, each behind a comment with its file's name. */
void ring_append(const struct ring *ring, const struct document *document, const char *nearby, size_t nearby_size,
                 struct buffer *out);

/* How a line comment of the language begins: "//", "#", "--". */
const char *ring_comment(const char *language);

#endif
