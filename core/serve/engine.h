/*
 * engine.h - many requests, one step at a time
 *
 * Every step mixes the next token of all running requests with pieces of new
 * prompts, at most chunk_size tokens of them, so that a long prompt delays
 * running answers by one chunk at most (chunked prefill, Sarathi,
 * arXiv:2308.16369). A request is admitted when the cache has room for all it
 * may ever need, so a running request never fails for want of memory.
 *
 * submit, cancel and get_stats may be called from any thread; `lock` guards the
 * queue, the set of running requests and the statistics.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_ENGINE_H
#define SERVE_ENGINE_H

#include "kv/prefix_tree.h"
#include "model/step.h"
#include "serve/request.h"
#include "text/tokenizer.h"

#include <pthread.h>

/* The rows of a step that belong to one running request. */
struct share {
    struct request *request;
    int first, n;           /* rows; n = 0: none this time */
};

struct engine {
    const struct model *model;
    const struct tokenizer *tokenizer;
    const struct kernels *kernels;
    struct thread_pool *pool;
    struct kv_cache cache;
    struct prefix_tree tree;
    struct step step;
    dsr1_engine_options options;    /* with every default filled in */
    int n_choices;                  /* logits behind have no token in the vocabulary: never chosen */
    struct sampler_work work;

    pthread_mutex_t lock;
    struct request *queue;          /* by priority, then arrival */
    int n_queued;
    struct share *running;
    int n_running;
    uint64_t next_id;
    dsr1_engine_stats stats;
};

dsr1_status engine_open(const struct model *model, const struct tokenizer *tokenizer,
                        const dsr1_engine_options *options, struct engine **engine, dsr1_error *err);
void engine_close(struct engine *engine);

/* Contracts of the dsr1_engine functions. */
dsr1_status engine_submit(struct engine *engine, const dsr1_request *request, uint64_t *id, dsr1_error *err);
void engine_cancel(struct engine *engine, uint64_t id);
int engine_step(struct engine *engine, dsr1_error *err);
void engine_get_stats(struct engine *engine, dsr1_engine_stats *stats);

/* answer.c: what becomes of a request's logits; sets request->finish when it is over. */
void answer_take(struct engine *engine, struct share *share);

/* answer.c: the last event. */
void answer_done(struct engine *engine, struct request *request);

#endif
