/*
 * trainer.h - the gradient of a batch, by all threads
 *
 * A batch is cut into shards of whole sequences (shard.h). Each thread takes one shard at a time through
 * the network and back; the shards' gradients are added in the shards' order, so that the sum
 * is the same in every bit for any number of threads.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "base/thread_pool.h"
#include "train/head.h"
#include "train/pass.h"
#include "train/trainable.h"

#include <signal.h>

enum { TRAINER_SHARD = 512 };

/* What a thread has of its own. */
struct trainer_worker {
    struct pass pass;           /* the student; after its forward when a loss is asked */
    struct head head;
    struct pass teacher_pass;   /* net NULL without a teacher */
    struct head teacher_head;
    real *d_out;                /* rows x d of a shard, zero when the loss is asked */
    size_t d_out_size;
    real *grad;                 /* a shard's gradient */
    dsr1_status status;
    dsr1_error err;
};

/*
 * The loss of one shard: reads w->pass.out, adds its gradient into d_out (NULL: not wanted). Rows of the shard
 * are rows b->start[0] on of the batch; results go into arrays that the caller keeps by row. Runs on any thread,
 * one shard at a time each.
 */
typedef dsr1_status (*trainer_loss)(void *user, struct trainer_worker *w, const struct batch *b, real *d_out,
                                    dsr1_error *err);

struct trainer {
    struct net *net;
    const struct net *teacher;  /* NULL: none */
    struct trainable *trainable;
    struct thread_pool *pool;
    struct trainer_worker *workers;
    real *grad;                 /* the batch's gradient, trainable->n */
    size_t grad_size;
    const volatile sig_atomic_t *stop;  /* not 0: no shard is begun any more, DSR1_ERR_CANCELLED; may be NULL */
};

/* Borrows all three; teacher may be NULL or net itself without its adapters loaded. trainable NULL: forward only. */
dsr1_status trainer_open(struct net *net, struct trainable *trainable, const struct net *teacher,
                         struct thread_pool *pool, struct trainer *trainer, dsr1_error *err);
void trainer_close(struct trainer *trainer);

/*
 * Runs loss on every shard of the batch and leaves the sum of the gradients in trainer->grad; backward false:
 * losses only. The first failing shard's reason is reported; the gradient is then undefined.
 */
dsr1_status trainer_run(struct trainer *trainer, const struct batch *batch, trainer_loss loss, void *user,
                        bool backward, dsr1_error *err);

#endif
