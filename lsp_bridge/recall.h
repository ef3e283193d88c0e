/*
 * recall.h - what the model wrote lately, to be shown again without it
 *
 * Typing along a suggestion, deleting a character, accepting a word of it: in
 * all these places the model has already said what comes next. A text that was
 * stopped in the middle is the start of the next generation.
 *
 * Any thread may call; the cache has its own lock.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_RECALL_H
#define LSP_RECALL_H

#include "base/buffer.h"
#include "surroundings.h"

struct recall;

struct recall *recall_open(size_t limit);       /* NULL when memory is short */
void recall_close(struct recall *recall);
void recall_clear(struct recall *recall);
void recall_limit(struct recall *recall, size_t limit);

struct recall_key {
    const struct surroundings *around;
    bool line_only;         /* one line is wanted; the text may have ended there for this reason */
    bool careful;           /* low confidence was cut from the first line, too */
};

/* Keeps a text that followed these surroundings. finished: nothing comes behind it. */
void recall_store(struct recall *recall, const struct recall_key *key, const char *text, size_t size, bool finished);

/*
 * Finds a text of earlier surroundings that begins with what was typed since
 * then, and appends the part that is left to *text. False: nothing fits. With
 * *finished an empty text is an answer: there was nothing to suggest.
 */
bool recall_find(struct recall *recall, const struct recall_key *key, struct buffer *text, bool *finished);

#endif
