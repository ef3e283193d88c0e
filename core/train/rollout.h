/*
 * rollout.h - groups of answers from the serving engine, with all that training wants of them
 *
 * The engine that serves also samples: quantised weights, batches, and a group's prompt computed once, with the adapter
 * beside the weights as it is at that moment. It tells each token's log-probability and which experts every position was
 * sent to, so that training can send it there again (routing replay, arXiv:2510.11370).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_ROLLOUT_H
#define TRAIN_ROLLOUT_H

#include "base/buffer.h"
#include "model/lora.h"
#include "train/real.h"

#include <signal.h>

struct rollout_prompt {
    const int32_t *tokens;
    int n;
};

/* One answer. Release with rollout_free(). */
struct rollout {
    int prompt;                 /* which of the prompts */
    int32_t *tokens;            /* prompt, then answer with its end token */
    int n_prompt, n_tokens;
    real *logp;                 /* of each answer token, as the engine computed it; n_tokens - n_prompt */
    int *chosen;                /* as in policy_step.h: n_layers x (n_tokens - 1) x n_used; NULL for dense models */
    struct buffer text;         /* of the answer, without its end token */
    dsr1_finish finish;
};

struct rollout_options {
    int group;                  /* answers per prompt */
    int max_tokens;             /* of an answer */
    float temperature;          /* 1: the policy itself; 0: its best answer */
    uint64_t seed;              /* member m of prompt p draws from (seed, p * group + m) */
};

struct rollouts {
    const dsr1_model *model;
    dsr1_engine *engine;
    int n_layers, n_used;       /* n_used 0: a dense model */
    uint64_t n_groups;          /* sampled so far */
    const volatile sig_atomic_t *stop;  /* not 0: rollouts_run() gives up with DSR1_ERR_CANCELLED; may be NULL */
};

/* n_batch: answers at a time; context: tokens of prompt and answer; n_used: experts per token, 0: as the file says. */
dsr1_status rollouts_open(const dsr1_model *model, int n_batch, int context, int n_used, int threads,
                          struct rollouts *rollouts, dsr1_error *err);
void rollouts_close(struct rollouts *rollouts);

/*
 * Samples options->group answers to each prompt: out has n * group of them, a prompt's side by side. lora may be NULL.
 * After a failure none is held.
 */
dsr1_status rollouts_run(struct rollouts *rollouts, struct lora *lora, const struct rollout_prompt *prompts, int n,
                         const struct rollout_options *options, struct rollout *out, dsr1_error *err);

void rollout_free(struct rollout *rollout);     /* accepts a zeroed one */

#endif
