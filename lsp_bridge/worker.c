/*
 * worker.c - the one thread that runs the model
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "worker.h"

#include "ask.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct worker {
    struct worker_hooks hooks;
    struct recall *recall;
    pthread_t thread;
    pthread_mutex_t lock;       /* guards all below */
    pthread_cond_t changed;
    struct job *waiting[JOB_KINDS];
    struct job *running;
    bool closing, load;
    struct worker_wish wish;
    struct worker_model model;
    atomic_int state;
    struct model_host host;     /* the thread's own */
};

enum worker_state worker_state(const struct worker *worker)
{
    return (enum worker_state) atomic_load(&worker->state);
}

/* ------------------------------------------------------------------ */
/* Jobs. The lock is held.                                             */
/* ------------------------------------------------------------------ */

/* An answer without a text, for a job that will not run. */
static void answer_empty(struct worker *worker, struct job *job)
{
    if (!job->dropped)
        job->dropped_at = clock_seconds();
    job->dropped = true;
    if (job->answered)
        return;
    job->answered = true;
    /* Not a copy of all: the worker may be writing into the rest. */
    struct job nothing = {.kind = job->kind, .id = job->id, .uri = job->uri, .dropped = true, .report.dropped = true};
    worker->hooks.answer(worker->hooks.user, &nothing);
}

static void drop_waiting(struct worker *worker, enum job_kind kind)
{
    if (worker->waiting[kind])
        answer_empty(worker, worker->waiting[kind]);
    job_free(worker->waiting[kind]);
    worker->waiting[kind] = NULL;
}

/* The most important job that is due; else NULL, and *next is when one will be (0: none). */
static struct job *due_job(const struct worker *worker, double now, double *next)
{
    *next = 0;
    for (int kind = 0; kind < JOB_KINDS; kind++) {
        struct job *job = worker->waiting[kind];
        if (job && job->due_at <= now)
            return job;
        if (job && (*next == 0 || job->due_at < *next))
            *next = job->due_at;
    }
    return NULL;
}

/* ------------------------------------------------------------------ */
/* The thread                                                          */
/* ------------------------------------------------------------------ */

/* Notes what is known about the model. The lock is held. */
static void note_model(struct worker *worker, const char *path)
{
    const struct model_host *host = &worker->host;
    struct worker_model *model = &worker->model;
    if (host->pg) {
        model->remote = true;
        snprintf(model->path, sizeof model->path, "%s", pg_host_name(host->pg));
        model->load_ms = host->load_ms;
        return;
    }
    if (path) {
        model->remote = false;
        snprintf(model->path, sizeof model->path, "%s", path);
        snprintf(model->name, sizeof model->name, "%s", host->info.name ? host->info.name : "");
        snprintf(model->architecture, sizeof model->architecture, "%s", host->info.architecture);
        snprintf(model->file_type, sizeof model->file_type, "%s", host->info.file_type ? host->info.file_type : "");
        model->parameters = host->info.n_parameters;
        model->prompt = host->prompt;
        model->remembered = host->remembered;
        model->load_ms = host->load_ms;
    }
    if (host->engine)
        dsr1_engine_get_stats(host->engine, &model->engine);
}

/* The lock is held on entry and on return, not while the model loads. */
static void load(struct worker *worker)
{
    struct worker_wish wish = worker->wish;
    worker->load = false;
    pthread_mutex_unlock(&worker->lock);
    if (!*wish.path)
        model_host_default_path(wish.path, sizeof wish.path);
    model_host_close(&worker->host);
    recall_clear(worker->recall);
    dsr1_error err = {0};
    struct pg_wish pg = {wish.conninfo, wish.connect_ms, wish.statement_ms};
    struct model_wish model = {*wish.conninfo ? &pg : NULL, wish.path, wish.threads, wish.context, wish.kv_mib, wish.prompt};
    dsr1_status status = model_host_open(&worker->host, &model, &err);

    /* A server that is away now may be there at the next request. */
    enum worker_state state = status == DSR1_OK || worker->host.pg ? WORKER_READY : WORKER_FAILED;
    char message[sizeof wish.path + sizeof err.message + 40];
    if (status == DSR1_OK)
        snprintf(message, sizeof message, "%s, loaded in %.0f ms",
                 model.pg ? pg_host_name(worker->host.pg) : wish.path, worker->host.load_ms);
    else if (model.pg)
        snprintf(message, sizeof message, "%s", err.message);
    else
        snprintf(message, sizeof message, "cannot use the model %s: %s", wish.path, err.message);
    pthread_mutex_lock(&worker->lock);
    if (state == WORKER_READY)
        note_model(worker, wish.path);
    bool wanted = !worker->load; /* meanwhile another one may have been asked for */
    if (wanted)
        atomic_store(&worker->state, state);
    pthread_mutex_unlock(&worker->lock);
    if (wanted)
        worker->hooks.loaded(worker->hooks.user, status == DSR1_OK ? WORKER_READY : WORKER_FAILED, message);
    pthread_mutex_lock(&worker->lock);
}

