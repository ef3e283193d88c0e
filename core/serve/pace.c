/*
 * pace.c - how many threads a step should use: all, or one
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "serve/pace.h"

#include <stddef.h>

enum { FIRST_GAP = 16, LONGEST_GAP = 1024 };

static struct pace_bucket *bucket(struct pace *pace, int n_rows)
{
    int b = 0;
    while (b < PACE_BUCKETS && n_rows > 1 << b)
        b++;
    return b < PACE_BUCKETS ? &pace->buckets[b] : NULL;
}

bool pace_alone(struct pace *pace, int n_rows)
{
    struct pace_bucket *b = bucket(pace, n_rows);
    if (!b || b->seconds[0] <= 0)
        return false;
    if (b->seconds[1] <= 0)
        return true;
    bool alone = b->seconds[1] < b->seconds[0];
    if (--b->wait > 0)
        return alone;
    b->wait = b->gap;
    return !alone;
}

void pace_learn(struct pace *pace, int n_rows, bool alone, double seconds)
{
    struct pace_bucket *b = bucket(pace, n_rows);
    if (!b)
        return;
    double *mean = &b->seconds[alone], other = b->seconds[!alone];
    bool was_faster = other <= 0 || *mean <= other;
    /* The way that is taken moves slowly; one that is tried again says how things are now. */
    double weight = was_faster ? 0.1 : 0.5;
    *mean = *mean > 0 ? *mean + weight * (seconds - *mean) : seconds;
    if (was_faster)
        return;
    b->gap = *mean > other && b->gap > 0 ? b->gap * 2 : FIRST_GAP;
    if (b->gap > LONGEST_GAP)
        b->gap = LONGEST_GAP;
    b->wait = b->gap;
}
