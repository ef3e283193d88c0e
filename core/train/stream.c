/*
 * stream.c - many sequences through a network layer by layer, by all threads
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/stream.h"

#include "base/error.h"
#include "base/memory.h"
#include "train/head.h"
#include "train/shard.h"

#include <stdlib.h>
#include <string.h>

struct stream_worker {
    void *block;
    size_t block_size;
    struct block_state state;
    struct block_scratch scratch;
    struct head head;
    real *rows;                 /* a shard of normed rows */
};

enum operation { OP_ATTENTION, OP_HEADS, OP_FFN, OP_HIDDEN, OP_NORM, OP_ADD, OP_LOSS };

struct task {
    struct stream *stream;
    enum operation operation;
    const struct net_layer *layer;
    const struct norm *norm;
    const int *chosen;
    const real *in;
    real *out;
    double *losses;             /* a sum per shard: the order of adding them up is then fixed */
};

/* The sequences of one shard. */
static struct batch view(const struct stream *s, int shard)
{
    int first = s->shards[shard], row = s->batch.start[first];
    return (struct batch){.n_seqs = s->shards[shard + 1] - first, .start = s->batch.start + first,
                          .tokens = s->batch.tokens + row, .n_used = s->batch.n_used};
}

static size_t view_at(const struct stream *s, const struct batch *b)
{
    return (size_t) b->start[0] * (size_t) s->net->shape.n_embd;
}

static void cut(const struct net *net, const struct net_layer *layer, const struct batch *b, struct carve *c,
                struct stream_worker *w)
{
    block_carve(c, net, layer, b, &w->state);
    block_carve_scratch(c, net, layer, b, &w->scratch);
    w->rows = carve_real(c, (size_t) batch_rows(b), (size_t) net->shape.n_embd);
}

/* The block of each thread grows to what the layer's largest shard wants. */
static dsr1_status make_room(struct stream *s, const struct net_layer *layer, dsr1_error *err)
{
    size_t most = 0;
    for (int i = 0; i < s->n_shards; i++) {
        struct carve c = {0};
        struct stream_worker ignored;
        struct batch b = view(s, i);
        cut(s->net, layer, &b, &c, &ignored);
        if (c.failed)
            return error_nomem(err, "a layer's rows");
        most = c.used > most ? c.used : most;
    }
    for (int t = 0; t < thread_pool_size(s->pool); t++) {
        struct stream_worker *w = &s->workers[t];
        if (w->block_size >= most)
            continue;
        memory_unmap(w->block, w->block_size);
        w->block = memory_map(most);
        w->block_size = w->block ? most : 0;
        if (!w->block)
            return error_nomem(err, "a layer's rows");
    }
    return DSR1_OK;
}

/* The sum of -log p of the next tokens. */
static double shard_loss(const struct stream *s, struct stream_worker *w, const struct batch *b, const real *x)
{
    real logp[HEAD_ROWS];
    double loss = 0;
    size_t d = (size_t) s->net->shape.n_embd;
    block_norm(s->net, &s->net->output_norm, x, batch_rows(b), w->rows);
    for (int q = 0; q < b->n_seqs; q++) {
        int row = batch_first(b, q), n = batch_length(b, q) - 1;
        for (int first = 0; first < n; first += HEAD_ROWS) {
            int m = n - first < HEAD_ROWS ? n - first : HEAD_ROWS;
            head_logp(&w->head, w->rows + (size_t) (row + first) * d, NULL, b->tokens + row + first + 1, m, logp);
            for (int i = 0; i < m; i++)
                loss -= (double) logp[i];
        }
    }
    return loss;
}

/* weight silu(gate) up of n rows of a state, from `first` on, to rows of hidden that are `stride` apart. */
static void hidden_rows(const struct vector_ops *ops, const struct mlp_state *s, size_t first, int n, int n_ff,
                        const real *weight, const int *row, real *hidden, size_t stride)
{
    for (int i = 0; i < n; i++) {
        size_t at = (first + (size_t) i) * (size_t) n_ff;
        real *to = hidden + (size_t) (row ? row[i] : i) * stride;
        ops->swiglu(s->gate + at, s->up + at, (size_t) n_ff, to);
        for (int j = 0; j < n_ff && weight; j++)
            to[j] *= weight[i];
    }
}

