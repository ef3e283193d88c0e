/*
 * grpo_parent.h - a run that another program started, and wants to hear about
 *
 * On one socket, a JSON object a line. Told are
 *
 *     {"begin": 20, "steps": 60, "prompts": 176, "model": ".."}   where the run starts: after a checkpoint's step, or 0;
 *                                                         and the SHA-256 of the model's file, "" if it is not to be had
 *     {"id": 3, "prompt": .., "completion": ..}           answered with a reward, as in reward_command.c
 *     {"step": 21, "prompt": .., "completion": .., ..}    the answers of a step, as in --samples, and then
 *     {"step": 21, "reward": .., ..}                      the step, as in --log; answered {"step": 21} once it is kept
 *     {"done": "run.gguf"}                                the adapter is written
 *
 * Where the other program closes its end, that stops the run, as a signal does. A step is answered before its checkpoint is written: so whoever keeps the steps never knows less than the checkpoint.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_GRPO_PARENT_H
#define TRAIN_GRPO_PARENT_H

#include "train/grpo.h"

dsr1_status grpo_parent_begin(struct grpo *g, dsr1_error *err);
dsr1_status grpo_parent_eval(struct grpo *g, double reward, double length, dsr1_error *err);    /* as step 0 */
dsr1_status grpo_parent_step(struct grpo *g, const struct grpo_report *report, dsr1_error *err);
dsr1_status grpo_parent_done(struct grpo *g, dsr1_error *err);

#endif
