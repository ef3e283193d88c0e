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

enum { EXTRA_LOGITS = 32, DEFAULT_CONTEXT = 4096, DEFAULT_BATCH = 16, DEFAULT_QUEUE = 1024, DEFAULT_CHUNK = 256 };

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
    return DSR1_OK;
}

static enum kv_type kv_type(dsr1_kv_type type)
{
    return type == DSR1_KV_F32 ? KV_F32 : type == DSR1_KV_Q8_0 ? KV_Q8_0 : KV_F16;
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
    e->work.values = memory_array((size_t) n, sizeof *e->work.values);
    e->work.ids = memory_array((size_t) n, sizeof *e->work.ids);
    e->running = memory_array((size_t) e->options.max_batch, sizeof *e->running);
    if (!e->work.values || !e->work.ids || !e->running)
        return error_nomem(err, "an engine");
    return DSR1_OK;
}

dsr1_status engine_open(const struct model *model, const struct tokenizer *tokenizer,
                        const dsr1_engine_options *options, struct engine **out, dsr1_error *err)
{
    dsr1_engine_options o = options ? *options : (dsr1_engine_options){0};
    *out = NULL;
    dsr1_status status = check_options(&o, err);
    if (status != DSR1_OK)
        return status;
    struct engine *e = memory_array(1, sizeof *e);
    if (!e)
        return error_nomem(err, "an engine");
    fill_defaults(&o, model);
    *e = (struct engine){.model = model, .tokenizer = tokenizer, .kernels = kernels_default(), .options = o,
                         .next_id = 1};
    pthread_mutex_init(&e->lock, NULL);
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
                           o.max_batch + EXTRA_LOGITS, &e->step, err);
    if (status != DSR1_OK) {
        engine_close(e);
        return status;
    }
    *out = e;
    return DSR1_OK;
}

/* What the request computed stays in the tree until its room is needed. */
static void drop(struct engine *e, struct request *r)
{
    if (e->tree.cache)
        prefix_tree_insert(&e->tree, r->scope, r->tokens, r->n_computed, &r->seq, true);
    kv_seq_release(&e->cache, &r->seq);
    request_close(r);
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    for (int i = 0; i < e->n_running; i++)
        drop(e, e->running[i].request);
    while (e->queue) {
        struct request *r = e->queue;
        e->queue = r->next;
        drop(e, r);
    }
    step_close(&e->step);
    prefix_tree_close(&e->tree);
    kv_cache_close(&e->cache);
    thread_pool_close(e->pool);
    pthread_mutex_destroy(&e->lock);
    free(e->work.values);
    free(e->work.ids);
    free(e->running);
    free(e);
}

/* ------------------------------------------------------------------ */
/* Submit and cancel                                                   */
/* ------------------------------------------------------------------ */

static void enqueue(struct engine *e, struct request *r)
{
    struct request **at = &e->queue;
    while (*at && (*at)->priority >= r->priority)
        at = &(*at)->next;
    r->next = *at;
    *at = r;
    e->n_queued++;
}

dsr1_status engine_submit(struct engine *e, const dsr1_request *from, uint64_t *id, dsr1_error *err)
{
    struct request *r;
    dsr1_status status = request_open(from, e->options.context_size, e->model->shape.n_vocab, &r, err);
    if (status != DSR1_OK)
        return status;
    r->t_submit = clock_seconds();
    pthread_mutex_lock(&e->lock);
    if (e->n_queued >= e->options.max_queue) {
        status = error_set(err, DSR1_ERR_BUSY, "the queue is full: %d requests are waiting", e->n_queued);
    } else {
        r->id = e->next_id++;
        if (id)
            *id = r->id;
        enqueue(e, r);
        e->stats.n_requests++;
    }
    pthread_mutex_unlock(&e->lock);
    if (status != DSR1_OK)
        request_close(r);
    return status;
}

