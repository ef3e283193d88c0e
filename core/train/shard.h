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
 * Cuts before a sequence that would make a shard longer than max_rows. first (n_seqs + 1) receives the
 * first sequence of each shard, and n_seqs behind the last; returns how many shards there are.
 */
static inline int shard_cut(const struct batch *b, int max_rows, int *first)
{
    int n = 0, rows = 0;
    for (int s = 0; s < b->n_seqs; s++) {
        if (s == 0 || rows + batch_length(b, s) > max_rows) {
            first[n++] = s;
            rows = 0;
        }
        rows += batch_length(b, s);
    }
    first[n] = b->n_seqs;
    return n;
}

#endif
