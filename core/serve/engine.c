/*
 * engine.c - many requests, one step at a time
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "serve/engine.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { EXTRA_LOGITS = 64, DEFAULT_CONTEXT = 4096, DEFAULT_BATCH = 16, DEFAULT_QUEUE = 1024 };

/* Experts of twice as many tokens are multiplied faster; who is in the middle of an answer waits for half of that. */
enum { DEFAULT_CHUNK = 512, SHARED_CHUNK = 256 };

/* ------------------------------------------------------------------ */
/* Open and close                                                      */
/* ------------------------------------------------------------------ */

static dsr1_status check_options(const dsr1_engine_options *o, dsr1_error *err)
{
    if (o->n_threads < 0 || o->n_threads > 256)
        return error_set(err, DSR1_ERR_ARGUMENT, "n_threads %d: must be 1 to 256", o->n_threads);
    if (o->context_size < 0 || o->context_size > 1 << 24)
        return error_set(err, DSR1_ERR_ARGUMENT, "context_size %d is out of range", o->context_size);
    if (o->max_batch < 0 || o->max_batch > 1024)
        return error_set(err, DSR1_ERR_ARGUMENT, "max_batch %d: must be 1 to 1024", o->max_batch);
    if (o->max_queue < 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "max_queue %d: must be positive", o->max_queue);
    if (o->chunk_size < 0 || o->chunk_size > 8192)
        return error_set(err, DSR1_ERR_ARGUMENT, "chunk_size %d: must be 1 to 8192", o->chunk_size);
    if (o->kv_type < DSR1_KV_BF16 || o->kv_type > DSR1_KV_F16)
        return error_set(err, DSR1_ERR_ARGUMENT, "kv_type %d: must be one of dsr1_kv_type", (int) o->kv_type);
    return DSR1_OK;
}

static dsr1_status check_experts(const struct model_shape *shape, int n, dsr1_error *err)
{
    if (n == 0 || model_shape_may_use(shape, n))
        return DSR1_OK;
    if (shape->n_experts == 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "n_experts_used %d: the model has no experts", n);
    return error_set(err, DSR1_ERR_ARGUMENT, "n_experts_used %d: the model has %d experts", n, shape->n_experts);
}

static enum kv_type kv_type(dsr1_kv_type type)
{
    static const enum kv_type types[] = {
        [DSR1_KV_BF16] = KV_BF16, [DSR1_KV_F32] = KV_F32, [DSR1_KV_Q8_0] = KV_Q8_0, [DSR1_KV_F16] = KV_F16};
    return types[type];
}

static void fill_defaults(dsr1_engine_options *o, const struct model *model)
{
    int trained = model->shape.n_context;
    if (o->n_threads == 0)
        o->n_threads = cpu_count();
    if (o->context_size == 0)
        o->context_size = trained < DEFAULT_CONTEXT ? trained : DEFAULT_CONTEXT;
    if (o->max_batch == 0)
        o->max_batch = DEFAULT_BATCH;
    if (o->max_queue == 0)
        o->max_queue = DEFAULT_QUEUE;
    if (o->chunk_size == 0)
        o->chunk_size = DEFAULT_CHUNK;
    if (o->kv_cache_size == 0) {
        struct kv_shape shape = model_kv_shape(model, kv_type(o->kv_type));
        size_t want = kv_cache_bytes(&shape, o->context_size) * (size_t) ((o->max_batch + 3) / 4);
        size_t most = (size_t) 1 << 30;
        o->kv_cache_size = want < most ? want : most;
    }
}

