/*
 * head.h - logits, and losses that need them, in pieces of rows
 *
 * A vocabulary is large: 2048 rows of 49152 logits are 400 MB. So the head runs over
 * a few rows at a time, only those that carry loss, and turns their logits into
 * gradients in place. One kernel serves all: the gradient of a row's logits is
 * weight (softmax - target), with a one-hot target or a teacher's distribution.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_HEAD_H
#define TRAIN_HEAD_H

#include "train/carve.h"
#include "train/net.h"

enum { HEAD_ROWS = 128 };       /* at a time */

/* Room for HEAD_ROWS rows; a thread's own. */
struct head {
    const struct net *net;
    real *x, *dx;               /* HEAD_ROWS x d: gathered */
    real *logits;               /* HEAD_ROWS x n_vocab */
    real *row;                  /* n_vocab */
    void *block;
    size_t block_size;
};

dsr1_status head_open(const struct net *net, struct head *head, dsr1_error *err);
void head_close(struct head *head);

/* Rows first .. first + n - 1 of `rows` (indices into out, or NULL: the rows themselves), n <= HEAD_ROWS. */
void head_logits(const struct head *head, const real *out, const int *rows, int n);

/* logp[i] = log softmax(logits of out[rows[i]])[target[i]] for any n. */
void head_logp(const struct head *head, const real *out, const int *rows, const int32_t *target, int n, real *logp);

/*
 * Cross entropy: logp as head_logp, and where d_out is not NULL the gradient of
 * sum_i weight[i] * -logp[i] is added into d_out (rows as out). A caller whose weights depend on the
 * probabilities gives `weigh`, which is called for each piece with its logp and fills weight first .. first + n - 1.
 */
typedef void (*head_weigh)(void *user, int first, int n, const real *logp, real *weight);
void head_cross_entropy(const struct head *head, const real *out, const int *rows, const int32_t *target, int n,
                        head_weigh weigh, void *user, real *weight, real *logp, real *d_out);

/*
 * Distillation: kl[i] = KL(teacher || student) of rows[i], and the gradient of sum_i weight[i] kl[i] is added into
 * d_out, unless that is NULL. teacher_out are the teacher's normed outputs for the same rows; both heads share a
 * vocabulary. nll receives the student's -log p of target[i].
 */
void head_distill(const struct head *student, const real *out, const struct head *teacher, const real *teacher_out,
                  const int *rows, const real *weight, int n, const int32_t *target, real *nll, real *kl, real *d_out);

#endif
