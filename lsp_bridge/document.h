/*
 * document.h - the open documents, as the client's notifications describe them
 *
 * Used by the reader thread alone: what the model needs is copied out.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_DOCUMENT_H
#define LSP_DOCUMENT_H

#include "gap_text.h"
#include "position.h"

struct document {
    char *uri;
    char language[32];      /* as the client says, or guessed from the file name; "" where neither knows */
    long long version;
    struct gap_text text;
    size_t anchor;          /* where the prompt's window begins; follows edits before it */
    size_t place;           /* where the user was last, a byte offset; may lie past the end */
    double changed_at;      /* clock_seconds() of the last change */
    double key_interval;    /* running mean of the time between changes, seconds; 0: not known yet */
    bool off;               /* too large: its text is not kept */
    bool ignored;           /* an ignore file names it */
    bool off_said;          /* the log has a line about a reason not to suggest here */
};

struct documents {
    struct document **open;
    size_t n_open, capacity;
};

struct document *documents_find(const struct documents *documents, const char *uri);

/* A new document, or the one that is open already, emptied. NULL when memory is short. */
struct document *documents_open(struct documents *documents, const char *uri, const char *language);
void documents_close(struct documents *documents, const char *uri);
void documents_free(struct documents *documents);

/* The byte that a position names. A line past the end is the end of the text, a column past the end that of the line. */
size_t document_offset(const struct document *document, enum position_encoding encoding, size_t line, size_t column);

/* The whole text is new. Only what differs is touched. False when memory is short. */
bool document_set(struct document *document, const char *bytes, size_t size);

/* One incremental change; a range whose end lies before its start is turned round. */
bool document_change(struct document *document, size_t from, size_t to, const char *bytes, size_t size);

/* Notes that keys were pressed, for the debounce. */
void document_touch(struct document *document, double now);

/* "\n", "\r\n" or "\r": how the first line ends. */
const char *document_line_end(const struct document *document);

#endif
