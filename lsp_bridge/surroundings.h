/*
 * surroundings.h - what stands around the cursor, copied out of a document
 *
 * The model sees at most a window: whole lines above the cursor from an anchor
 * on, and lines below it. The anchor stays where it is while the cursor moves
 * down, and jumps by many lines at once when the window is full, so that the
 * beginning of the prompt, whose KV rows are the expensive part, seldom changes.
 *
 * Line ends are \n here, whatever the document has.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_SURROUNDINGS_H
#define LSP_SURROUNDINGS_H

#include "base/buffer.h"
#include "document.h"

struct surroundings {
    struct buffer prefix;   /* from the anchor to the cursor */
    struct buffer suffix;   /* from the cursor on */
    size_t typed;           /* bytes at the end of prefix that belong to the cursor's line */
    size_t rest;            /* bytes at the start of suffix that belong to the cursor's line */
    size_t word;            /* bytes of the word before the cursor, part of typed */
    bool top, bottom;       /* does the window reach the beginning, the end of the document? */
    const char *line_end;   /* the document's own */
};

struct window {
    size_t prefix_bytes;
    size_t suffix_bytes;
    size_t jump_lines;      /* the anchor moves by so many lines */
};

/*
 * The text around from .. to: what lies between is left out (the two differ when a popup's choice stands for it), and
 * `instead` takes its place before the cursor. False when memory is short. Moves the document's anchor.
 */
bool surroundings_take(struct surroundings *around, struct document *document, const struct window *window,
                       size_t from, size_t to, const char *instead);
/*
 * The surroundings after a text was taken over at the cursor of `before`, in
 * the place of `replaced` bytes. False when memory is short.
 */
bool surroundings_after(struct surroundings *around, const struct surroundings *before, const struct buffer *text,
                        size_t replaced);
void surroundings_free(struct surroundings *around);

/* The beginning of the typed part of the line, typed bytes long. */
const char *surroundings_typed(const struct surroundings *around);

#endif