static dsr1_status allocate_work(struct engine *e, dsr1_error *err)
{
    int n = e->model->shape.n_vocab, n_known = tokenizer_n_vocab(e->tokenizer);
    e->n_choices = n < n_known ? n : n_known;
    e->no_end = memory_array(((size_t) e->n_choices + 63) / 64, sizeof *e->no_end);
    for (int i = 0; i < e->n_choices && e->no_end; i++)
        e->no_end[i / 64] |= (uint64_t) !tokenizer_is_end(e->tokenizer, i) << (i % 64);
    e->works = memory_array((size_t) e->options.n_threads, sizeof *e->works);
    for (int t = 0; t < e->options.n_threads && e->works; t++) {
        e->works[t].values = memory_array((size_t) n, sizeof *e->works->values);
        e->works[t].ids = memory_array((size_t) n, sizeof *e->works->ids);
        if (!e->works[t].values || !e->works[t].ids)
            return error_nomem(err, "an engine");
    }
    e->running = memory_array((size_t) e->options.max_batch, sizeof *e->running);
    size_t rows = (size_t) (e->options.max_batch + e->options.chunk_size);
    e->hidden = memory_array(rows, (size_t) e->model->shape.n_embd * sizeof *e->hidden);
    int n_used = e->options.n_experts_used > 0 ? e->options.n_experts_used : e->model->shape.n_used;
    e->experts = memory_array(rows, (size_t) e->model->shape.n_layers * (size_t) n_used * sizeof *e->experts);
    bool nextn = e->model->shape.has_nextn;
    e->nextn_rows = nextn ? memory_array(rows, sizeof *e->nextn_rows) : NULL;
    for (e->n_by_id = 64; e->n_by_id < (size_t) e->options.max_queue && e->n_by_id < 1 << 16;)
        e->n_by_id *= 2;
    e->by_id = memory_array(e->n_by_id, sizeof *e->by_id);
    if (!e->no_end || !e->works || !e->running || !e->hidden || !e->experts || !e->by_id ||
        (nextn && !e->nextn_rows))
        return error_nomem(err, "an engine");
    /* Layers without a router never write theirs. */
    memset(e->experts, 0xff, rows * (size_t) e->model->shape.n_layers * (size_t) n_used * sizeof *e->experts);
    return DSR1_OK;
}

dsr1_status engine_open(const struct model *model, const struct tokenizer *tokenizer,
                        const dsr1_engine_options *options, struct engine **out, dsr1_error *err)
{
    dsr1_engine_options o = options ? *options : (dsr1_engine_options){0};
    *out = NULL;
    dsr1_status status = check_options(&o, err);
    if (status == DSR1_OK)
        status = check_experts(&model->shape, o.n_experts_used, err);
    if (status != DSR1_OK)
        return status;
    struct engine *e = memory_array(1, sizeof *e);
    if (!e)
        return error_nomem(err, "an engine");
    int shared_chunk = o.chunk_size > 0 ? o.chunk_size : SHARED_CHUNK;
    fill_defaults(&o, model);
    *e = (struct engine){.model = model, .tokenizer = tokenizer, .kernels = kernels_default(), .options = o,
                         .shared_chunk = shared_chunk, .think_open = tokenizer_find(tokenizer, "<think>"),
                         .think_close = tokenizer_find(tokenizer, "</think>"), .next_id = 1, .next_turn = 1};
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->table_lock, NULL);
    struct kv_shape shape = model_kv_shape(model, kv_type(o.kv_type));
    status = allocate_work(e, err);
    if (status == DSR1_OK)
        status = thread_pool_open(o.n_threads, &e->pool, err);
    if (status == DSR1_OK)
        /* One whole context, and the page that its prefix is copied from: the head of the queue always fits in the end. */
        status = kv_cache_open(&e->cache, &shape, o.kv_cache_size, kv_pages_for(o.context_size) + 1, err);
    if (status == DSR1_OK)
        status = prefix_tree_open(&e->tree, &e->cache, err);
    if (status == DSR1_OK)
        status = step_open(model, &e->cache, e->pool, e->kernels, o.max_batch + o.chunk_size,
                           o.max_batch + EXTRA_LOGITS, o.n_experts_used, &e->step, err);
    if (status != DSR1_OK) {
        engine_close(e);
        return status;
    }
    e->step.n_choices = e->n_choices;
    *out = e;
    return DSR1_OK;
}

/* What the request computed stays in the tree until its room is needed. */
static void drop(struct engine *e, struct request *r)
{
    if (e->tree.cache)
        prefix_tree_insert(&e->tree, r->scope, r->tokens, r->n_computed, &r->seq, true);
    kv_seq_release(&e->cache, &r->seq);
    score_release(&r->score, &e->cache);
    request_close(r);
}