int stream_hidden_width(const struct net_layer *layer)
{
    int n_ff = layer->ffn.up.n_out;
    if (!net_has_experts(layer))
        return n_ff;
    return (layer->shared.up.n_mats ? layer->shared.up.n_out : 0) + layer->ffn.up.n_mats * n_ff;
}

/* After block_ffn, which leaves gate and up in the state. The pairs' choices become rows. */
static void put_hidden(const struct stream *s, const struct net_layer *layer, const struct batch *b,
                       const struct stream_worker *w, real *hidden)
{
    const struct vector_ops *ops = s->net->ops;
    const struct experts_state *e = &w->state.experts;
    int n = batch_rows(b), n_ff = layer->ffn.up.n_out, shared = 0, n_used = experts_used(layer, b);
    size_t stride = (size_t) stream_hidden_width(layer);
    if (!net_has_experts(layer)) {
        hidden_rows(ops, &w->state.mlp, 0, n, n_ff, NULL, NULL, hidden, stride);
        return;
    }
    memset(hidden, 0, (size_t) n * stride * sizeof *hidden);
    if (layer->shared.up.n_mats > 0) {
        shared = layer->shared.up.n_out;
        hidden_rows(ops, &e->shared, 0, n, shared, NULL, NULL, hidden, stride);
    }
    for (int i = 0; i < n * n_used; i++)
        e->pair[i] /= n_used;
    for (int x = 0; x < layer->ffn.up.n_mats; x++)
        hidden_rows(ops, &e->routed, (size_t) e->first[x], e->first[x + 1] - e->first[x], n_ff,
                    e->pair_weight + e->first[x], e->pair + e->first[x], hidden + shared + (size_t) x * (size_t) n_ff,
                    stride);
}

static void run_shard(const struct task *t, struct stream_worker *w, int shard)
{
    struct stream *s = t->stream;
    struct batch b = view(s, shard);
    size_t at = view_at(s, &b), size = (size_t) batch_rows(&b) * (size_t) s->net->shape.n_embd;
    if (t->layer || t->operation == OP_LOSS) {
        struct carve c = {.base = w->block};
        cut(s->net, t->layer ? t->layer : &s->net->layers[0], &b, &c, w);
    }
    switch (t->operation) {
    case OP_ATTENTION:
        block_attention(s->net, t->layer, &b, s->x + at, &w->state, s->x + at, &w->scratch);
        break;
    case OP_HEADS: {
        size_t width = (size_t) s->net->shape.n_heads * (size_t) s->net->shape.n_v;
        block_attention(s->net, t->layer, &b, s->x + at, &w->state, w->rows, &w->scratch);
        memcpy(t->out + (size_t) b.start[0] * width, w->state.attn.o, (size_t) batch_rows(&b) * width * sizeof(real));
        break;
    }
    case OP_HIDDEN:
        block_ffn(s->net, t->layer, &b, NULL, t->in + at, &w->state, w->rows, &w->scratch);
        put_hidden(s, t->layer, &b, w, t->out + (size_t) b.start[0] * (size_t) stream_hidden_width(t->layer));
        break;
    case OP_FFN:
        block_ffn(s->net, t->layer, &b,
                  t->chosen ? t->chosen + (size_t) b.start[0] * (size_t) experts_used(t->layer, &b) : NULL, t->in + at,
                  &w->state, t->out + at, &w->scratch);
        break;
    case OP_NORM:
        block_norm(s->net, t->norm, s->x + at, batch_rows(&b), t->out + at);
        break;
    case OP_ADD:
        s->net->ops->add(s->x + at, 1, t->in + at, size);
        break;
    case OP_LOSS:
        t->losses[shard] = shard_loss(s, w, &b, s->x + at);
        break;
    }
}

static void run_share(void *context, int thread, int n_threads)
{
    const struct task *t = context;
    for (int i = thread; i < t->stream->n_shards; i += n_threads)
        run_shard(t, &t->stream->workers[thread], i);
}

static void embed(struct stream *s)
{
    size_t d = (size_t) s->net->shape.n_embd;
    for (int r = 0; r < s->n_rows; r++)
        memcpy(s->x + (size_t) r * d, s->net->token_embd + (size_t) s->batch.tokens[r] * d, d * sizeof(real));
}

