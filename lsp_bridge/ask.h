/*
 * ask.h - a place in a document becomes a job
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_ASK_H
#define LSP_ASK_H

#include "document.h"
#include "job.h"
#include "ring.h"
#include "settings.h"

/* What the client shows selected in a popup at the cursor: text that stands for from .. to. No text: nothing. */
struct ask_choice {
    size_t from, to;
    const char *text;
};

struct ask {
    const struct settings *settings;
    enum position_encoding encoding;
    enum job_kind kind;
    const char *id;         /* JSON text */
    size_t cursor;          /* byte offset */
    struct ask_choice choice;
    const struct ring *ring;    /* pieces of other files; may be NULL */
    const char *schema;         /* what the database knows, for SQL; may be NULL */
};

/* NULL when memory is short. The caller owns the job. Moves the document's anchor. */
struct job *ask_job(const struct ask *ask, struct document *document);

/* What will be asked when a job's text is accepted. NULL when there is nothing to continue, or memory is short. */
struct job *ask_after(const struct job *job);

/* Evaluates the beginning of a document's prompts before anybody asks. NULL when memory is short. */
struct job *ask_warm_up(const struct ask *ask, struct document *document);

/* Is this a place where a suggestion that came by itself does not disturb? Always so for one that was asked for. */
bool ask_is_welcome(const struct settings *settings, const struct document *document, const struct job *job);

#endif
