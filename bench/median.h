/*
 * median.h - the middle one of measured values
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BENCH_MEDIAN_H
#define BENCH_MEDIAN_H

#include <stdlib.h>

static inline int ascending(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

/* Of two in the middle the upper one. Sorts them. */
static inline double median(double *values, int n)
{
    qsort(values, (size_t) n, sizeof *values, ascending);
    return values[n / 2];
}

#endif
