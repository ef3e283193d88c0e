/*
 * complete.h - a job becomes a text: recall, model, polish
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_COMPLETE_H
#define LSP_COMPLETE_H

#include "job.h"
#include "model_host.h"
#include "recall.h"

struct complete_hooks {
    bool (*stop)(void *user);       /* asked often: should the model stop working on this job? */
    void (*answer)(void *user);     /* job->text is ready to be sent, at most once; the model may go on behind it */
    bool (*yield)(void *user);      /* of actions: does something more important wait? */
    void (*progress)(void *user);   /* of actions: job->action->draft has grown */
    void *user;
};

/* Answers without the model when the cache knows the whole text. Quick: for the reader thread. */
bool complete_from_recall(struct job *job, struct recall *recall);

/*
 * Works on an action (action.h). *over is false when it made way for something
 * more important: call it again, and it goes on where it stopped.
 */
dsr1_status complete_action(struct job *job, struct model_host *host, const struct complete_hooks *hooks, bool *over,
                            dsr1_error *err);

/* Evaluates a prompt's beginning and says nothing. */
dsr1_status complete_warm_up(struct job *job, struct model_host *host, const struct complete_hooks *hooks,
                             dsr1_error *err);

/*
 * Answers with the model. Calls hooks->answer once, unless it was stopped
 * before. A failure of the model leaves an empty text and job->report.error.
 */
dsr1_status complete_with_model(struct job *job, struct model_host *host, struct recall *recall,
                                const struct complete_hooks *hooks, dsr1_error *err);

#endif
