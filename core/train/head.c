/*
 * head.c - logits, and losses that need them, in pieces of rows
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/head.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

static void cut(struct head *head, struct carve *c)
{
    size_t d = (size_t) head->net->shape.n_embd;
    head->x = carve_real(c, HEAD_ROWS, d);
    head->dx = carve_real(c, HEAD_ROWS, d);
    head->logits = carve_real(c, HEAD_ROWS, (size_t) head->net->shape.n_vocab);
    head->row = carve_real(c, 1, (size_t) head->net->shape.n_vocab);
}

dsr1_status head_open(const struct net *net, struct head *head, dsr1_error *err)
{
    struct carve c = {0};
    *head = (struct head){.net = net};
    cut(head, &c);
    head->block = c.failed ? NULL : memory_map(c.used);
    if (!head->block)
        return error_nomem(err, "the logits of training");
    head->block_size = c.used;
    c = (struct carve){.base = head->block};
    cut(head, &c);
    return DSR1_OK;
}

void head_close(struct head *head)
{
    memory_unmap(head->block, head->block_size);
    *head = (struct head){0};
}

static size_t row_at(const int *rows, int i, size_t d)
{
    return (size_t) (rows ? rows[i] : i) * d;
}

void head_logits(const struct head *head, const real *out, const int *rows, int n)
{
    size_t d = (size_t) head->net->shape.n_embd;
    for (int i = 0; i < n; i++)
        memcpy(head->x + (size_t) i * d, out + row_at(rows, i, d), d * sizeof *out);
    linear_forward(&head->net->output, 0, head->x, n, head->logits, NULL);
}

static real *logits_row(const struct head *head, int i)
{
    return head->logits + (size_t) i * (size_t) head->net->shape.n_vocab;
}

/* The gradients of n rows of logits, which lie in head->logits, go into d_out. */
static void logits_backward(const struct head *head, const int *rows, int n, real *d_out)
{
    size_t d = (size_t) head->net->shape.n_embd;
    linear_backward(&head->net->output, 0, NULL, NULL, head->logits, n, head->dx, 0, NULL, NULL);
    for (int i = 0; i < n; i++)
        head->net->ops->add(d_out + row_at(rows, i, d), 1, head->dx + (size_t) i * d, d);
}

static int piece(int n, int first)
{
    return n - first < HEAD_ROWS ? n - first : HEAD_ROWS;
}

void head_logp(const struct head *head, const real *out, const int *rows, const int32_t *target, int n, real *logp)
{
    head_cross_entropy(head, out, rows, target, n, NULL, NULL, NULL, logp, NULL);
}

void head_cross_entropy(const struct head *head, const real *out, const int *rows, const int32_t *target, int n,
                        head_weigh weigh, void *user, real *weight, real *logp, real *d_out)
{
    size_t d = (size_t) head->net->shape.n_embd, n_vocab = (size_t) head->net->shape.n_vocab;
    for (int first = 0; first < n; first += HEAD_ROWS) {
        int m = piece(n, first);
        head_logits(head, rows ? out : out + (size_t) first * d, rows ? rows + first : NULL, m);
        for (int i = 0; i < m; i++) {
            real *row = logits_row(head, i), score = row[target[first + i]];
            logp[first + i] = score - head->net->ops->softmax(row, (int) n_vocab);
        }
        if (!d_out)
            continue;
        if (weigh)
            weigh(user, first, m, logp + first, weight + first);
        for (int i = 0; i < m; i++) {
            real *row = logits_row(head, i), w = weight[first + i];
            for (size_t j = 0; j < n_vocab; j++)
                row[j] *= w;
            row[target[first + i]] -= w;
        }
        logits_backward(head, rows ? rows + first : NULL, m, rows ? d_out : d_out + (size_t) first * d);
    }
}

/*
 * KL(t || s) = <p_t, t> - lse_t - <p_t, s> + lse_s of row i of both heads; the student's logits become
 * weight (p_s - p_t).
 */
static real distill_row(const struct head *student, const struct head *teacher, int i, real weight, int32_t target,
                        real *nll)
{
    const struct vector_ops *ops = student->net->ops;
    size_t n = (size_t) student->net->shape.n_vocab;
    real *s = logits_row(student, i), *t = logits_row(teacher, i);
    memcpy(student->row, s, n * sizeof *s);
    memcpy(teacher->row, t, n * sizeof *t);
    real lse_s = ops->softmax(s, (int) n), lse_t = ops->softmax(t, (int) n);
    double kl = (double) ops->dot(t, teacher->row, n) - (double) ops->dot(t, student->row, n) + (double) lse_s -
                (double) lse_t;
    *nll = lse_s - student->row[target];
    for (size_t j = 0; j < n; j++)
        s[j] = weight * (s[j] - t[j]);
    return (real) kl;
}

void head_distill(const struct head *student, const real *out, const struct head *teacher, const real *teacher_out,
                  const int *rows, const real *weight, int n, const int32_t *target, real *nll, real *kl, real *d_out)
{
    size_t d = (size_t) student->net->shape.n_embd, d_teacher = (size_t) teacher->net->shape.n_embd;
    for (int first = 0; first < n; first += HEAD_ROWS) {
        int m = piece(n, first);
        const int *some = rows ? rows + first : NULL;
        head_logits(student, rows ? out : out + (size_t) first * d, some, m);
        head_logits(teacher, rows ? teacher_out : teacher_out + (size_t) first * d_teacher, some, m);
        for (int i = 0; i < m; i++)
            kl[first + i] = distill_row(student, teacher, i, weight[first + i], target[first + i], nll + first + i);
        if (d_out)
            logits_backward(student, some, m, rows ? d_out : d_out + (size_t) first * d);
    }
}
