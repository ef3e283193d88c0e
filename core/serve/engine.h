/*
 * engine.h - many requests, one step at a time
 *
 * Every step mixes the next token of all running requests with pieces of new
 * prompts, at most chunk_size tokens of them (fewer while somebody is being
 * answered), so that a long prompt delays running answers by one chunk at most
 * (chunked prefill, Sarathi, arXiv:2308.16369). A request is admitted with room
 * for its prompt and grows page by page; when pages run out, the youngest request
 * of the lowest priority makes way: what it computed stays in the prefix tree
 * while there is room, and it is taken up again where it was, so that memory
 * decides when an answer comes and never what it is.
 *
 *   engine.c    open, submit, cancel, one step from end to end
 *   schedule.c  who runs, and with which rows
 *   answer.c    from a step's logits to events
 *   score.c     continuations of a prompt; lane.c who waits
 *   draft.c     tokens guessed by what stood before; guess.c by the model; obey.c what an answer must be
 *
 * submit, cancel, get_progress and get_stats may be called from any thread; `lock` guards the
 * lanes, the requests by id, the set of running requests and the statistics.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_ENGINE_H
#define SERVE_ENGINE_H

#include "kv/prefix_tree.h"
#include "model/step.h"
#include "serve/lane.h"
#include "serve/pace.h"
#include "serve/request.h"
#include "text/tokenizer.h"

#include <pthread.h>
#include <stdatomic.h>

/* The rows of a step that belong to one running request. */
struct share {
    struct request *request;
    int first, n;           /* rows; n = 0: none this time */
    int n_draft;            /* of them, guessed tokens at the end */
    int n_score;            /* of them, tokens of continuations at the end */
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
    int shared_chunk;               /* chunk_size while requests are being answered */
    int n_choices;                  /* logits behind have no token in the vocabulary: never chosen */
    uint64_t *no_end;               /* a bit for each of them, but for tokens that end an answer */
    int32_t think_open, think_close;    /* tokens <think> and </think>, or -1 */
    struct token_table *table;      /* made for the first request that has a constraint */
    pthread_mutex_t table_lock;
    struct sampler_work *works;     /* one a thread */
    atomic_int n_taken;             /* answer_choose: running requests that a thread looked at */
    float *hidden;                  /* step.max_rows x n_embd: what embeddings are made of */
    uint16_t *experts;              /* step.max_rows x n_layers x n_used: what routers chose */
    struct step_row *nextn_rows;    /* step.max_rows, where the model has a block that guesses; or NULL */
    struct draft_cost cost;
    struct pace pace;
    int n_written, n_accepted, n_forced;    /* of this step: tokens of answers, guessed ones that were right, forced ones */

    pthread_mutex_t lock;
    struct lane *lanes;
    struct request **by_id;         /* buckets, n_by_id of them: a power of two */
    size_t n_by_id;
    struct request *over;           /* left the queue; their last event is due */
    int n_queued, n_deadlines;      /* n_deadlines: live requests that have one */
    struct share *running;          /* by priority, then turn */
    int n_running;
    uint64_t next_id, next_turn;
    dsr1_engine_stats stats;
};

dsr1_status engine_open(const struct model *model, const struct tokenizer *tokenizer,
                        const dsr1_engine_options *options, struct engine **engine, dsr1_error *err);
void engine_close(struct engine *engine);

/* Contracts of the dsr1_engine functions. */
dsr1_status engine_submit(struct engine *engine, const dsr1_request *request, uint64_t *id, dsr1_error *err);
void engine_cancel(struct engine *engine, uint64_t id);
bool engine_get_progress(struct engine *engine, uint64_t id, dsr1_progress *progress);
int engine_step(struct engine *engine, dsr1_error *err);
void engine_get_stats(struct engine *engine, dsr1_engine_stats *stats);

/* schedule.c: moves waiting requests into the running set. Under the lock. */
void schedule_admit(struct engine *engine);

/* schedule.c: fills step.rows. Returns how many of them are prompt. */
int schedule_plan(struct engine *engine);

/*
 * answer.c: chooses the next token of every request that draws it or has to obey, with all threads; answer_take
 * then finds it done. What the others need was found with the logits.
 */
void answer_choose(struct engine *engine);

/* answer.c: what becomes of a request's logits; sets request->finish when it is over. */
void answer_take(struct engine *engine, struct share *share);

/* answer.c: hands an event to the caller. */
void answer_send(const struct request *request, dsr1_event *event);

/* answer.c: the last event. */
void answer_done(struct engine *engine, struct request *request);

#endif
