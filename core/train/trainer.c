/*
 * trainer.c - the gradient of a batch, by all threads
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/trainer.h"

#include "base/error.h"
#include "base/memory.h"
#include "train/shard.h"

#include <stdlib.h>
#include <string.h>

struct round {
    struct trainer *trainer;
    const struct batch *batch;
    trainer_loss loss;
    void *user;
    bool backward;
    int *shards;
    int n_shards;
};

static dsr1_status open_worker(struct trainer *t, struct trainer_worker *w, dsr1_error *err)
{
    dsr1_status status = pass_open(t->net, t->trainable != NULL, &w->pass, err);
    if (status == DSR1_OK)
        status = head_open(t->net, &w->head, err);
    if (status == DSR1_OK && t->teacher)
        status = pass_open(t->teacher, false, &w->teacher_pass, err);
    if (status == DSR1_OK && t->teacher)
        status = head_open(t->teacher, &w->teacher_head, err);
    if (status == DSR1_OK && t->trainable && !(w->grad = memory_map(t->grad_size)))
        status = error_nomem(err, "a gradient");
    return status;
}

dsr1_status trainer_open(struct net *net, struct trainable *trainable, const struct net *teacher,
                         struct thread_pool *pool, struct trainer *trainer, dsr1_error *err)
{
    *trainer = (struct trainer){.net = net, .teacher = teacher, .trainable = trainable, .pool = pool};
    struct trainer *t = trainer;
    dsr1_status status = DSR1_OK;
    if (trainable) {
        t->grad_size = trainable->value_size;
        t->grad = memory_map(t->grad_size);
    }
    t->workers = memory_array((size_t) thread_pool_size(pool), sizeof *t->workers);
    if (!t->workers || (trainable && !t->grad))
        status = error_nomem(err, "the trainer");
    for (int i = 0; status == DSR1_OK && i < thread_pool_size(pool); i++)
        status = open_worker(t, &t->workers[i], err);
    if (status != DSR1_OK)
        trainer_close(t);
    return status;
}

void trainer_close(struct trainer *t)
{
    for (int i = 0; t->workers && i < thread_pool_size(t->pool); i++) {
        struct trainer_worker *w = &t->workers[i];
        pass_close(&w->pass);
        head_close(&w->head);
        pass_close(&w->teacher_pass);
        head_close(&w->teacher_head);
        memory_unmap(w->d_out, w->d_out_size);
        memory_unmap(w->grad, t->grad_size);
    }
    free(t->workers);
    memory_unmap(t->grad, t->grad_size);
    *t = (struct trainer){0};
}

static struct batch view(const struct round *r, int shard)
{
    const struct batch *b = r->batch;
    int first = r->shards[shard], row = b->start[first] - b->start[0];
    return (struct batch){.n_seqs = r->shards[shard + 1] - first, .start = b->start + first, .tokens = b->tokens + row,
                          .n_used = b->n_used, .forks = b->forks ? b->forks + row : NULL};
}

static dsr1_status make_room(struct trainer_worker *w, size_t size, dsr1_error *err)
{
    if (w->d_out_size >= size)
        return DSR1_OK;
    memory_unmap(w->d_out, w->d_out_size);
    w->d_out = memory_map(size);
    w->d_out_size = w->d_out ? size : 0;
    return w->d_out ? DSR1_OK : error_nomem(err, "a gradient of outputs");
}

/* Forced experts lie by layer and then by row: a shard's are not in one piece. */
static dsr1_status cut_chosen(const struct round *r, struct batch *b, int **chosen, dsr1_error *err)
{
    const struct batch *all = r->batch;
    const struct net *net = r->trainer->net;
    *chosen = NULL;
    if (!all->chosen)
        return DSR1_OK;
    size_t n = (size_t) batch_rows(b), total = (size_t) batch_rows(all), k = 1;
    for (int i = 0; i < net->shape.n_layers; i++)
        if (net_has_experts(&net->layers[i]))
            k = (size_t) experts_used(&net->layers[i], all);
    *chosen = memory_array((size_t) net->shape.n_layers * n * k, sizeof **chosen);
    if (!*chosen)
        return error_nomem(err, "forced experts");
    size_t row = (size_t) (b->start[0] - all->start[0]);
    for (size_t i = 0; i < (size_t) net->shape.n_layers; i++)
        memcpy(*chosen + i * n * k, all->chosen + (i * total + row) * k, n * k * sizeof **chosen);
    b->chosen = *chosen;
    return DSR1_OK;
}

