/*
 * causal.c - softmax attention of each sequence to itself, forward and backward
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/causal.h"

#include <string.h>

/* One head of one sequence: its first row, its length, where its values begin. */
struct head {
    int length;
    size_t q, k, v, o, p;
    const struct batch_fork *forks;     /* of its first row, or NULL */
};

static struct head head_of(const struct causal *c, const struct batch *b, int s, int h, size_t p)
{
    size_t row = (size_t) batch_first(b, s), kv = (size_t) (h / (c->n_heads / c->n_kv_heads));
    size_t length = (size_t) batch_length(b, s);
    return (struct head){(int) length, row * (size_t) c->q_stride + (size_t) h * (size_t) c->n_k,
                         row * (size_t) c->k_stride + kv * (size_t) c->n_k,
                         row * (size_t) c->v_stride + kv * (size_t) c->n_v,
                         row * (size_t) c->o_stride + (size_t) h * (size_t) c->n_v, p + (size_t) h * length * length,
                         b->forks ? b->forks + row : NULL};
}

/* Over the keys that a row sees, put side by side meanwhile; the others get 0, so that the way back needs to know of nothing. */
static void softmax_of(const struct causal *c, const struct head *a, int i, real *row)
{
    int trunk = a->forks ? a->forks[i].trunk : 0, branch = a->forks ? a->forks[i].branch : 0, own = i + 1 - branch;
    memmove(row + trunk, row + branch, (size_t) own * sizeof *row);
    c->ops->softmax(row, trunk + own);
    memmove(row + branch, row + trunk, (size_t) own * sizeof *row);
    memset(row + trunk, 0, (size_t) (branch - trunk) * sizeof *row);
}

/* Queries first .. last - 1 see keys 0 .. last - 1, less what the diagonal cuts off. */
static void forward_block(const struct causal *c, const struct head *a, int first, int last, const real *q,
                          const real *k, const real *v, real *p, real *o)
{
    int n = last - first, length = a->length;
    real *rows = p + a->p + (size_t) first * (size_t) length;
    real_gemm_nt(n, last, c->n_k, c->scale, q + a->q + (size_t) first * (size_t) c->q_stride, c->q_stride, k + a->k,
                 c->k_stride, 0, rows, length);
    for (int i = 0; i < n; i++) {
        real *row = rows + (size_t) i * (size_t) length;
        softmax_of(c, a, first + i, row);
        memset(row + first + i + 1, 0, (size_t) (n - i - 1) * sizeof *row);
    }
    real_gemm_nn(n, c->n_v, last, 1, rows, length, v + a->v, c->v_stride, 0,
                 o + a->o + (size_t) first * (size_t) c->o_stride, c->o_stride);
}

void causal_forward(const struct causal *c, const struct batch *b, const real *q, const real *k, const real *v,
                    real *p, real *o)
{
    size_t p_at = 0;
    for (int s = 0; s < b->n_seqs; s++) {
        int length = batch_length(b, s);
        for (int h = 0; h < c->n_heads; h++) {
            struct head a = head_of(c, b, s, h, p_at);
            for (int first = 0; first < length; first += CAUSAL_BLOCK)
                forward_block(c, &a, first, first + CAUSAL_BLOCK < length ? first + CAUSAL_BLOCK : length, q, k, v, p,
                              o);
        }
        p_at += (size_t) c->n_heads * (size_t) length * (size_t) length;
    }
}

struct tensors {
    const real *q, *k, *v, *p, *d_o;
    real *dq, *dk, *dv, *scratch;
};

static void backward_block(const struct causal *c, const struct head *a, int first, int last, const struct tensors *t)
{
    int n = last - first, length = a->length;
    size_t q = a->q + (size_t) first * (size_t) c->q_stride, o = a->o + (size_t) first * (size_t) c->o_stride;
    const real *p = t->p + a->p + (size_t) first * (size_t) length;
    real *dp = t->scratch;
    real_gemm_nt(n, last, c->n_v, 1, t->d_o + o, c->o_stride, t->v + a->v, c->v_stride, 0, dp, last);
    for (int i = 0; i < n; i++) {
        real *row = dp + (size_t) i * (size_t) last;
        c->ops->softmax_backward(p + (size_t) i * (size_t) length, row, first + i + 1);
        memset(row + first + i + 1, 0, (size_t) (n - i - 1) * sizeof *row);
    }
    real_gemm_tn(last, c->n_v, n, 1, p, length, t->d_o + o, c->o_stride, 1, t->dv + a->v, c->v_stride);
    real_gemm_nn(n, c->n_k, last, c->scale, dp, last, t->k + a->k, c->k_stride, 0, t->dq + q, c->q_stride);
    real_gemm_tn(last, c->n_k, n, c->scale, dp, last, t->q + q, c->q_stride, 1, t->dk + a->k, c->k_stride);
}

void causal_backward(const struct causal *c, const struct batch *b, const real *q, const real *k, const real *v,
                     const real *p, const real *d_o, real *dq, real *dk, real *dv, real *scratch)
{
    const struct tensors t = {q, k, v, p, d_o, dq, dk, dv, scratch};
    size_t p_at = 0;
    for (int s = 0; s < b->n_seqs; s++) {
        int length = batch_length(b, s);
        for (int h = 0; h < c->n_heads; h++) {
            struct head a = head_of(c, b, s, h, p_at);
            for (int first = 0; first < length; first += CAUSAL_BLOCK)
                backward_block(c, &a, first, first + CAUSAL_BLOCK < length ? first + CAUSAL_BLOCK : length, &t);
        }
        p_at += (size_t) c->n_heads * (size_t) length * (size_t) length;
    }
}
