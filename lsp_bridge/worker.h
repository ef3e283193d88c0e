/*
 * worker.h - the one thread that runs the model
 *
 * Jobs wait in one place per kind. A newer job takes the place of an older one,
 * which is answered with nothing at once: nobody waits for an answer that
 * nobody wants. What is running gives up between two steps of the engine.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_WORKER_H
#define LSP_WORKER_H

#include "complete.h"

enum worker_state { WORKER_IDLE, WORKER_LOADING, WORKER_READY, WORKER_FAILED };

struct worker_hooks {
    /* A job has its answer; send it. Called from the worker's thread or that of the caller, sometimes under its lock. */
    void (*answer)(void *user, struct job *job);
    /* The model is there, or is not: message names it, or the reason. From the worker's thread. */
    void (*loaded)(void *user, enum worker_state state, const char *message);
    /* A job is over. From the worker's thread. */
    void (*done)(void *user, struct job *job);
    /* An action has written more. From the worker's thread. */
    void (*progress)(void *user, const struct job *job);
    void *user;
};

struct worker;

dsr1_status worker_open(const struct worker_hooks *hooks, struct recall *recall, struct worker **worker,
                        dsr1_error *err);

/* Ends the thread; waits for at most `seconds`. False: it is still computing, and nothing may be freed. */
bool worker_close(struct worker *worker, double seconds);

/* What to load: settings copied. path may be "" for the default model. */
struct worker_wish {
    char path[4096];
    int threads, context, kv_mib, prompt;
    char conninfo[2048];        /* not "": ask this PostgreSQL server */
    int connect_ms, statement_ms;
};

/* Loads a model in the background, in the place of the one before. */
void worker_load(struct worker *worker, const struct worker_wish *wish);

/* Thinks ahead about what is asked when this job's text is accepted. */
void worker_speculate(struct worker *worker, const struct job *job);

enum worker_state worker_state(const struct worker *worker);

/* Takes the job over. Older ones of its kind are answered with nothing. */
void worker_submit(struct worker *worker, struct job *job);

/* Only the second half of that: a newer request of this kind has its answer already. */
void worker_supersede(struct worker *worker, enum job_kind kind);

/* Ends the job with this id. True when it was not answered yet: the caller answers. */
bool worker_cancel(struct worker *worker, const char *id);

/* Ends all jobs of a document (NULL: of all); they are answered with nothing. */
void worker_forget(struct worker *worker, const char *uri);

/* What is known about the model in use, as of the last job. */
struct worker_model {
    char path[4096], name[200], architecture[64], file_type[32];
    unsigned long long parameters;
    enum prompt_mode prompt;
    bool remote, remembered;    /* remembered: how to ask it was known already */
    double load_ms;
    dsr1_engine_stats engine;
};

/* False when there is none. */
bool worker_model(struct worker *worker, struct worker_model *model);

#endif
