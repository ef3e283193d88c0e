/*
 * attend_scalar.c - attention over one piece of cache: the definition
 *
 * Online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867), one query and
 * one position after the other. The order of every sum is fixed by positions
 * and columns alone:
 *
 *   score    column i goes to lane i % 16; the lanes are folded by 8, 4, 2, 1
 *   weights  position p of the piece goes to lane p % 16; the same fold
 *   values   position after position, one multiply-add each
 *
 * With KV_BF16, queries and weights are rounded to bf16 as keys and values are, and
 * sums take the order of vdpbf16ps: a pair of columns goes to a lane, and of a pair of
 * columns or positions the odd one is added first.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/ops.h"
#include "kernel/ops_scalar.h"

/* The first n of the 16 values from column i on, i a multiple of 16; zeros behind them. */
static void load_values(enum kv_type type, const uint8_t *row, int i, int n, float out[16])
{
    uint16_t half;
    float d = 0;
    if (type == KV_Q8_0) {
        row += i / 32 * 34;
        memcpy(&half, row, 2);
        d = f32_from_f16(half);
    }
    for (int l = 0; l < 16; l++) {
        out[l] = 0;
        if (l >= n) {
            continue;
        } else if (type == KV_F32) {
            memcpy(&out[l], row + 4 * (size_t) (i + l), 4);
        } else if (type == KV_F16 || type == KV_BF16) {
            memcpy(&half, row + 2 * (size_t) (i + l), 2);
            out[l] = type == KV_F16 ? f32_from_f16(half) : f32_from_bf16(half);
        } else {
            out[l] = (float) (int8_t) row[2 + i % 32 + l] * d;
        }
    }
}

/* Of 32 columns of bf16 first the 16 odd ones, then the even ones; for others their own order. */
static int column_at(enum kv_type type, int i)
{
    return type == KV_BF16 ? i / 32 * 32 + i % 16 * 2 + (i % 32 < 16) : i;
}

void load_query_scalar(enum kv_type type, float scale, const float *q, int n, void *out)
{
    float *to = out;
    if (type != KV_BF16)
        scale_scalar(scale, q, n, to);
    else
        for (int i = 0; i < kv_bf16_columns(n); i++)
            to[i] = column_at(type, i) < n ? bf16_scalar(scale * q[column_at(type, i)]) : 0;
}

/* The same of a row of keys. */
static void load_keys(enum kv_type type, const uint8_t *row, int i, int n, float out[16])
{
    if (type != KV_BF16) {
        load_values(type, row, i, n, out);
        return;
    }
    for (int l = 0; l < 16; l++) {
        uint16_t value;
        memcpy(&value, row + 2 * (size_t) column_at(type, i + l), 2);
        out[l] = f32_from_bf16(value);
    }
}

static float dot(enum kv_type type, const float *q, const uint8_t *row, int n)
{
    float lane[16] = {0}, k[16];
    if (type == KV_BF16)
        n = kv_bf16_columns(n);
    for (int i = 0; i < n; i += 16) {
        load_keys(type, row, i, n - i, k);
        for (int l = 0; l < 16; l++)
            lane[l] = fmaf(i + l < n ? q[i + l] : 0, k[l], lane[l]);
    }
    return fold16_scalar(lane);
}

/* Scores to weights. False when there is nothing to weigh: every score is -INFINITY. */
static bool weigh(enum kv_type type, struct attend_state *state, float *s, int from, int to, float *scale)
{
    float max = state->max, lane[16] = {0};
    for (int p = from; p < to; p++)
        max = s[p] > max ? s[p] : max;
    if (max == -INFINITY)
        return false;
    for (int p = from; p < to; p++) {
        s[p] = exp_scalar(s[p] - max);
        if (type == KV_BF16)
            s[p] = bf16_scalar(s[p]);
        lane[p % 16] += s[p];
    }
    *scale = exp_scalar(state->max - max);
    state->sum = fmaf(state->sum, *scale, fold16_scalar(lane));
    state->max = max;
    return true;
}

static void add_value(const struct attend_piece *a, const float *w, int p, int i, int n, float *acc)
{
    float v[16];
    load_values(a->type, a->v + (size_t) p * a->v_stride, i, n, v);
    for (int l = 0; l < n; l++)
        acc[i + l] = fmaf(w[p], v[l], acc[i + l]);
}

static void add_values(const struct attend_piece *a, const float *w, int from, int to, float scale, float *acc)
{
    for (int i = 0; i < a->n_v; i += 16) {
        int n = a->n_v - i < 16 ? a->n_v - i : 16;
        for (int l = 0; l < n && scale != 1; l++) {
            acc[i + l] *= scale;
            if (a->type == KV_BF16 && fabsf(acc[i + l]) < BF16_LEAST_SUM)
                acc[i + l] = 0;
        }
        if (a->type != KV_BF16) {
            for (int p = from; p < to; p++)
                add_value(a, w, p, i, n, acc);
            continue;
        }
        for (int pair = from / 2; 2 * pair < to; pair++)
            for (int p = 2 * pair + 1; p >= 2 * pair; p--)
                if (p >= from && p < to)
                    add_value(a, w, p, i, n, acc);
    }
}

void attend_scalar(const struct attend_piece *a)
{
    float s[ATTEND_PIECE], scale;
    for (int i = 0; i < a->n_q; i++) {
        int from = a->from[i], to = a->to[i];
        for (int p = from; p < to; p++)
            s[p] = dot(a->type, a->q[i], a->k + (size_t) p * a->k_stride, a->n_k);
        if (from < to && weigh(a->type, &a->state[i], s, from, to, &scale))
            add_values(a, s, from, to, scale, a->acc[i]);
    }
}
