/*
 * training.h - a run of supervised training or self-distillation, from files to an adapter
 *
 * With a teacher, the student learns the teacher's distribution at every token of the data (KL, whole
 * vocabulary), but for texts with a hole, which a teacher need not know how to fill; of these, and without a teacher,
 * the tokens that count (dataset.h). A run is decided by its options, its data and its seed:
 * the same numbers come out with any number of threads, stopped and resumed or not.
 *
 *     training_open(&options, &training, err)
 *     while (training.optimizer.step < options.optimizer.steps)
 *         training_step(training, &report, err)       one batch; checkpoints and the log as the options say
 *     training_finish(training, err)                  writes the adapter
 *     training_close(training)
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_TRAINING_H
#define TRAIN_TRAINING_H

#include "train/dataset.h"
#include "train/optimizer.h"
#include "train/trainer.h"

#include <stdio.h>

struct training_options {
    const char *student;        /* model file */
    const char *teacher;        /* model file, or NULL: learn the data */
    const char *const *data;
    size_t n_data;
    const char *output;         /* adapter file; the checkpoint is OUTPUT.checkpoint */
    const char *init;           /* adapter to start from, or NULL */
    const char *log;            /* JSON lines, or NULL */
    struct trainable_options trainable;
    struct optimizer_options optimizer;
    int batch, seq;             /* sequences per step, tokens per sequence at most */
    int n_used_min, n_used_max; /* experts per row of the student: drawn anew each step; 0: as the file says */
    int n_eval, eval_every;     /* sequences set aside, steps between looking at them */
    int save_every;             /* steps between checkpoints; 0: only when asked */
    int threads;                /* 0: the cores of this process */
    uint64_t seed;
    bool resume;                /* go on from the checkpoint, if there is one */
};

struct training_report {
    int64_t step;               /* counted from 1 */
    double loss;                /* per token that counts: KL with a teacher, else -log p */
    double nll;                 /* -log p of the data's own tokens */
    double norm, rate;          /* of the gradient before clipping; of learning */
    int n_used;                 /* experts per row; 0 in a dense model */
    int n_tokens;
    double seconds, cpu_seconds;
    bool has_eval;
    double eval_loss, eval_nll;
};

struct training {
    struct training_options options;
    struct net net, teacher;
    struct trainable trainable;
    struct optimizer optimizer;
    struct dataset data;
    struct thread_pool *pool;
    struct trainer trainer;
    char *checkpoint;
    uint64_t fingerprint;
    FILE *log;
    /* The batch at hand. */
    int *seqs, *start;
    int32_t *tokens;
    real *weight, *loss, *nll;  /* by row: of predicting the next token; 0 where that does not count */
    bool *taught;               /* by row: is it the teacher who says what comes next? */
};

/* options' strings stay the caller's until close. After a failure nothing is held. */
dsr1_status training_open(const struct training_options *options, struct training *t, dsr1_error *err);
void training_close(struct training *t);

/* DSR1_ERR_INTERNAL when the loss is no longer a number: the adapter is then as before the step. */
dsr1_status training_step(struct training *t, struct training_report *report, dsr1_error *err);

/* Loss and -log p over the sequences set aside. */
dsr1_status training_eval(struct training *t, int n_used, double *loss, double *nll, dsr1_error *err);

dsr1_status training_save(struct training *t, dsr1_error *err);        /* a checkpoint, now */
dsr1_status training_finish(struct training *t, dsr1_error *err);      /* the adapter */

#endif
