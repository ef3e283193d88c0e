/*
 * complete_pg.c - one text from a model that a PostgreSQL server runs
 *
 * The server tokenises, and orders the parts as its model wants them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "complete_parts.h"

#include "base/error.h"

#include <string.h>

/* Tokens are not known here: any line of which more than blanks are typed may end in a half word. */
static bool heals(const struct job *job, const struct buffer *known)
{
    const struct surroundings *around = &job->around;
    return job->heal && known->size == 0 && around->typed > 1 && strspn(surroundings_typed(around), " \t") < around->typed;
}

dsr1_status complete_remotely(struct job *job, struct model_host *host, const struct buffer *known,
                              const struct complete_drawing *drawing, struct draft *draft, dsr1_error *err)
{
    const struct surroundings *around = &job->around;
    struct buffer before = {0}, opening = {0}, grammar = {0};
    buffer_append(&before, job->context.data, job->context.size);
    buffer_append(&before, around->prefix.data, around->prefix.size - around->typed);
    buffer_append(&opening, surroundings_typed(around), around->typed);
    buffer_append(&opening, known->data, known->size);
    complete_grammar(job, known, &grammar);
    bool heal = heals(job, known);
    struct pg_question question = {
        .ask = PG_FILL,
        .before = before.data,
        .opening = opening.data,
        .behind = around->suffix.data,
        .grammar = grammar.size > 0 ? grammar.data : NULL,
        .heal = heal,
        .max_tokens = job->max_tokens + heal,
        .temperature = drawing->temperature,
        .min_p = drawing->min_p,
        .seed = drawing->seed,
        .stop = drawing->stop,
        .user = drawing->user,
    };
    bool failed = before.failed || opening.failed;
    dsr1_status status = failed ? error_nomem(err, "prompt") : pg_host_ask(host->pg, &question, draft, err);
    job->report.prompt = question.fim ? PROMPT_FIM : PROMPT_PREFIX_ONLY;
    job->report.masked = question.masked;
    job->report.healed = question.healed;
    if (job->report.first_ms == 0)
        job->report.first_ms = question.first_ms;
    buffer_free(&before);
    buffer_free(&opening);
    buffer_free(&grammar);
    return status;
}
