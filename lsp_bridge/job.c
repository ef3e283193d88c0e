/*
 * job.c - one request for a suggestion, on its way from the reader to the answer
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "job.h"

#include "action.h"

#include <stdlib.h>

void job_free(struct job *job)
{
    if (!job)
        return;
    free(job->id);
    free(job->uri);
    free(job->lead);
    free(job->tables);
    surroundings_free(&job->around);
    action_free(job->action);
    buffer_free(&job->context);
    buffer_free(&job->text);
    for (int i = 0; i < job->n_choices; i++)
        buffer_free(&job->choices[i].text);
    buffer_free(&job->report.raw);
    free(job);
}

const char *job_kind_name(enum job_kind kind)
{
    static const char *const names[] = {"invoked", "automatic", "completion", "action", "speculation", "warmUp"};
    return names[kind];
}

const char *job_source_name(enum job_source source)
{
    static const char *const names[] = {"model", "recall", "resumed"};
    return names[source];
}

const char *job_prompt_name(enum prompt_mode prompt)
{
    static const char *const names[] = {"fim", "hole", "prefixOnly", "chat"};
    return names[prompt];
}
