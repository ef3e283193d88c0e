/*
 * pace.c - how many threads a step should use: all, or one
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "serve/pace.h"

#include <stddef.h>

/*
 * A trial costs up to a step more, which is a percent of 64; a disturbed step counts as many. A program that computes
 * on our cores takes one from us some 250 times a second; what else runs on a quiet machine, ten times.
 */
enum { FIRST_GAP = 64, LONGEST_GAP = 1024, DISTURBED = 32, LOST_A_SECOND = 100 };

static struct pace_bucket *bucket(struct pace *pace, int n_rows)
{
    int b = 0;
    while (b < PACE_BUCKETS && n_rows > 1 << b)
        b++;
    return b < PACE_BUCKETS ? &pace->buckets[b] : NULL;
}

static bool faster_alone(const struct pace_bucket *b)
{
    return b->seconds[1] > 0 && b->seconds[1] < b->seconds[0];
}

bool pace_alone(struct pace *pace, int n_rows)
{
    struct pace_bucket *b = bucket(pace, n_rows);
    if (!b || b->seconds[0] <= 0)
        return false;
    return b->wait > 0 ? faster_alone(b) : !faster_alone(b);
}

void pace_learn(struct pace *pace, int n_rows, bool alone, double seconds, long cores_lost)
{
    struct pace_bucket *b = bucket(pace, n_rows);
    if (!b)
        return;
    bool tried = alone != faster_alone(b);
    double *mean = &b->seconds[alone];
    /* The way that is taken moves slowly; one that is tried again says how things are now. */
    *mean = *mean > 0 ? *mean + (tried ? 0.5 : 0.1) * (seconds - *mean) : seconds;
    if (b->gap == 0)
        b->wait = b->gap = FIRST_GAP;
    bool disturbed = !alone && (double) cores_lost > LOST_A_SECOND * seconds;
    b->wait -= disturbed ? DISTURBED : 1;
    if (!tried)
        return;
    b->gap = *mean > b->seconds[!alone] ? b->gap * 2 : FIRST_GAP;
    if (b->gap > LONGEST_GAP)
        b->gap = LONGEST_GAP;
    b->wait = b->gap;
}
