/*
 * grpo_open.c - what a run of group-relative policy optimisation holds
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "train/adapter.h"
#include "train/checkpoint.h"
#include "train/grpo.h"
#include "train/run_log.h"

#include <stdlib.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static dsr1_status check_options(const struct grpo_options *o, dsr1_error *err)
{
    if (o->n_prompts < 1 || o->group < 2 || o->steps < 1 || o->updates < 1 || o->max_tokens < 1 || o->refill < 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "prompts, steps, updates and tokens must be positive, groups 2 or more");
    if ((o->reward != NULL) + (o->reward_command != NULL) + (o->parent > 0) != 1)
        return error_set(err, DSR1_ERR_ARGUMENT, "one reward is wanted");
    if ((int64_t) o->n_prompts * o->group * (o->refill + 1) > 1 << 20)
        return error_set(err, DSR1_ERR_LIMIT, "too many answers per step");
    if (o->has_until && (!o->eval_prompts || o->eval_every == 0))
        return error_set(err, DSR1_ERR_ARGUMENT, "until wants prompts that are looked at aside");
    return DSR1_OK;
}

/* What must be the same for a run to go on from a checkpoint. */
static uint64_t fingerprint_of(const struct grpo *g)
{
    const struct grpo_options *o = &g->options;
    const struct trainable_options *w = &o->trainable;
    const struct optimizer_options *a = &o->optimizer;
    const struct policy_options *p = &o->policy;
    double numbers[] = {o->n_prompts, o->group, o->refill, o->updates, o->max_tokens, o->n_used, o->overlong,
                        o->overlong_buffer, o->scale, p->mean, p->sequence_ratio, p->clip_low, p->clip_high, p->delta,
                        p->beta, w->rank, (double) w->alpha, w->lora, w->whole, (double) a->rate, (double) a->beta1,
                        (double) a->beta2, (double) a->epsilon, (double) a->decay, (double) a->clip, a->warmup,
                        a->schedule, a->steps, (double) a->floor};
    const char *reward = o->reward ? o->reward : o->reward_command ? o->reward_command : "";
    uint64_t hash = checkpoint_hash(0, numbers, sizeof numbers);
    hash = checkpoint_hash(hash, &o->seed, sizeof o->seed);
    hash = checkpoint_hash(hash, reward, strlen(reward));
    return checkpoint_hash(hash, &g->prompts.hash, sizeof g->prompts.hash);
}

static dsr1_status open_prompts(struct grpo *g, dsr1_error *err)
{
    const struct grpo_options *o = &g->options;
    if (o->parent > 0) {
        struct digest_file file = digest_look(o->model);
        digest_start(&g->digest, o->model, &file, o->digests);
    }
    dsr1_status status = dsr1_model_open(o->model, &g->model, err);
    if (status == DSR1_OK)
        status = prompts_open(g->model, o->prompts, o->raw, &g->prompts, err);
    if (status == DSR1_OK && o->eval_prompts)
        status = prompts_open(g->model, o->eval_prompts, o->raw, &g->eval, err);
    if (status == DSR1_OK && o->n_prompts > g->prompts.n)
        status = error_set(err, DSR1_ERR_ARGUMENT, "%d prompts a step, but %s has %d", o->n_prompts, o->prompts,
                           g->prompts.n);
    return status;
}

static dsr1_status open_machines(struct grpo *g, dsr1_error *err)
{
    const struct grpo_options *o = &g->options;
    int longest = g->prompts.longest > g->eval.longest ? g->prompts.longest : g->eval.longest;
    int context = longest + o->max_tokens + 1, threads = o->threads > 0 ? o->threads : cpu_count();
    int batch = o->n_prompts * o->group > g->eval.n ? o->n_prompts * o->group : g->eval.n;
    dsr1_status status = net_open(o->model, context, &g->net, err);
    if (status == DSR1_OK)
        status = trainable_open(&g->net, &o->trainable, &g->trainable, err);
    if (status == DSR1_OK)
        status = optimizer_open(&o->optimizer, g->trainable.n, &g->optimizer, err);
    if (status == DSR1_OK)
        status = thread_pool_open(threads, &g->pool, err);
    if (status == DSR1_OK)
        status = trainer_open(&g->net, &g->trainable, NULL, g->pool, &g->trainer, err);
    if (status == DSR1_OK)
        status = rollouts_open(g->model, batch, context, o->n_used, threads, &g->rollouts, err);
    return status;
}