dsr1_status stream_open(const struct net *net, struct thread_pool *pool, int n_seqs, const int *start,
                        const int32_t *tokens, int n_used, struct stream *stream, dsr1_error *err)
{
    *stream = (struct stream){.net = net, .pool = pool,
                              .batch = {.n_seqs = n_seqs, .start = start, .tokens = tokens, .n_used = n_used}};
    struct stream *s = stream;
    s->n_rows = batch_rows(&s->batch);
    if (n_seqs < 1 || batch_longest(&s->batch) > net->n_positions)
        return error_set(err, DSR1_ERR_ARGUMENT, "a sequence of %d tokens, at most %d were announced",
                         batch_longest(&s->batch), net->n_positions);
    for (int r = 0; r < s->n_rows; r++)
        if (tokens[r] < 0 || tokens[r] >= net->shape.n_vocab)
            return error_set(err, DSR1_ERR_ARGUMENT, "token %d of a model of %d", tokens[r], net->shape.n_vocab);
    s->workers = memory_array((size_t) thread_pool_size(pool), sizeof *s->workers);
    s->shards = memory_array((size_t) n_seqs + 1, sizeof *s->shards);
    if (!size_mul((size_t) s->n_rows, (size_t) net->shape.n_embd * sizeof(real), &s->x_size) ||
        !(s->x = memory_map(s->x_size)) || !s->workers || !s->shards) {
        stream_close(s);
        return error_nomem(err, "the residual stream");
    }
    s->n_shards = shard_cut(&s->batch, STREAM_SHARD, s->shards);
    embed(s);
    return DSR1_OK;
}

void stream_close(struct stream *s)
{
    for (int t = 0; s->workers && t < thread_pool_size(s->pool); t++) {
        memory_unmap(s->workers[t].block, s->workers[t].block_size);
        head_close(&s->workers[t].head);
    }
    free(s->workers);
    free(s->shards);
    memory_unmap(s->x, s->x_size);
    *s = (struct stream){0};
}

static dsr1_status run_layer(struct task task, dsr1_error *err)
{
    dsr1_status status = make_room(task.stream, task.layer, err);
    if (status == DSR1_OK)
        thread_pool_run(task.stream->pool, run_share, &task);
    return status;
}

dsr1_status stream_attention(struct stream *stream, const struct net_layer *layer, dsr1_error *err)
{
    return run_layer((struct task){.stream = stream, .operation = OP_ATTENTION, .layer = layer}, err);
}

void stream_norm(struct stream *stream, const struct norm *norm, real *h)
{
    struct task task = {.stream = stream, .operation = OP_NORM, .norm = norm, .out = h};
    thread_pool_run(stream->pool, run_share, &task);
}

dsr1_status stream_ffn(struct stream *stream, const struct net_layer *layer, const int *chosen, const real *h, real *y,
                       dsr1_error *err)
{
    return run_layer((struct task){.stream = stream, .operation = OP_FFN, .layer = layer, .chosen = chosen, .in = h,
                                   .out = y}, err);
}

dsr1_status stream_heads(struct stream *stream, const struct net_layer *layer, real *heads, dsr1_error *err)
{
    return run_layer((struct task){.stream = stream, .operation = OP_HEADS, .layer = layer, .out = heads}, err);
}

dsr1_status stream_hidden(struct stream *stream, const struct net_layer *layer, const real *h, real *hidden,
                          dsr1_error *err)
{
    return run_layer((struct task){.stream = stream, .operation = OP_HIDDEN, .layer = layer, .in = h,
                                   .out = hidden}, err);
}

void stream_add(struct stream *stream, const real *y)
{
    struct task task = {.stream = stream, .operation = OP_ADD, .in = y};
    thread_pool_run(stream->pool, run_share, &task);
}

dsr1_status stream_loss(struct stream *stream, double *loss, dsr1_error *err)
{
    struct task task = {.stream = stream, .operation = OP_LOSS};
    dsr1_status status = make_room(stream, &stream->net->layers[0], err);
    task.losses = memory_array((size_t) stream->n_shards, sizeof *task.losses);
    if (status == DSR1_OK && !task.losses)
        status = error_nomem(err, "losses");
    for (int t = 0; status == DSR1_OK && t < thread_pool_size(stream->pool); t++)
        if (!stream->workers[t].head.block)
            status = head_open(stream->net, &stream->workers[t].head, err);
    int n = stream->n_rows - stream->batch.n_seqs;
    *loss = 0;
    if (status == DSR1_OK) {
        thread_pool_run(stream->pool, run_share, &task);
        for (int i = 0; i < stream->n_shards; i++)
            *loss += task.losses[i] / (n > 0 ? n : 1);
    }
    free(task.losses);
    return status;
}