static void drop_waiting(struct engine *e)
{
    while (e->lanes) {
        struct lane *lane = e->lanes;
        while (lane->first)
            drop(e, lane_take(lane));
        e->lanes = lane->next;
        free(lane);
    }
    while (e->over) {
        struct request *r = e->over;
        e->over = r->next;
        drop(e, r);
    }
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    for (int i = 0; i < e->n_running; i++)
        drop(e, e->running[i].request);
    drop_waiting(e);
    step_close(&e->step);
    prefix_tree_close(&e->tree);
    kv_cache_close(&e->cache);
    thread_pool_close(e->pool);
    token_table_close(e->table);
    pthread_mutex_destroy(&e->table_lock);
    pthread_mutex_destroy(&e->lock);
    for (int t = 0; t < e->options.n_threads && e->works; t++) {
        free(e->works[t].values);
        free(e->works[t].ids);
    }
    free(e->works);
    free(e->no_end);
    free(e->hidden);
    free(e->nextn_rows);
    free(e->experts);
    free(e->running);
    free(e->by_id);
    free(e);
}

/* ------------------------------------------------------------------ */
/* Live requests                                                       */
/* ------------------------------------------------------------------ */

static struct request **bucket(const struct engine *e, uint64_t id)
{
    return &e->by_id[id & (e->n_by_id - 1)];
}

/* Gives the request an id and a place in line. False: no memory. */
static bool enter(struct engine *e, struct request *r, uint64_t client)
{
    r->progress.prompt_tokens = r->n_prompt;
    r->lane = lane_join(&e->lanes, client, r->priority);
    if (!r->lane)
        return false;
    r->id = e->next_id++;
    r->next_by_id = *bucket(e, r->id);
    *bucket(e, r->id) = r;
    lane_append(r->lane, r);
    e->n_queued++;
    e->n_deadlines += r->deadline > 0;
    e->stats.n_requests++;
    e->stats.n_forced += (uint64_t) (r->n_tokens - r->n_prompt);
    return true;
}

/* Under the lock: the request is no longer known, and counted as finished. */
static void leave(struct engine *e, struct request *r)
{
    struct request **at = bucket(e, r->id);
    while (*at != r)
        at = &(*at)->next_by_id;
    *at = r->next_by_id;
    lane_leave(&e->lanes, r->lane);
    e->n_deadlines -= r->deadline > 0;
    e->stats.n_finished++;
    e->stats.n_cancelled += r->finish == DSR1_FINISH_CANCELLED;
    e->stats.n_failed += r->finish == DSR1_FINISH_ERROR || r->finish == DSR1_FINISH_TIMEOUT;
}

/* The vocabulary as constraints need it, once. */
static dsr1_status get_table(struct engine *e, struct token_table **table, dsr1_error *err)
{
    pthread_mutex_lock(&e->table_lock);
    dsr1_status status = e->table ? DSR1_OK : token_table_open(e->tokenizer, &e->table, err);
    *table = e->table;
    pthread_mutex_unlock(&e->table_lock);
    return status;
}

dsr1_status engine_submit(struct engine *e, const dsr1_request *from, uint64_t *id, dsr1_error *err)
{
    struct request_bounds bounds = {e->options.context_size, e->model->shape.n_vocab, e->model->shape.n_embd,
                                    {NULL, e->tokenizer, e->think_close}};
    struct request *r;
    dsr1_status status = request_obeys(from) ? get_table(e, &bounds.obey.table, err) : DSR1_OK;
    if (status == DSR1_OK)
        status = request_open(from, &bounds, &r, err);
    if (status != DSR1_OK)
        return status;
    r->t_submit = clock_seconds();
    r->deadline = from->timeout_ms > 0 ? r->t_submit + from->timeout_ms * 1e-3 : 0;
    pthread_mutex_lock(&e->lock);
    /* Those that the next step has places for do not wait. */
    if (e->n_queued - (e->options.max_batch - e->n_running) >= e->options.max_queue)
        status = error_set(err, DSR1_ERR_BUSY, "the queue is full: %d requests wait or are about to run",
                           e->n_queued);
    else if (!enter(e, r, from->client))
        status = error_nomem(err, "a request");
    else if (id)
        *id = r->id;
    pthread_mutex_unlock(&e->lock);
    if (status != DSR1_OK)
        request_close(r);
    return status;
}