static dsr1_status run_shard(const struct round *r, struct trainer_worker *w, int shard, dsr1_error *err)
{
    struct batch b = view(r, shard);
    int *chosen;
    if (r->trainer->stop && *r->trainer->stop)
        return error_set(err, DSR1_ERR_CANCELLED, "stopped");
    size_t size = (size_t) batch_rows(&b) * (size_t) r->trainer->net->shape.n_embd * sizeof(real);
    dsr1_status status = cut_chosen(r, &b, &chosen, err);
    if (status == DSR1_OK && r->backward)
        status = make_room(w, size, err);
    if (status == DSR1_OK)
        status = pass_begin(&w->pass, &b, err);
    if (status == DSR1_OK && w->teacher_pass.net) {
        struct batch whole = {.n_seqs = b.n_seqs, .start = b.start, .tokens = b.tokens};
        status = pass_begin(&w->teacher_pass, &whole, err);
        if (status == DSR1_OK)
            pass_forward(&w->teacher_pass);
    }
    if (status == DSR1_OK) {
        pass_forward(&w->pass);
        if (r->backward)
            memset(w->d_out, 0, size);
        status = r->loss(r->user, w, &b, r->backward ? w->d_out : NULL, err);
    }
    if (status == DSR1_OK && r->backward)
        pass_backward(&w->pass, w->d_out, w->grad);
    free(chosen);
    return status;
}

/* Each thread adds its stretch of the vector, shard after shard. */
static void add_gradients(struct trainer *t, int n, int thread, int n_threads)
{
    size_t total = t->trainable->n, from = total * (size_t) thread / (size_t) n_threads;
    size_t to = total * (size_t) (thread + 1) / (size_t) n_threads;
    for (int i = 0; i < n; i++)
        t->net->ops->add(t->grad + from, 1, t->workers[i].grad + from, to - from);
}

static void run_share(void *context, int thread, int n_threads)
{
    const struct round *r = context;
    struct trainer *t = r->trainer;
    struct trainer_worker *w = &t->workers[thread];
    w->status = DSR1_OK;
    w->err = (dsr1_error){0};
    for (int first = 0; first < r->n_shards; first += n_threads) {
        int n = r->n_shards - first < n_threads ? r->n_shards - first : n_threads;
        if (thread < n && w->status == DSR1_OK) {
            if (r->backward)
                memset(w->grad, 0, t->trainable->n * sizeof *w->grad);
            w->status = run_shard(r, w, first + thread, &w->err);
        }
        thread_pool_barrier(t->pool);
        if (r->backward)
            add_gradients(t, n, thread, n_threads);
        thread_pool_barrier(t->pool);
    }
}

dsr1_status trainer_run(struct trainer *trainer, const struct batch *batch, trainer_loss loss, void *user,
                        bool backward, dsr1_error *err)
{
    struct round r = {.trainer = trainer, .batch = batch, .loss = loss, .user = user, .backward = backward};
    if (batch->n_seqs < 1 || (backward && !trainer->trainable))
        return error_set(err, DSR1_ERR_ARGUMENT, "a batch without sequences, or nothing to train");
    r.shards = memory_array((size_t) batch->n_seqs + 1, sizeof *r.shards);
    if (!r.shards)
        return error_nomem(err, "the shards");
    r.n_shards = shard_cut(batch, TRAINER_SHARD, r.shards);
    if (backward)
        memset(trainer->grad, 0, trainer->trainable->n * sizeof *trainer->grad);
    thread_pool_run(trainer->pool, run_share, &r);
    free(r.shards);
    for (int i = 0; i < thread_pool_size(trainer->pool); i++) {
        const struct trainer_worker *w = &trainer->workers[i];
        if (w->status != DSR1_OK)
            return error_set(err, w->status, "%s", w->err.message);
    }
    return DSR1_OK;
}