void engine_cancel(struct engine *e, uint64_t id)
{
    pthread_mutex_lock(&e->lock);
    for (struct request *r = e->queue; r; r = r->next)
        if (r->id == id)
            atomic_store(&r->cancelled, true);
    for (int i = 0; i < e->n_running; i++)
        if (e->running[i].request->id == id)
            atomic_store(&e->running[i].request->cancelled, true);
    pthread_mutex_unlock(&e->lock);
}

/* ------------------------------------------------------------------ */
/* A step                                                              */
/* ------------------------------------------------------------------ */

/* Takes cancelled requests out of the queue; the list is finished by the caller, outside the lock. */
static struct request *take_cancelled(struct engine *e)
{
    struct request *cancelled = NULL, **tail = &cancelled, **at = &e->queue;
    while (*at) {
        struct request *r = *at;
        if (!atomic_load(&r->cancelled)) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        r->next = NULL;
        r->finish = DSR1_FINISH_CANCELLED;
        *tail = r;
        tail = &r->next;
        e->n_queued--;
    }
    return cancelled;
}

/* The last token of a prompt is always computed: its logits begin the answer. Nor are asked-for logits ever cached. */
static int cacheable(const struct request *r)
{
    return r->want_logits == DSR1_LOGITS_ALL ? 0 : r->n_prompt - 1;
}

static int common_prefix(const struct request *a, const struct request *b)
{
    int n = a->n_prompt < b->n_prompt ? a->n_prompt : b->n_prompt, i = 0;
    while (i < n && a->tokens[i] == b->tokens[i])
        i++;
    return i;
}

/* Is a running request computing a prefix right now that this one could share in a moment? */
static bool prefix_on_its_way(const struct engine *e, const struct request *r)
{
    int known = prefix_tree_match(&e->tree, r->scope, r->tokens, cacheable(r));
    for (int i = 0; i < e->n_running; i++) {
        const struct request *q = e->running[i].request;
        if (q->scope == r->scope && q->n_computed < q->n_prompt && cacheable(r) > 0 &&
            common_prefix(q, r) / KV_PAGE * KV_PAGE > known)
            return true;
    }
    return false;
}

/* First come first served within a priority: a large request at the head waits for room, nobody overtakes it. */
static void admit(struct engine *e)
{
    while (e->queue && e->n_running < e->options.max_batch) {
        struct request *r = e->queue;
        if (prefix_on_its_way(e, r))
            return;
        int cached = prefix_tree_attach(&e->tree, r->scope, r->tokens, cacheable(r), r->n_reserved, &r->seq, NULL);
        if (cached < 0)
            return;
        r->n_cached = r->n_computed = cached;
        e->stats.cached_tokens += (uint64_t) cached;
        e->stats.prompt_tokens += (uint64_t) cached;
        e->queue = r->next;
        r->next = NULL;
        e->n_queued--;
        r->t_start = clock_seconds();
        e->running[e->n_running++] = (struct share){.request = r};
    }
}

static bool wants_logits(const struct request *r, int position)
{
    if (position == r->n_tokens - 1 && (r->n_tokens < r->n_limit || r->want_logits != DSR1_LOGITS_NONE))
        return true;
    return r->want_logits == DSR1_LOGITS_ALL && position < r->n_prompt;
}

/* Up to n rows of a request; fewer when the rows of logits run out. */
static void add_rows(struct engine *e, struct share *share, int n, int *n_logits)
{
    struct request *r = share->request;
    struct step *s = &e->step;
    share->first = s->n_rows;
    for (int i = 0; i < n; i++) {
        int position = r->n_computed + i, logits = -1;
        if (wants_logits(r, position)) {
            if (*n_logits == s->max_logits)
                break;
            logits = (*n_logits)++;
        }
        s->rows[s->n_rows++] = (struct step_row){r->tokens[position], position, &r->seq, logits};
    }
    share->n = s->n_rows - share->first;
}

