/*
 * split_assign.c - items to groups of equal size
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/split.h"

#include "base/memory.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SWAP_PASSES = 8, CLUSTER_ROUNDS = 6 };

int split_by_key(const void *a, const void *b)
{
    const struct split_rank *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    return x->item - y->item;
}

/* How much the best group is better than the second best. */
static real regret(const real *gain, int n_groups)
{
    real best = gain[0], second = gain[0];
    bool any = false;
    for (int g = 1; g < n_groups; g++) {
        if (gain[g] > best) {
            second = best;
            best = gain[g];
            any = true;
        } else if (!any || gain[g] > second) {
            second = gain[g];
            any = true;
        }
    }
    return best - second;
}

static void greedy(const real *gain, int n_items, int n_groups, int width, const struct split_rank *ranks, int *used,
                   int *group)
{
    for (int i = 0; i < n_items; i++) {
        const real *row = gain + (size_t) ranks[i].item * (size_t) n_groups;
        int best = -1;
        for (int g = 0; g < n_groups; g++)
            if (used[g] < width && (best < 0 || row[g] > row[best]))
                best = g;
        group[ranks[i].item] = best;
        used[best]++;
    }
}

static bool swap_once(const real *gain, int n_items, int n_groups, int *group)
{
    bool changed = false;
    for (int i = 0; i < n_items; i++) {
        const real *gi = gain + (size_t) i * (size_t) n_groups;
        for (int j = i + 1; j < n_items; j++) {
            const real *gj = gain + (size_t) j * (size_t) n_groups;
            int a = group[i], b = group[j];
            real before = gi[a] + gj[b], after = gi[b] + gj[a];
            if (a == b || after - before <= (real) 1e-6 * (real) fabs((double) before))
                continue;
            group[i] = b;
            group[j] = a;
            changed = true;
        }
    }
    return changed;
}

bool split_assign(const real *gain, int n_items, int n_groups, int width, int *group)
{
    struct split_rank *ranks = memory_array((size_t) n_items, sizeof *ranks);
    int *used = memory_array((size_t) n_groups, sizeof *used);
    bool ok = ranks && used;
    for (int i = 0; i < n_items && ok; i++)
        ranks[i] = (struct split_rank){regret(gain + (size_t) i * (size_t) n_groups, n_groups), i};
    if (ok) {
        qsort(ranks, (size_t) n_items, sizeof *ranks, split_by_key);
        greedy(gain, n_items, n_groups, width, ranks, used, group);
        for (int pass = 0; pass < SWAP_PASSES && swap_once(gain, n_items, n_groups, group); pass++)
            ;
    }
    free(ranks);
    free(used);
    return ok;
}

static void normalize(real *row, int d)
{
    double sum = 0;
    for (int i = 0; i < d; i++)
        sum += (double) row[i] * (double) row[i];
    real scale = sum > 0 ? (real) (1 / sqrt(sum)) : 0;
    for (int i = 0; i < d; i++)
        row[i] *= scale;
}

static void update_centres(const real *rows, int n_items, int d, int n_groups, const int *group, real *centres)
{
    memset(centres, 0, (size_t) n_groups * (size_t) d * sizeof *centres);
    for (int i = 0; i < n_items; i++)
        for (int c = 0; c < d; c++)
            centres[(size_t) group[i] * (size_t) d + (size_t) c] += rows[(size_t) i * (size_t) d + (size_t) c];
    for (int g = 0; g < n_groups; g++)
        normalize(centres + (size_t) g * (size_t) d, d);
}

bool split_cluster(const real *rows, int n_items, int d, int n_groups, uint64_t seed, int *group)
{
    size_t size = (size_t) n_items * (size_t) d;
    real *unit = memory_array(size, sizeof *unit), *centres = memory_array((size_t) n_groups * (size_t) d, sizeof *unit);
    real *gain = memory_array((size_t) n_items * (size_t) n_groups, sizeof *gain);
    bool ok = unit && centres && gain;
    if (ok) {
        memcpy(unit, rows, size * sizeof *unit);
        for (int i = 0; i < n_items; i++)
            normalize(unit + (size_t) i * (size_t) d, d);
        for (int g = 0; g < n_groups; g++)
            memcpy(centres + (size_t) g * (size_t) d,
                   unit + (size_t) (rng_at(seed, (uint64_t) g) % (uint64_t) n_items) * (size_t) d, (size_t) d * sizeof *unit);
    }
    for (int round = 0; round < CLUSTER_ROUNDS && ok; round++) {
        real_gemm_nt(n_items, n_groups, d, 1, unit, d, centres, d, 0, gain, n_groups);
        ok = split_assign(gain, n_items, n_groups, n_items / n_groups, group);
        if (ok)
            update_centres(unit, n_items, d, n_groups, group, centres);
    }
    free(unit);
    free(centres);
    free(gain);
    return ok;
}