/* Under the lock: out of its line, to end with the next step. */
static void end_queued(struct engine *e, struct request *r, dsr1_finish finish)
{
    lane_remove(r->lane, r);
    e->n_queued--;
    r->state = REQUEST_OVER;
    r->finish = finish;
    r->next = e->over;
    e->over = r;
}

/* Under the lock. */
static struct request *find(const struct engine *e, uint64_t id)
{
    struct request *r = *bucket(e, id);
    while (r && r->id != id)
        r = r->next_by_id;
    return r;
}

void engine_cancel(struct engine *e, uint64_t id)
{
    pthread_mutex_lock(&e->lock);
    struct request *r = find(e, id);
    if (r && r->state == REQUEST_QUEUED)
        end_queued(e, r, DSR1_FINISH_CANCELLED);
    else if (r)
        r->cancelled = true;
    pthread_mutex_unlock(&e->lock);
}

bool engine_get_progress(struct engine *e, uint64_t id, dsr1_progress *progress)
{
    pthread_mutex_lock(&e->lock);
    const struct request *r = find(e, id);
    if (r)
        *progress = r->progress;
    if (r && r->state == REQUEST_QUEUED)
        progress->phase = DSR1_PHASE_QUEUED;
    pthread_mutex_unlock(&e->lock);
    return r != NULL;
}

/* ------------------------------------------------------------------ */
/* A step                                                              */
/* ------------------------------------------------------------------ */

/* Under the lock. */
static void end_late_queued(struct engine *e, double now)
{
    for (struct lane *lane = e->lanes; lane && e->n_deadlines > 0; lane = lane->next)
        for (struct request *r = lane->first, *next; r; r = next) {
            next = r->next;
            if (r->deadline > 0 && now > r->deadline)
                end_queued(e, r, DSR1_FINISH_TIMEOUT);
        }
}

/* Under the lock. */
static void end_running(struct engine *e, double now)
{
    for (int i = 0; i < e->n_running; i++) {
        struct request *r = e->running[i].request;
        if (r->cancelled)
            r->finish = DSR1_FINISH_CANCELLED;
        else if (r->deadline > 0 && now > r->deadline && r->finish == DSR1_FINISH_NONE)
            r->finish = DSR1_FINISH_TIMEOUT;
    }
}

static void end(struct engine *e, struct request *r)
{
    answer_done(e, r);
    pthread_mutex_lock(&e->lock);
    leave(e, r);
    pthread_mutex_unlock(&e->lock);
    drop(e, r);
}

/* Ends running requests whose finish is set: last event, pages back, out of the set. */
static void retire(struct engine *e)
{
    for (int i = 0; i < e->n_running;) {
        struct request *r = e->running[i].request;
        if (r->finish == DSR1_FINISH_NONE) {
            i++;
            continue;
        }
        pthread_mutex_lock(&e->lock);
        e->n_running--;
        for (int j = i; j < e->n_running; j++)
            e->running[j] = e->running[j + 1];
        r->state = REQUEST_OVER;
        pthread_mutex_unlock(&e->lock);
        end(e, r);
    }
}

/* Ends those that never ran, or made way and were not taken up again. */
static void retire_queued(struct engine *e, struct request *over)
{
    while (over) {
        struct request *r = over;
        over = r->next;
        end(e, r);
    }
}

static dsr1_phase phase_of(const struct request *r)
{
    return r->n_computed < r->n_prompt ? DSR1_PHASE_PREFILL : DSR1_PHASE_DECODE;
}

