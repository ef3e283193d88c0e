/*
 * pace.h - how many threads a step should use: all, or one
 *
 * A short step has some hundred phases of a few microseconds, and all threads
 * meet after each. When other programs want the same cores, the thread that is
 * waited for may not be running at all, and two threads become slower than one.
 * A database server is such a machine, so both ways are measured, for each size
 * of step, and the faster one is taken; the other is tried again now and then,
 * the more rarely the worse it was, and sooner where threads lost their cores in
 * the middle of steps. Bits do not depend on it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_PACE_H
#define SERVE_PACE_H

#include <stdbool.h>

enum { PACE_BUCKETS = 5 };      /* steps of up to 1, 2, 4, 8, 16 rows; larger ones always use all threads */

struct pace_bucket {
    double seconds[2];          /* a moving mean for a step of all threads, and of one; 0: not measured */
    int wait;                   /* steps until the other way is tried */
    int gap;                    /* how long to wait the next time */
};

struct pace {
    struct pace_bucket buckets[PACE_BUCKETS];
};

/* Should a step of n_rows be computed by one thread alone? */
bool pace_alone(struct pace *pace, int n_rows);

/* A step of n_rows took so long, in which the kernel took a core from one of its threads so often. */
void pace_learn(struct pace *pace, int n_rows, bool alone, double seconds, long cores_lost);

#endif
