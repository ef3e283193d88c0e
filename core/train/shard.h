/*
 * shard.h - a batch cut into pieces of whole sequences
 *
 * A shard is what one thread computes at a time. Where the cuts lie depends on the
 * batch alone and gradients are summed in the order of the shards, so that the result is
 * the same in every bit with one thread or many.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_SHARD_H
#define TRAIN_SHARD_H

#include "train/batch.h"

/*
 * About max_rows a shard, as even as whole sequences allow, and an even number of them where there is more than one, so that
 * two threads end together. first (n_seqs + 1) receives the first sequence of each shard, and n_seqs behind
 * the last; returns how many shards there are.
 */
static inline int shard_cut(const struct batch *b, int max_rows, int *first)
{
    int total = batch_rows(b), want = (total + max_rows - 1) / max_rows, n = 1;
    want += want > 1 ? want % 2 : 0;
    first[0] = 0;
    for (int s = 1; s < b->n_seqs && n < want; s++) {
        /* The cut that comes next goes where it is nearest to its place. */
        long at = (long) n * total / want, before = batch_first(b, s), behind = before + batch_length(b, s);
        if (before > batch_first(b, first[n - 1]) && at - before <= behind - at)
            first[n++] = s;
    }
    first[n] = b->n_seqs;
    return n;
}

#endif