/* Before the step: what a client waits for is what the step is about to do. */
static void tell_phases(struct engine *e)
{
    for (int i = 0; i < e->n_running; i++) {
        struct request *r = e->running[i].request;
        dsr1_event event = {.type = DSR1_EVENT_PHASE, .phase = phase_of(r)};
        if (!r->want_phases || event.phase == r->told)
            continue;
        r->told = event.phase;
        answer_send(r, &event);
    }
}

/* Under the lock. */
static void note_progress(struct request *r)
{
    r->progress.phase = phase_of(r);
    r->progress.cached_tokens = r->n_cached;
    r->progress.completion_tokens = r->n_tokens - r->n_prompt;
}

static void count_step(struct engine *e, int n_rows, int n_prompt, double seconds)
{
    int n_draft = 0;
    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < e->n_running; i++) {
        e->running[i].request->lane->served += e->running[i].n;
        n_draft += e->running[i].n_draft;
        note_progress(e->running[i].request);
    }
    e->stats.n_steps++;
    e->stats.n_step_rows += (uint64_t) n_rows;
    e->stats.prompt_tokens += (uint64_t) n_prompt;
    e->stats.completion_tokens += (uint64_t) e->n_written;
    e->stats.n_forced += (uint64_t) e->n_forced;
    e->stats.n_drafted += (uint64_t) n_draft;
    e->stats.n_accepted += (uint64_t) e->n_accepted;
    e->stats.prefill_s += seconds * n_prompt / n_rows;
    e->stats.decode_s += seconds * (n_rows - n_prompt) / n_rows;
    pthread_mutex_unlock(&e->lock);
    if (n_prompt == 0)
        draft_cost_learn(&e->cost, n_rows, seconds);
}

/* How often so far the kernel gave a core to someone else that one of our threads was using. */
static long cores_lost(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : 0;
}

static void compute(struct engine *e, int n_prompt)
{
    double start = clock_seconds();
    long lost = cores_lost();
    e->step.alone = e->options.n_threads > 1 && pace_alone(&e->pace, e->step.n_rows);
    int n_rows = e->step.n_rows;
    e->step.keeps = e->nextn_rows != NULL;
    step_run(&e->step);
    double seconds = clock_seconds() - start;
    pace_learn(&e->pace, n_rows, e->step.alone, seconds, cores_lost() - lost);
    e->n_written = e->n_accepted = e->n_forced = 0;
    answer_choose(e);
    for (int i = 0; i < e->n_running; i++)
        if (e->running[i].n > 0)
            answer_take(e, &e->running[i]);
    if (e->nextn_rows) {
        guess_run(e);
        seconds = clock_seconds() - start;
    }
    count_step(e, n_rows, n_prompt, seconds);
}

int engine_step(struct engine *e, dsr1_error *err)
{
    (void) err;
    pthread_mutex_lock(&e->lock);
    double now = e->n_deadlines > 0 ? clock_seconds() : 0;
    end_running(e, now);
    end_late_queued(e, now);
    struct request *over = e->over;
    e->over = NULL;
    pthread_mutex_unlock(&e->lock);
    retire_queued(e, over);
    retire(e);
    pthread_mutex_lock(&e->lock);
    schedule_admit(e);
    pthread_mutex_unlock(&e->lock);
    tell_phases(e);

    int n_prompt = schedule_plan(e);
    if (e->step.n_rows > 0)
        compute(e, n_prompt);
    retire(e);
    pthread_mutex_lock(&e->lock);
    int left = e->n_running + e->n_queued + (e->over != NULL);
    pthread_mutex_unlock(&e->lock);
    return left;
}

void engine_get_stats(struct engine *e, dsr1_engine_stats *stats)
{
    pthread_mutex_lock(&e->lock);
    *stats = e->stats;
    stats->n_threads = e->options.n_threads;
    stats->context_size = e->options.context_size;
    stats->max_batch = e->options.max_batch;
    stats->n_running = e->n_running;
    stats->n_queued = e->n_queued;
    stats->kv_size = (size_t) e->cache.n_pages * e->cache.page_size;
    stats->kv_used = (size_t) (e->cache.n_pages - e->cache.n_free) * e->cache.page_size;
    pthread_mutex_unlock(&e->lock);
}
