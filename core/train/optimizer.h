/*
 * optimizer.h - AdamW over the flat vector, and the learning rate's way through a run
 *
 * Adam (arXiv:1412.6980) with bias correction; decay is decoupled from the gradient (arXiv:1711.05101).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "dsr1.h"
#include "train/vector.h"

enum optimizer_schedule { SCHEDULE_CONSTANT, SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULES };

struct optimizer_options {
    float rate;                 /* the highest learning rate */
    float beta1, beta2, epsilon, decay;
    float clip;                 /* the gradient's norm is cut to this; 0: never */
    int warmup;                 /* steps until the highest rate, rising evenly */
    enum optimizer_schedule schedule;
    int steps;                  /* where cosine and linear arrive at rate * floor */
    float floor;
};

/* What suits adapters: rate 2e-4, betas 0.9 and 0.99, epsilon 1e-8, no decay, norm 1, 5 steps of warm-up. */
struct optimizer_options optimizer_defaults(void);

struct optimizer {
    struct optimizer_options options;
    const struct vector_ops *ops;
    size_t n;
    real *m, *v;
    int64_t step;               /* done so far */
    size_t size;
};

dsr1_status optimizer_open(const struct optimizer_options *options, size_t n, struct optimizer *o, dsr1_error *err);
void optimizer_close(struct optimizer *o);

/* "constant", "cosine", "linear"; false for others. */
bool optimizer_parse_schedule(const char *text, enum optimizer_schedule *schedule);

/* The learning rate of a step, counted from 0. */
double optimizer_rate(const struct optimizer_options *options, int64_t step);

/* The Euclidean norm of n numbers, summed in an order that depends on n alone. */
double optimizer_norm(const struct optimizer *o, const real *grad);

/*
 * One step: value (n) goes against grad (n), which stays as it is. Returns the gradient's norm before clipping. A
 * gradient that is no finite number changes nothing and does not count; the norm tells.
 */
double optimizer_step(struct optimizer *o, real *value, const real *grad);

#endif
