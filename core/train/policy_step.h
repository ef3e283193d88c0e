/*
 * policy_step.h - the gradient of a policy loss, from sampled answers to the flat vector
 *
 * The half of policy optimisation that trains: answers with their advantages go in, trainer->grad and the
 * log-probabilities come out. Sampling and rewards are the caller's, and so is the step of the optimiser.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_POLICY_STEP_H
#define TRAIN_POLICY_STEP_H

#include "train/policy.h"
#include "train/trainer.h"

/* A prompt and the answer sampled for it. Arrays over answer tokens have n_tokens - n_prompt entries. */
struct policy_answer {
    const int32_t *tokens;      /* prompt, then answer */
    int n_prompt, n_tokens;     /* 1 <= n_prompt < n_tokens */
    real advantage;
    const uint8_t *mask;        /* answer tokens that count; NULL: all; none where an answer was cut off */
    const real *logp_old;       /* under the policy that sampled; NULL: it is the one that learns */
    const real *logp_ref;       /* under the reference; wanted when beta is not 0 */
    /*
     * Routing replay: the experts of each row but the last, n_layers x (n_tokens - 1) x n_used as in batch.h. All
     * answers have it or none.
     */
    const int *chosen;
};

/*
 * Log-probabilities of the answers' tokens under the network as it is: logp receives them one answer after the other.
 * For references, switch the adapters off first (trainable_activate).
 */
dsr1_status policy_step_logp(struct trainer *trainer, const struct policy_answer *answers, int n, int n_used,
                             real *logp, dsr1_error *err);

/*
 * Leaves the gradient of the loss over all answers in trainer->grad. totals: of the whole batch, where these answers
 * are a part of it; NULL: they are all of it. logp as above, or NULL. n_used: experts per row, 0 as the model says.
 */
dsr1_status policy_step_gradient(struct trainer *trainer, const struct policy_options *options,
                                 const struct policy_answer *answers, int n, int n_used,
                                 const struct policy_totals *totals, double *loss, struct policy_report *report,
                                 real *logp, dsr1_error *err);

#endif
