/*
 * batch.h - sequences of tokens, packed one after the other
 *
 * Row r of a batch is one token; sequence s has the rows start[s] .. start[s + 1] - 1,
 * at positions 0, 1, ... Rows of different sequences never see each other, so there
 * is no padding.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_BATCH_H
#define TRAIN_BATCH_H

#include <stddef.h>
#include <stdint.h>

struct batch {
    int n_seqs;
    const int *start;           /* n_seqs + 1; start[0] may be above 0: then it is the first row of a view */
    const int32_t *tokens;      /* of row start[0] on */
    int n_used;                 /* experts per row; 0: as many as the model says */
    /*
     * Routing replay: n_layers x n_rows x n_used expert ids that the router is made to choose, in layers that
     * have one (the gates still come from its probabilities), or NULL.
     */
    const int *chosen;
};

static inline int batch_rows(const struct batch *b)
{
    return b->start[b->n_seqs] - b->start[0];
}

/* The first row of sequence s, counted from the batch's first row. */
static inline int batch_first(const struct batch *b, int s)
{
    return b->start[s] - b->start[0];
}

static inline int batch_length(const struct batch *b, int s)
{
    return b->start[s + 1] - b->start[s];
}

static inline int batch_longest(const struct batch *b)
{
    int longest = 0;
    for (int s = 0; s < b->n_seqs; s++)
        longest = batch_length(b, s) > longest ? batch_length(b, s) : longest;
    return longest;
}

/* The sum of squared lengths: attention probabilities per head. */
static inline size_t batch_squares(const struct batch *b)
{
    size_t sum = 0;
    for (int s = 0; s < b->n_seqs; s++)
        sum += (size_t) batch_length(b, s) * (size_t) batch_length(b, s);
    return sum;
}

#endif
