/*
 * stream.h - many sequences through a network layer by layer, by all threads
 *
 * For calibration and closed-form refits, which look at one layer for all tokens before
 * they go on to the next:
 *
 *     stream_open(&net, pool, n_seqs, start, tokens, &stream, err)      x = embeddings
 *     for each layer i:
 *         stream_attention(&stream, &net.layers[i], err)                x += attention(norm(x))
 *         stream_norm(&stream, &net.layers[i].ffn_norm, h)              h = the input of the ffn
 *         stream_ffn(&stream, &layer, h, y, err)                        y = ffn(h), of this or any other layer
 *         stream_add(&stream, y)                                        x += y
 *
 * Rows are cut into shards of whole sequences, so that the numbers do not depend
 * on how many threads there are.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_STREAM_H
#define TRAIN_STREAM_H

#include "base/thread_pool.h"
#include "train/block.h"

enum { STREAM_SHARD = 512 };    /* rows; a longer sequence is a shard of its own */

struct stream_worker;

struct stream {
    const struct net *net;
    struct thread_pool *pool;
    struct batch batch;         /* all sequences */
    int n_rows;
    real *x;                    /* n_rows x d: the residual stream; the owner may change it between calls */
    size_t x_size;
    int n_shards;
    int *shards;                /* n_shards + 1: first sequence of each */
    struct stream_worker *workers;
};

/*
 * start (n_seqs + 1, start[0] = 0) and tokens stay the caller's. DSR1_ERR_ARGUMENT as in pass_begin,
 * DSR1_ERR_NOMEM. n_used: experts per row, 0 as the layers say.
 */
dsr1_status stream_open(const struct net *net, struct thread_pool *pool, int n_seqs, const int *start,
                        const int32_t *tokens, int n_used, struct stream *stream, dsr1_error *err);
void stream_close(struct stream *stream);       /* accepts a zeroed one */

/* x += attention(norm(x)). DSR1_ERR_NOMEM leaves x as it was. */
dsr1_status stream_attention(struct stream *stream, const struct net_layer *layer, dsr1_error *err);

/* h (n_rows x d) = norm(x). */
void stream_norm(struct stream *stream, const struct norm *norm, real *h);

/*
 * y (n_rows x d) = ffn(h). The layer may be the caller's own: only ffn, shared, router, gating, select_bias and
 * n_used are read. chosen: n_rows x K forced expert ids, or NULL.
 */
dsr1_status stream_ffn(struct stream *stream, const struct net_layer *layer, const int *chosen, const real *h, real *y,
                       dsr1_error *err);

/* Rows that the layer's output matrix reads, n_rows x (heads x n_v); not of latent attention. x stays as it is. */
dsr1_status stream_heads(struct stream *stream, const struct net_layer *layer, real *heads, dsr1_error *err);

/*
 * Rows that the layer's down matrices read: n_rows x stream_hidden_width. Those of the shared expert first, then each
 * expert's, weighed, and zero where it is not chosen.
 */
dsr1_status stream_hidden(struct stream *stream, const struct net_layer *layer, const real *h, real *hidden,
                          dsr1_error *err);
int stream_hidden_width(const struct net_layer *layer);

/* x += y. */
void stream_add(struct stream *stream, const real *y);

/*
 * Mean of -log p of the next token over all rows but the last of each sequence, by the output norm and head:
 * what the stream's x says once all layers are through.
 */
dsr1_status stream_loss(struct stream *stream, double *loss, dsr1_error *err);

#endif
