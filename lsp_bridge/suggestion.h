/*
 * suggestion.h - the answer of a job as the client wants to see it
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_SUGGESTION_H
#define LSP_SUGGESTION_H

#include "job.h"

#include <jansson.h>

/*
 * The result of textDocument/inlineCompletion or textDocument/completion. A
 * list without items when there is nothing to suggest, never null: Neovim keeps
 * an old suggestion on the screen for null.
 */
json_t *suggestion_result(const struct job *job);

/* The same for a request that never became a job. */
json_t *suggestion_nothing(enum job_kind kind);

#endif