static dsr1_status open_step(struct grpo *g, dsr1_error *err)
{
    g->room = g->options.n_prompts * (g->options.refill + 1);
    size_t groups = (size_t) g->room, answers = groups * (size_t) g->options.group;
    g->group_prompt = memory_array(groups, sizeof *g->group_prompt);
    g->useful = memory_array(groups, sizeof *g->useful);
    g->answers = memory_array(answers, sizeof *g->answers);
    g->rewards = memory_array(answers, sizeof *g->rewards);
    g->advantages = memory_array(answers, sizeof *g->advantages);
    return g->group_prompt && g->useful && g->answers && g->rewards && g->advantages ? DSR1_OK
                                                                                     : error_nomem(err, "a step");
}

static dsr1_status open_reward(struct grpo *g, dsr1_error *err)
{
    const struct grpo_options *o = &g->options;
    dsr1_status status = o->reward         ? reward_open(o->reward, &g->reward, err)
                         : o->parent > 0   ? reward_open_socket(o->parent, &g->reward, err)
                                           : reward_open_command(o->reward_command, o->reward_timeout, &g->reward, err);
    g->reward.stop = g->rollouts.stop = g->trainer.stop = o->stop;
    return status;
}

static dsr1_status open_files(struct grpo *g, dsr1_error *err)
{
    const struct grpo_options *o = &g->options;
    dsr1_status status = DSR1_OK;
    bool resumed = false;
    if (asprintf(&g->checkpoint, "%s.checkpoint", o->output) < 0) {
        g->checkpoint = NULL;
        return error_nomem(err, "a file's name");
    }
    if (o->resume && access(g->checkpoint, F_OK) == 0) {
        status = checkpoint_read(&g->trainable, &g->optimizer, g->fingerprint, g->checkpoint, err);
        resumed = true;
    } else if (o->init) {
        status = adapter_read(&g->trainable, o->init, err);
    }
    int64_t done = g->told = resumed ? grpo_steps_done(g) : 0;
    if (status == DSR1_OK && o->log)
        status = run_log_open(o->log, done, &g->log, err);
    if (status == DSR1_OK && o->samples)
        status = run_log_open(o->samples, done, &g->samples, err);
    return status;
}

dsr1_status grpo_open(const struct grpo_options *options, struct grpo *g, dsr1_error *err)
{
    *g = (struct grpo){.options = *options};
    struct grpo_options *o = &g->options;
    o->trainable.seed = o->seed;
    o->policy.max_length = o->max_tokens;
    o->optimizer.steps = o->steps * o->updates;
    dsr1_status status = check_options(o, err);
    if (status == DSR1_OK)
        status = open_prompts(g, err);
    if (status == DSR1_OK)
        status = open_machines(g, err);
    if (status == DSR1_OK)
        status = open_step(g, err);
    if (status == DSR1_OK)
        status = open_reward(g, err);
    if (status == DSR1_OK) {
        g->fingerprint = fingerprint_of(g);
        status = open_files(g, err);
    }
    if (status != DSR1_OK)
        grpo_close(g);
    return status;
}

void grpo_close(struct grpo *g)
{
    if (g->log)
        fclose(g->log);
    if (g->samples)
        fclose(g->samples);
    for (int i = 0; g->answers && i < g->room * g->options.group; i++)
        rollout_free(&g->answers[i]);
    free(g->checkpoint);
    free(g->group_prompt);
    free(g->useful);
    free(g->answers);
    free(g->rewards);
    free(g->advantages);
    reward_close(&g->reward);
    rollouts_close(&g->rollouts);
    trainer_close(&g->trainer);
    thread_pool_close(g->pool);
    optimizer_close(&g->optimizer);
    trainable_close(&g->trainable);
    net_close(&g->net);
    prompts_close(&g->eval);
    prompts_close(&g->prompts);
    dsr1_model_close(g->model);
    digest_stop(&g->digest);
    *g = (struct grpo){0};
}
