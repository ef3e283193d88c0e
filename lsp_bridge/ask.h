/*
 * ask.h - a place in a document becomes a job
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_ASK_H
#define LSP_ASK_H

#include "document.h"
#include "job.h"
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
};

/* NULL when memory is short. The caller owns the job. Moves the document's anchor. */
struct job *ask_job(const struct ask *ask, struct document *document);

/* Is this a place where a suggestion that came by itself does not disturb? Always so for one that was asked for. */
bool ask_is_welcome(const struct settings *settings, const struct job *job);

#endif