/* Decodes first, then pieces of prompts until the chunk is full. Returns how many rows are prompt. */
static int plan(struct engine *e)
{
    int n_logits = 0, chunk = e->options.chunk_size, n_prompt = 0;
    e->step.n_rows = 0;
    for (int i = 0; i < e->n_running; i++) {
        struct request *r = e->running[i].request;
        e->running[i].n = 0;
        if (r->n_tokens - r->n_computed == 1 && r->n_tokens > r->n_prompt)
            add_rows(e, &e->running[i], 1, &n_logits);
    }
    for (int i = 0; i < e->n_running && chunk > 0; i++) {
        struct share *share = &e->running[i];
        int pending = share->request->n_tokens - share->request->n_computed;
        if (share->n > 0 || pending == 0)
            continue;
        add_rows(e, share, pending < chunk ? pending : chunk, &n_logits);
        chunk -= share->n;
        n_prompt += share->n;
    }
    return n_prompt;
}

static void count_finish(struct engine *e, const struct request *r)
{
    e->stats.n_finished++;
    e->stats.n_cancelled += r->finish == DSR1_FINISH_CANCELLED;
    e->stats.n_failed += r->finish == DSR1_FINISH_ERROR;
}

/* Ends requests whose finish is set: last event, pages back, out of the set. */
static void retire(struct engine *e)
{
    for (int i = 0; i < e->n_running;) {
        struct request *r = e->running[i].request;
        if (r->finish == DSR1_FINISH_NONE) {
            i++;
            continue;
        }
        answer_done(e, r);
        pthread_mutex_lock(&e->lock);
        count_finish(e, r);
        e->n_running--;
        for (int j = i; j < e->n_running; j++)
            e->running[j] = e->running[j + 1];
        pthread_mutex_unlock(&e->lock);
        drop(e, r);
    }
}

static void retire_queued(struct engine *e, struct request *cancelled)
{
    while (cancelled) {
        struct request *r = cancelled;
        cancelled = r->next;
        answer_done(e, r);
        pthread_mutex_lock(&e->lock);
        count_finish(e, r);
        pthread_mutex_unlock(&e->lock);
        drop(e, r);
    }
}

static void compute(struct engine *e, int n_prompt)
{
    int n_rows = e->step.n_rows, n_decode = n_rows - n_prompt;
    double start = clock_seconds();
    step_run(&e->step);
    double spent = clock_seconds() - start;
    for (int i = 0; i < e->n_running; i++)
        if (e->running[i].n > 0) {
            struct request *r = e->running[i].request;
            bool prompt_open = r->n_computed < r->n_prompt;
            answer_take(e, &e->running[i]);
            if (prompt_open && r->n_computed >= r->n_prompt)
                prefix_tree_insert(&e->tree, r->scope, r->tokens, r->n_prompt, &r->seq, false);
        }
    pthread_mutex_lock(&e->lock);
    e->stats.n_steps++;
    e->stats.n_step_rows += (uint64_t) n_rows;
    e->stats.prompt_tokens += (uint64_t) n_prompt;
    e->stats.completion_tokens += (uint64_t) n_decode;
    e->stats.prefill_s += spent * n_prompt / n_rows;
    e->stats.decode_s += spent * n_decode / n_rows;
    pthread_mutex_unlock(&e->lock);
}

int engine_step(struct engine *e, dsr1_error *err)
{
    (void) err;
    for (int i = 0; i < e->n_running; i++)
        if (atomic_load(&e->running[i].request->cancelled))
            e->running[i].request->finish = DSR1_FINISH_CANCELLED;
    retire(e);
    pthread_mutex_lock(&e->lock);
    struct request *cancelled = take_cancelled(e);
    admit(e);
    pthread_mutex_unlock(&e->lock);
    retire_queued(e, cancelled);

    int n_prompt = plan(e);
    if (e->step.n_rows > 0)
        compute(e, n_prompt);
    retire(e);
    pthread_mutex_lock(&e->lock);
    int left = e->n_running + e->n_queued;
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
