/*
 * accept.h - was a suggestion taken? Read from what happens to the document
 *
 * Most clients do not say. The next changes at the place where a suggestion was
 * shown do: all of it at once, its first line or word, letters typed along it,
 * or something else. Whether an accepted text is still there half a minute
 * later, or at the next save, says how good it was. All of it stays here.
 *
 * Used by the reader thread alone; accept_show from any thread.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_ACCEPT_H
#define LSP_ACCEPT_H

#include "document.h"
#include "tally.h"

struct accept;

struct accept *accept_open(struct tally *tally);    /* NULL when memory is short */
void accept_close(struct accept *accept);           /* accepts NULL */

/* A text is shown behind the byte `at` of a document, and stands for `replaced` bytes there. */
void accept_show(struct accept *accept, const char *uri, size_t at, const char *text, size_t size, size_t replaced);

/*
 * A change that is about to be made: `size` bytes come in the place of
 * from .. to. Call it before the document changes.
 */
void accept_change(struct accept *accept, const struct document *document, size_t from, size_t to, const char *bytes,
                   size_t size);

/* The client's own word (dsr1.accepted). Counts unless the document said so first. */
void accept_reported(struct accept *accept);

/* Looks whether accepted texts of the document survived: those older than half a minute, all of them at a save. */
void accept_look(struct accept *accept, const struct document *document, bool saved);

/* The document is gone. */
void accept_forget(struct accept *accept, const char *uri);

#endif
