/*
 * draft.c - guessing the next tokens from what stands before
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "serve/draft.h"

#include "base/memory.h"
#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_LENGTH = 4, MAX_MISSES = 6 };

void draft_open(struct draft *d, bool off)
{
    *d = (struct draft){.off = off, .length = FIRST_LENGTH, .accepted = 0.5f};
}

void draft_close(struct draft *d)
{
    free(d->last);
    *d = (struct draft){.off = true};
}

/* ---- Where did these tokens stand before? ---- */

static int *slot(const struct draft *d, const int32_t *gram)
{
    uint64_t hash = 0;
    for (int i = 0; i < DRAFT_GRAM; i++)
        hash = rng_mix(hash ^ (uint64_t) (uint32_t) gram[i]);
    return &d->last[hash & (uint64_t) (d->n_slots - 1)];
}

static bool allocate(struct draft *d, int n_limit)
{
    if (d->last)
        return true;
    d->n_slots = 64;
    while (d->n_slots < 4 * n_limit)
        d->n_slots *= 2;
    d->last = memory_array((size_t) d->n_slots, sizeof *d->last);
    return d->last != NULL;
}

/* All grams that end before token n - 1: the last one is looked up, not found. */
static void index_tokens(struct draft *d, const int32_t *tokens, int n)
{
    if (d->n_indexed < DRAFT_GRAM)
        d->n_indexed = DRAFT_GRAM;
    for (; d->n_indexed < n; d->n_indexed++)
        *slot(d, tokens + d->n_indexed - DRAFT_GRAM) = d->n_indexed;
}

/* ---- Does it pay? ---- */

static int bucket(int n_rows)
{
    int b = 0;
    while (b < DRAFT_BUCKETS - 1 && n_rows > 1 << b)
        b++;
    return b;
}

static void move_mean(double *mean, double value)
{
    *mean = *mean > 0 ? 0.9 * *mean + 0.1 * value : value;
}

void draft_cost_learn(struct draft_cost *cost, int n_rows, double seconds)
{
    int b = bucket(n_rows);
    /* A rare long step says more about the machine than about its rows. */
    if (cost->seconds[b] > 0 && seconds > 4 * cost->seconds[b])
        seconds = 4 * cost->seconds[b];
    move_mean(&cost->rows[b], n_rows);
    move_mean(&cost->seconds[b], seconds);
}

double draft_cost_of(const struct draft_cost *cost, int n_rows)
{
    int below = -1, above = -1;
    for (int b = 0; b < DRAFT_BUCKETS; b++) {
        if (cost->rows[b] <= 0)
            continue;
        if (cost->rows[b] <= n_rows)
            below = b;
        else if (above < 0)
            above = b;
    }
    if (below >= 0 && cost->rows[below] == n_rows)
        return cost->seconds[below];
    if (above < 0)
        return 0;
    double x0 = below < 0 ? 0 : cost->rows[below], y0 = below < 0 ? 0 : cost->seconds[below];
    return y0 + (cost->seconds[above] - y0) * (n_rows - x0) / (cost->rows[above] - x0);
}

/* Tokens per second with n guessed ones against without; a size that was never reached is tried. */
static bool pays(const struct draft *d, const struct draft_cost *cost, int n_rows, int n)
{
    double without = draft_cost_of(cost, n_rows), with = draft_cost_of(cost, n_rows + n);
    if (without <= 0 || with <= 0)
        return true;
    return (n_rows + (double) d->accepted * n) / with > n_rows / without;
}

void draft_guess(struct draft *d, const struct draft_cost *cost, const int32_t *tokens, int n, int n_limit, int n_rows,
                 int most)
{
    d->n = 0;
    if (d->off || n <= DRAFT_GRAM)
        return;
    if (!allocate(d, n_limit)) {
        d->off = true;
        return;
    }
    index_tokens(d, tokens, n);
    if (d->pause > 0) {
        d->pause--;
        return;
    }
    const int32_t *gram = tokens + n - DRAFT_GRAM;
    int from = *slot(d, gram);
    if (from < DRAFT_GRAM || memcmp(tokens + from - DRAFT_GRAM, gram, DRAFT_GRAM * sizeof *gram) != 0)
        return;
    int wanted = d->length < most ? d->length : most;
    wanted = wanted < n - from ? wanted : n - from;
    if (wanted <= 0)
        return;
    if (!pays(d, cost, n_rows, wanted)) {
        /* What was never right may become right: try again some time. */
        d->accepted += 0.005f * (0.5f - d->accepted);
        return;
    }
    memcpy(d->tokens, tokens + from, (size_t) wanted * sizeof *tokens);
    d->n = wanted;
}

void draft_learn(struct draft *d, int n_right)
{
    if (d->n == 0)
        return;
    d->accepted += 0.2f * ((float) n_right / (float) d->n - d->accepted);
    if (n_right == d->n) {
        d->length = d->length * 2 < DRAFT_MAX ? d->length * 2 : DRAFT_MAX;
        d->misses = 0;
    } else if (n_right > 0) {
        d->length = n_right + 1;
        d->misses = 0;
    } else {
        d->length = 2;
        d->misses = d->misses < MAX_MISSES ? d->misses + 1 : MAX_MISSES;
        d->pause = (1 << d->misses) - 1;
    }
    d->n = 0;
}
