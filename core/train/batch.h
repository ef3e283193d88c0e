/*
 * batch.h - sequences of tokens, packed one after the other
 *
 * Row r of a batch is one token; sequence s has the rows start[s] .. start[s + 1] - 1,
 * at positions 0, 1, ... Rows of different sequences never see each other, so there
 * is no padding. Sequences that begin alike may be one with branches: the common beginning is then computed once.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_BATCH_H
#define TRAIN_BATCH_H

#include <stddef.h>
#include <stdint.h>

/* What a row of a branched sequence sees: rows 0 .. trunk - 1 of it, and from branch on up to itself. */
struct batch_fork {
    int trunk, branch;
};

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
    const struct batch_fork *forks;     /* of row start[0] on; NULL: every row sees all that stand before it */
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

/* Of row i of sequence s. */
static inline int batch_position(const struct batch *b, int s, int i)
{
    const struct batch_fork *fork = b->forks ? &b->forks[batch_first(b, s) + i] : NULL;
    return fork ? fork->trunk + i - fork->branch : i;
}

/* One more than the largest position. */
static inline int batch_reach(const struct batch *b)
{
    int reach = b->forks ? 0 : batch_longest(b);
    for (int s = 0; b->forks && s < b->n_seqs; s++)
        for (int i = 0; i < batch_length(b, s); i++)
            reach = batch_position(b, s, i) >= reach ? batch_position(b, s, i) + 1 : reach;
    return reach;
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