/* Nobody waits for this job any more, or its answer is sent and others wait. */
static bool should_stop(void *user)
{
    struct worker *worker = user;
    double next;
    pthread_mutex_lock(&worker->lock);
    const struct job *job = worker->running;
    bool stop = worker->closing || worker->load || job->dropped ||
                (job->answered && due_job(worker, clock_seconds(), &next));
    pthread_mutex_unlock(&worker->lock);
    return stop;
}

static void answer_running(void *user)
{
    struct worker *worker = user;
    pthread_mutex_lock(&worker->lock);
    bool mine = !worker->running->answered;
    worker->running->answered = true;
    pthread_mutex_unlock(&worker->lock);
    if (mine)
        worker->hooks.answer(worker->hooks.user, worker->running);
}

/* The lock is not held: the job is the worker's. */
static void progress_running(void *user)
{
    struct worker *worker = user;
    worker->hooks.progress(worker->hooks.user, worker->running);
}

/* Of actions: does somebody wait for a suggestion? */
static bool should_yield(void *user)
{
    struct worker *worker = user;
    double next;
    pthread_mutex_lock(&worker->lock);
    const struct job *job = due_job(worker, clock_seconds(), &next);
    bool yield = job && job->kind < worker->running->kind;
    pthread_mutex_unlock(&worker->lock);
    return yield;
}

/* False: it made way for another job and has to go on later. */
static bool compute(struct worker *worker, struct job *job)
{
    struct complete_hooks hooks = {should_stop, answer_running, should_yield, progress_running, worker};
    dsr1_error err = {0};
    bool over = true;
    if (worker_state(worker) != WORKER_READY)
        answer_running(worker);
    else if (job->kind == JOB_ACTION)
        complete_action(job, &worker->host, &hooks, &over, &err);
    else if (job->kind == JOB_WARM_UP)
        complete_warm_up(job, &worker->host, &hooks, &err);
    else if (complete_from_recall(job, worker->recall))
        answer_running(worker);
    else
        complete_with_model(job, &worker->host, worker->recall, &hooks, &err);
    return over;
}

