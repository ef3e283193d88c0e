/*
 * gap_text.h - the text of a document, cheap to change where it was changed last
 *
 * A gap buffer: the free room lies at the last edit, so a key costs the bytes
 * it types. The starts of lines are kept in a second gap buffer; those behind
 * the edit are counted from the end of the text, so an edit does not touch
 * them. Lines end in \n, \r\n or \r, as LSP says.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_GAP_TEXT_H
#define LSP_GAP_TEXT_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>

struct gap_text {
    char *bytes;
    size_t size;            /* bytes of text, without the gap */
    size_t capacity;
    size_t gap;             /* where the gap begins; it is capacity - size long */
    size_t *breaks;         /* starts of the lines 1, 2, ...: offsets before the break gap, */
    size_t n_breaks;        /* distances from the end behind it */
    size_t break_capacity;
    size_t break_gap;
};

/* Start with {0}. */
void gap_text_free(struct gap_text *text);

/* Puts size bytes in the place of from .. to. False, and nothing changed, when memory is short. */
bool gap_text_replace(struct gap_text *text, size_t from, size_t to, const char *bytes, size_t size);

/* Where the bytes begin to differ from the text, and how much of the text lies between there and the common end. */
void gap_text_differs(const struct gap_text *text, const char *bytes, size_t size, size_t *from, size_t *removed);

/*
 * The whole text becomes these bytes; only the part between the common beginning and the common end is replaced.
 * *from and *removed (may be NULL) say what that part was.
 */
bool gap_text_update(struct gap_text *text, const char *bytes, size_t size, size_t *from, size_t *removed);

/* Always at least one. */
size_t gap_text_lines(const struct gap_text *text);

/* Where a line starts, and where it ends before its line end. line < gap_text_lines(). */
size_t gap_text_line_start(const struct gap_text *text, size_t line);
size_t gap_text_line_end(const struct gap_text *text, size_t line);

/* The line that an offset lies in. */
size_t gap_text_line_at(const struct gap_text *text, size_t offset);

/* Bytes that lie together from offset on; *size of them, 0 at the end. */
const char *gap_text_span(const struct gap_text *text, size_t offset, size_t *size);

char gap_text_byte(const struct gap_text *text, size_t offset);

/* Appends from .. to. */
void gap_text_append(const struct gap_text *text, size_t from, size_t to, struct buffer *out);

#endif
