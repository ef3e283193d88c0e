/*
 * grpo.h - a run of group-relative policy optimisation, from prompts and a reward to an adapter
 *
 * DeepSeekMath (arXiv:2402.03300) and DeepSeek-R1 (arXiv:2501.12948): to each prompt of a step a group of answers is
 * sampled by the serving engine (rollout.h), each gets its reward (reward.h), and what is better than its group's mean
 * becomes likelier (policy.h). A run is decided by its options, its prompts, its reward and its seed: the same numbers
 * come out with any number of threads, stopped and resumed or not.
 *
 *     grpo_open(&options, &grpo, err)
 *     grpo_begin(&grpo, err)                          looks aside, where prompts were set aside
 *     while (grpo_steps_done(&grpo) < options.steps)
 *         grpo_step(&grpo, &report, err)
 *     grpo_finish(&grpo, err)                         writes the adapter
 *     grpo_close(&grpo)
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_GRPO_H
#define TRAIN_GRPO_H

#include "base/digest.h"
#include "train/optimizer.h"
#include "train/policy_step.h"
#include "train/prompts.h"
#include "train/reward.h"
#include "api/handle.h"
#include "train/rollout.h"

#include <signal.h>
#include <stdio.h>

/* What becomes of answers that max_tokens cut off. */
enum grpo_overlong {
    GRPO_OVERLONG_MASK,         /* their tokens do not count */
    GRPO_OVERLONG_KEEP,         /* nothing special */
    GRPO_OVERLONG_PENALTY,      /* policy_overlong() is added to their reward, and to nearly as long ones */
    GRPO_OVERLONGS
};

struct grpo_options {
    const char *model;
    const char *prompts;        /* prompts.h */
    const char *eval_prompts;   /* set aside; or NULL */
    const char *output;         /* adapter file; the checkpoint is OUTPUT.checkpoint */
    const char *init;           /* adapter to start from, or NULL */
    const char *log;            /* JSON lines, one a step; or NULL */
    const char *samples;        /* JSON lines, one an answer; or NULL */
    const char *reward;         /* a built-in one; or NULL and */
    const char *reward_command;
    int parent;                 /* or a socket to the program that gives rewards and is told everything (grpo_parent.h) */
    const char *digests;        /* with it: where the SHA-256 of model files are noted (base/digest.h); or NULL */
    double reward_timeout;      /* seconds for a step's answers */
    bool raw;                   /* prompts without the chat template */
    struct trainable_options trainable;
    struct optimizer_options optimizer;
    struct policy_options policy;       /* max_length is set from max_tokens */
    enum policy_scale scale;
    enum grpo_overlong overlong;
    int overlong_buffer;        /* tokens before max_tokens where the penalty begins */
    int steps;
    int n_prompts, group;       /* prompts per step, answers per prompt */
    int refill;                 /* rounds in which groups without spread are replaced; 0: they stay */
    int updates;                /* of the adapter per step */
    int max_tokens;             /* of an answer */
    int n_used;                 /* experts per token; 0: as the file says */
    int eval_every;             /* steps; also before the first and after the last */
    bool has_until;
    double until;               /* then the run is over when these looks see this much reward */
    float eval_temperature;     /* 1: the policy as it is trained; 0: its best answers */
    int save_every;             /* steps between checkpoints; 0: only when asked */
    int threads;                /* 0: the cores of this process */
    uint64_t seed;
    bool resume;
    /* Not 0: the step at hand is given up, with DSR1_ERR_CANCELLED. May be NULL. */
    const volatile sig_atomic_t *stop;
};

struct grpo_report {
    int64_t step;               /* counted from 1 */
    double reward, spread;      /* mean and standard deviation over all answers sampled */
    double loss, divergence;    /* of the first update; divergence from the reference where beta is not 0 */
    double entropy;             /* mean of -log p of sampled tokens: an estimate */
    double length;              /* mean tokens of an answer */
    double ended;               /* share of answers that ended by themselves */
    double clipped_low, clipped_high;   /* share of tokens, in the last update */
    double mismatch;            /* mean |log p as trained - as sampled| */
    double norm, rate;
    int n_groups, n_useful, n_rounds, n_answers, n_errors;
    int rollout_tokens, train_tokens;
    double rollout_seconds, reward_seconds, train_seconds, cpu_seconds;
    bool has_eval;
    double eval_reward, eval_length;
    const char *last_error;     /* of the reward, where n_errors > 0 */
    const struct rollout *sample;       /* the step's first answer, until the next step */
    double sample_reward;
};

struct grpo {
    struct grpo_options options;
    dsr1_model *model;
    struct digest digest;       /* of its file, for the other program */
    struct net net;
    struct trainable trainable;
    struct optimizer optimizer;
    struct thread_pool *pool;
    struct trainer trainer;
    struct rollouts rollouts;
    struct prompts prompts, eval;
    struct reward reward;
    char *checkpoint;
    uint64_t fingerprint;
    bool reached;               /* what until says */
    int64_t told;               /* the last step in the log: what a checkpoint may say */
    FILE *log, *samples;
    /* The step at hand: groups side by side, as many as all rounds may bring. */
    int n_groups, room;
    int *group_prompt;          /* prompt of each group */
    struct rollout *answers;    /* room * group */
    double *rewards;
    real *advantages;
    bool *useful;
};

/* options' strings stay the caller's until close. After a failure nothing is held. */
dsr1_status grpo_open(const struct grpo_options *options, struct grpo *g, dsr1_error *err);
void grpo_close(struct grpo *g);

int64_t grpo_steps_done(const struct grpo *g);
bool grpo_is_over(const struct grpo *g);        /* no step is left, or until is reached */

/* Where a run starts anew, or may have reached until: looks at what was set aside. *reward is NAN where nothing was, or at another step. */
dsr1_status grpo_begin(struct grpo *g, double *reward, dsr1_error *err);

/* A step that is stopped has not happened, but for one that was stopped while it looked aside: no checkpoint is then. */
dsr1_status grpo_step(struct grpo *g, struct grpo_report *report, dsr1_error *err);

/* Mean reward and length of answers to the prompts set aside, one each, with the adapter as it is. The same draws each time. */
dsr1_status grpo_eval(struct grpo *g, double *reward, double *length, dsr1_error *err);

/* A checkpoint, now; nothing where the log does not have all steps that were done. */
dsr1_status grpo_save(struct grpo *g, dsr1_error *err);
dsr1_status grpo_finish(struct grpo *g, dsr1_error *err);   /* the adapter */

/* "mask", "keep", "penalty"; false for others. */
bool grpo_parse_overlong(const char *text, enum grpo_overlong *overlong);

/* grpo_log.c */
dsr1_status grpo_log_eval(FILE *log, double reward, double length, dsr1_error *err);    /* before the first step */
dsr1_status grpo_log_step(FILE *log, const struct grpo_report *report, dsr1_error *err);
dsr1_status grpo_log_answers(FILE *samples, const struct grpo *g, int64_t step, dsr1_error *err);

#endif
