/*
 * ops_common.c - operations too small to have a version for each CPU
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/ops.h"
#include "kernel/ops_scalar.h"

float ops_exp(float x)
{
    return exp_scalar(x);
}

float ops_sigmoid(float x)
{
    if (x < 0) {
        float e = exp_scalar(x);
        return e / (1.0f + e);
    }
    return 1.0f / (1.0f + exp_scalar(-x));
}

/* Does a stand before b? Equal values do not; a NaN stands behind everything. */
static bool stands_before(float a, float b)
{
    return a > b || (isnan(b) && !isnan(a));
}

int ops_top_k(const float *x, int n, int k, int *ids)
{
    int count = 0;
    for (int i = 0; i < n && k > 0; i++) {
        if (count == k && !stands_before(x[i], x[ids[k - 1]]))
            continue;
        int at = count < k ? count++ : k - 1;
        for (; at > 0 && stands_before(x[i], x[ids[at - 1]]); at--)
            ids[at] = ids[at - 1];
        ids[at] = i;
    }
    return count;
}

/* Without a branch inside, so that this becomes vectors, too. */
static bool any_is(const float *x, int n, float value)
{
    int found = 0;
    for (int i = 0; i < n; i++)
        found |= x[i] == value;
    return found;
}

int ops_argmax(const float *x, int n)
{
    /* Lanes without a branch, which the compiler makes vectors of; then the first that equals the largest. */
    float lane[16], max = x[0];
    int i = 0;
    for (int j = 0; j < 16; j++)
        lane[j] = max;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    for (int j = 0; j < 16; j++)
        max = lane[j] > max ? lane[j] : max;
    for (i = 0; i + 64 <= n && !any_is(x + i, 64, max);)
        i += 64;
    for (; i < n - 1 && x[i] != max;)
        i++;
    return x[i] == max ? i : 0;
}