static void run(struct worker *worker, struct job *job)
{
    worker->waiting[job->kind] = NULL;
    worker->running = job;
    pthread_mutex_unlock(&worker->lock);

    bool over = compute(worker, job);
    pthread_mutex_lock(&worker->lock);
    job->report.dropped = job->dropped;
    job->report.idle_ms = job->dropped ? 1e3 * (clock_seconds() - job->dropped_at) : 0;
    pthread_mutex_unlock(&worker->lock);
    if (over) {
        worker->hooks.done(worker->hooks.user, job);
        if (!job->report.dropped && job->speculate)
            worker_speculate(worker, job);
    }

    pthread_mutex_lock(&worker->lock);
    worker->running = NULL;
    note_model(worker, NULL);
    if (!over && !job->dropped && !worker->waiting[job->kind]) {
        worker->waiting[job->kind] = job;
        return;
    }
    answer_empty(worker, job);
    job_free(job);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    pthread_mutex_lock(&worker->lock);
    while (!worker->closing) {
        double next;
        struct job *job;
        if (worker->load) {
            load(worker);
        } else if ((job = due_job(worker, clock_seconds(), &next))) {
            run(worker, job);
        } else if (next > 0) {
            struct timespec until = {.tv_sec = (time_t) next, .tv_nsec = (long) ((next - (double) (time_t) next) * 1e9)};
            pthread_cond_timedwait(&worker->changed, &worker->lock, &until);
        } else {
            pthread_cond_wait(&worker->changed, &worker->lock);
        }
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

dsr1_status worker_open(const struct worker_hooks *hooks, struct recall *recall, struct worker **worker,
                        dsr1_error *err)
{
    struct worker *w = memory_array(1, sizeof *w);
    if (!w)
        return error_nomem(err, "worker");
    w->hooks = *hooks;
    w->recall = recall;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int failed = pthread_create(&w->thread, NULL, work, w);
    if (failed) {
        errno = failed;
        error_errno(err, DSR1_ERR_NOMEM, "cannot start the worker thread");
        free(w);
        return DSR1_ERR_NOMEM;
    }
    *worker = w;
    return DSR1_OK;
}

bool worker_close(struct worker *worker, double seconds)
{
    if (!worker)
        return true;
    pthread_mutex_lock(&worker->lock);
    worker->closing = true;
    pthread_cond_signal(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    seconds += 1e-9 * (double) until.tv_nsec;
    until.tv_sec += (time_t) seconds;
    until.tv_nsec = (long) ((seconds - (double) (time_t) seconds) * 1e9);
    if (pthread_timedjoin_np(worker->thread, NULL, &until) != 0)
        return false;
    for (int kind = 0; kind < JOB_KINDS; kind++)
        job_free(worker->waiting[kind]);
    model_host_close(&worker->host);
    pthread_cond_destroy(&worker->changed);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
    return true;
}

/* ------------------------------------------------------------------ */
/* From the reader thread                                              */
/* ------------------------------------------------------------------ */

void worker_load(struct worker *worker, const struct worker_wish *wish)
{
    pthread_mutex_lock(&worker->lock);
    worker->wish = *wish;
    worker->load = true;
    atomic_store(&worker->state, WORKER_LOADING);
    pthread_cond_signal(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
}

/* The lock is held. */
static void supersede(struct worker *worker, enum job_kind kind)
{
    drop_waiting(worker, kind);
    /* One that was asked for by hand is not kept waiting by those that came by themselves. */
    struct job *running = worker->running;
    if (running && !running->answered && kind <= running->kind && running->kind < JOB_ACTION)
        answer_empty(worker, running);
}

void worker_supersede(struct worker *worker, enum job_kind kind)
{
    pthread_mutex_lock(&worker->lock);
    supersede(worker, kind);
    pthread_mutex_unlock(&worker->lock);
}

void worker_submit(struct worker *worker, struct job *job)
{
    pthread_mutex_lock(&worker->lock);
    supersede(worker, job->kind);
    worker->waiting[job->kind] = job;
    pthread_cond_signal(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
}

void worker_speculate(struct worker *worker, const struct job *job)
{
    struct job *next = ask_after(job);
    if (next)
        worker_submit(worker, next);
}

bool worker_cancel(struct worker *worker, const char *id)
{
    bool mine = false;
    pthread_mutex_lock(&worker->lock);
    for (int kind = 0; kind < JOB_KINDS && !mine; kind++) {
        struct job *job = worker->waiting[kind];
        if (job && strcmp(job->id, id) == 0) {
            mine = true;
            worker->waiting[kind] = NULL;
            job_free(job);
        }
    }
    struct job *running = worker->running;
    if (!mine && running && strcmp(running->id, id) == 0) {
        mine = !running->answered;
        running->answered = true;
        running->dropped = true;
        running->dropped_at = clock_seconds();
    }
    pthread_mutex_unlock(&worker->lock);
    return mine;
}

void worker_forget(struct worker *worker, const char *uri)
{
    pthread_mutex_lock(&worker->lock);
    for (int kind = 0; kind < JOB_KINDS; kind++) {
        struct job *job = worker->waiting[kind];
        if (job && (!uri || strcmp(job->uri, uri) == 0))
            drop_waiting(worker, (enum job_kind) kind);
    }
    if (worker->running && (!uri || strcmp(worker->running->uri, uri) == 0))
        answer_empty(worker, worker->running);
    pthread_mutex_unlock(&worker->lock);
}

bool worker_model(struct worker *worker, struct worker_model *model)
{
    if (worker_state(worker) != WORKER_READY)
        return false;
    pthread_mutex_lock(&worker->lock);
    *model = worker->model;
    pthread_mutex_unlock(&worker->lock);
    return true;
}
