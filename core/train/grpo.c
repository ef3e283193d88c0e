/*
 * grpo.c - a step of group-relative policy optimisation: sample, judge, learn
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/grpo.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "train/adapter.h"
#include "train/checkpoint.h"
#include "train/grpo_parent.h"
#include "train/serving.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool grpo_parse_overlong(const char *text, enum grpo_overlong *overlong)
{
    static const char *const names[GRPO_OVERLONGS] = {"mask", "keep", "penalty"};
    for (int i = 0; i < GRPO_OVERLONGS; i++)
        if (strcmp(text, names[i]) == 0) {
            *overlong = (enum grpo_overlong) i;
            return true;
        }
    return false;
}

int64_t grpo_steps_done(const struct grpo *g)
{
    return g->optimizer.step / g->options.updates;
}

bool grpo_is_over(const struct grpo *g)
{
    return g->reached || grpo_steps_done(g) >= g->options.steps;
}

static double cpu_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double) ts.tv_sec + 1e-9 * (double) ts.tv_nsec;
}

/* ------------------------------------------------------------------ */
/* Sampling and judging                                                */
/* ------------------------------------------------------------------ */

static dsr1_status score(struct grpo *g, const struct prompts *prompts, const int *prompt, const struct rollout *answers,
                         int n_groups, int group, double *rewards, dsr1_error *err)
{
    size_t n = (size_t) n_groups * (size_t) group;
    struct reward_item *items = memory_array(n, sizeof *items);
    if (!items)
        return error_nomem(err, "rewards");
    for (size_t i = 0; i < n; i++) {
        const struct prompt *p = &prompts->items[prompt[i / (size_t) group]];
        const struct rollout *a = &answers[i];
        items[i] = (struct reward_item){p->text, p->meta, a->text.data, a->text.size, a->finish, a->n_tokens - a->n_prompt};
    }
    dsr1_status status = reward_score(&g->reward, items, (int) n, rewards, err);
    free(items);
    return status;
}

static dsr1_status sample(struct grpo *g, struct lora *lora, const struct prompts *prompts, const int *prompt,
                          int n_groups, const struct rollout_options *o, struct rollout *answers, dsr1_error *err)
{
    struct rollout_prompt *list = memory_array((size_t) n_groups, sizeof *list);
    if (!list)
        return error_nomem(err, "prompts");
    for (int i = 0; i < n_groups; i++)
        list[i] = (struct rollout_prompt){prompts->items[prompt[i]].tokens, prompts->items[prompt[i]].n_tokens};
    dsr1_status status = rollouts_run(&g->rollouts, lora, list, n_groups, o, answers, err);
    free(list);
    return status;
}

/* One round of n more groups, behind those that are there. */
static dsr1_status add_groups(struct grpo *g, struct lora *lora, int n, int round, struct grpo_report *r, dsr1_error *err)
{
    const struct grpo_options *o = &g->options;
    int first = g->n_groups;
    size_t at = (size_t) first * (size_t) o->group;
    /* Replacements come from a row of their own, so that a step's prompts do not depend on the steps before it. */
    uint64_t step = (uint64_t) (r->step - 1), base = step * (uint64_t) o->n_prompts;
    uint64_t seed = round == 0 ? o->seed : rng_at(o->seed ^ 0x5eed, step);
    for (int i = 0; i < n; i++)
        g->group_prompt[first + i] = prompts_pick(&g->prompts, seed, (round == 0 ? base : (uint64_t) first) + (uint64_t) i);
    struct rollout_options options = {.group = o->group, .max_tokens = o->max_tokens, .temperature = 1,
                                      .seed = rng_at(rng_at(o->seed, step), (uint64_t) round)};
    double start = clock_seconds();
    dsr1_status status = sample(g, lora, &g->prompts, g->group_prompt + first, n, &options, g->answers + at, err);
    r->rollout_seconds += clock_seconds() - start;
    start = clock_seconds();
    if (status == DSR1_OK) {
        g->n_groups += n;
        status = score(g, &g->prompts, g->group_prompt + first, g->answers + at, n, o->group, g->rewards + at, err);
        r->n_errors += g->reward.n_errors;
        r->last_error = g->reward.last_error;
    }
    r->reward_seconds += clock_seconds() - start;
    for (size_t i = at; status == DSR1_OK && i < at + (size_t) n * (size_t) o->group; i++)
        if (o->overlong == GRPO_OVERLONG_PENALTY)
            g->rewards[i] += policy_overlong(g->answers[i].n_tokens - g->answers[i].n_prompt, o->max_tokens,
                                             o->overlong_buffer);
    return status;
}

static void forget(struct grpo *g)
{
    for (int i = 0; i < g->room * g->options.group; i++)
        rollout_free(&g->answers[i]);
    g->n_groups = 0;
}

/* Groups until enough of them have spread, or the rounds are over. */
static dsr1_status collect(struct grpo *g, struct lora *lora, struct grpo_report *r, dsr1_error *err)
{
    const struct grpo_options *o = &g->options;
    forget(g);
    for (int round = 0; round <= o->refill; round++) {
        int wanted = o->n_prompts - r->n_useful;
        if (wanted <= 0)
            break;
        dsr1_status status = add_groups(g, lora, wanted, round, r, err);
        if (status != DSR1_OK)
            return status;
        r->n_rounds++;
        r->n_useful = policy_advantages(o->scale, g->rewards, g->n_groups, o->group, g->advantages, g->useful);
    }
    r->n_groups = g->n_groups;
    r->n_answers = g->n_groups * o->group;
    if (r->n_errors == r->n_answers)
        return error_set(err, DSR1_ERR_ARGUMENT, "no answer could be rewarded: %s", g->reward.last_error);
    return DSR1_OK;
}

/* Figures over all answers sampled, also those of groups that are dropped. */
static void describe(const struct grpo *g, struct grpo_report *r)
{
    double sum = 0, squares = 0, tokens = 0, surprise = 0, ended = 0;
    int n = 0;
    for (int i = 0; i < r->n_answers; i++) {
        const struct rollout *a = &g->answers[i];
        int length = a->n_tokens - a->n_prompt;
        r->rollout_tokens += length;
        tokens += length;
        ended += a->finish == DSR1_FINISH_END || a->finish == DSR1_FINISH_STOP;
        for (int t = 0; t < length; t++)
            surprise -= (double) a->logp[t];
        if (isnan(g->rewards[i]))
            continue;
        sum += g->rewards[i];
        squares += g->rewards[i] * g->rewards[i];
        n++;
    }
    r->reward = sum / n;
    r->spread = sqrt(fmax(0, squares / n - r->reward * r->reward));
    r->entropy = surprise / tokens;
    r->length = tokens / r->n_answers;
    r->ended = ended / r->n_answers;
    r->sample = &g->answers[0];
    r->sample_reward = g->rewards[0];
}

/* ------------------------------------------------------------------ */
/* Learning                                                            */
/* ------------------------------------------------------------------ */

struct lesson {
    struct policy_answer *answers;
    int n;
    size_t n_tokens;
    real *logp, *logp_old, *logp_ref;   /* answers' tokens, one after the other */
    uint8_t *mask;              /* zeros, as long as the longest answer */
};

static dsr1_status make_lesson(const struct grpo *g, const struct grpo_report *r, struct lesson *l, dsr1_error *err)
{
    const struct grpo_options *o = &g->options;
    size_t n = (size_t) r->n_answers;
    l->answers = memory_array(n, sizeof *l->answers);
    l->mask = memory_array((size_t) o->max_tokens, 1);
    l->logp = memory_array(3 * n, (size_t) o->max_tokens * sizeof *l->logp);
    if (!l->answers || !l->mask || !l->logp)
        return error_nomem(err, "answers");
    for (size_t i = 0; i < n; i++) {
        const struct rollout *a = &g->answers[i];
        bool cut = a->finish == DSR1_FINISH_LENGTH && o->overlong == GRPO_OVERLONG_MASK;
        if (o->refill > 0 && !g->useful[i / (size_t) o->group])
            continue;
        l->answers[l->n++] = (struct policy_answer){.tokens = a->tokens, .n_prompt = a->n_prompt, .n_tokens = a->n_tokens,
                                                    .advantage = g->advantages[i], .mask = cut ? l->mask : NULL,
                                                    .chosen = a->chosen};
        l->n_tokens += (size_t) (a->n_tokens - a->n_prompt);
    }
    l->logp_old = l->logp + l->n_tokens;
    l->logp_ref = l->logp_old + l->n_tokens;
    return DSR1_OK;
}

static void free_lesson(struct lesson *l)
{
    free(l->answers);
    free(l->mask);
    free(l->logp);
}

/* Hands each answer its part of an array over all answers' tokens. */
static void give(struct lesson *l, const real *values, bool reference)
{
    for (int i = 0; i < l->n; i++) {
        struct policy_answer *a = &l->answers[i];
        if (reference)
            a->logp_ref = values;
        else
            a->logp_old = values;
        values += a->n_tokens - a->n_prompt;
    }
}

static dsr1_status refer(struct grpo *g, struct lesson *l, dsr1_error *err)
{
    if (g->options.policy.beta == 0)
        return DSR1_OK;
    trainable_activate(&g->trainable, false);
    dsr1_status status = policy_step_logp(&g->trainer, l->answers, l->n, g->options.n_used, l->logp_ref, err);
    trainable_activate(&g->trainable, true);
    give(l, l->logp_ref, true);
    return status;
}

/* How far the engine that sampled and the network that learns are apart, over tokens that count. */
static double mismatch(const struct grpo *g, const struct grpo_report *r, const struct lesson *l)
{
    double sum = 0, n = 0;
    const real *logp = l->logp;
    for (int i = 0, j = 0; i < r->n_answers && j < l->n; i++) {
        const struct rollout *a = &g->answers[i];
        if (l->answers[j].tokens != a->tokens)
            continue;
        for (int t = 0; t < a->n_tokens - a->n_prompt && !l->answers[j].mask; t++, n++)
            sum += fabs((double) logp[t] - (double) a->logp[t]);
        logp += a->n_tokens - a->n_prompt;
        j++;
    }
    return n > 0 ? sum / n : 0;
}

static dsr1_status update(struct grpo *g, struct lesson *l, int number, struct grpo_report *r, dsr1_error *err)
{
    struct policy_report policy;
    double loss;
    dsr1_status status = policy_step_gradient(&g->trainer, &g->options.policy, l->answers, l->n, g->options.n_used, NULL,
                                              &loss, &policy, l->logp, err);
    if (status != DSR1_OK)
        return status;
    if (number == 0) {
        r->loss = loss;
        r->divergence = policy.divergence;
        r->mismatch = mismatch(g, r, l);
        memcpy(l->logp_old, l->logp, l->n_tokens * sizeof *l->logp);
        give(l, l->logp_old, false);
    }
    r->clipped_low = policy.clipped_low;
    r->clipped_high = policy.clipped_high;
    r->norm = optimizer_step(&g->optimizer, g->trainable.value, g->trainer.grad);
    if (!isfinite(r->norm) || !isfinite(loss))
        return error_set(err, DSR1_ERR_INTERNAL, "step %lld: the loss is no number (a lower learning rate may help)",
                         (long long) r->step);
    for (int i = 0; i < l->n; i++)
        r->train_tokens += l->answers[i].n_tokens - 1;
    return DSR1_OK;
}

static dsr1_status learn(struct grpo *g, struct grpo_report *r, dsr1_error *err)
{
    struct lesson l = {0};
    double start = clock_seconds();
    /* Nothing to learn from: the step counts, and the weights stay. */
    if (r->n_useful == 0) {
        g->optimizer.step += g->options.updates;
        return DSR1_OK;
    }
    dsr1_status status = make_lesson(g, r, &l, err);
    if (status == DSR1_OK)
        status = refer(g, &l, err);
    for (int i = 0; i < g->options.updates && status == DSR1_OK; i++) {
        status = update(g, &l, i, r, err);
        /* Half a step is none that a checkpoint could hold. */
        g->trainer.stop = NULL;
    }
    g->trainer.stop = g->options.stop;
    free_lesson(&l);
    r->train_seconds = clock_seconds() - start;
    return status;
}

/* ------------------------------------------------------------------ */
/* A step                                                              */
/* ------------------------------------------------------------------ */

dsr1_status grpo_eval(struct grpo *g, double *reward, double *length, dsr1_error *err)
{
    int n = g->eval.n, told = 0;
    struct lora *lora = NULL;
    *reward = *length = 0;
    if (n == 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "no prompts were set aside");
    int *prompt = memory_array((size_t) n, sizeof *prompt);
    struct rollout *answers = memory_array((size_t) n, sizeof *answers);
    double *rewards = memory_array((size_t) n, sizeof *rewards);
    struct rollout_options options = {.group = 1, .max_tokens = g->options.max_tokens,
                                      .temperature = g->options.eval_temperature, .seed = g->options.seed ^ 0xe7a1};
    dsr1_status status = prompt && answers && rewards ? DSR1_OK : error_nomem(err, "the prompts set aside");
    for (int i = 0; i < n && prompt; i++)
        prompt[i] = i;
    if (status == DSR1_OK)
        status = serving_adapter(&g->trainable, &g->model->model, &lora, err);
    if (status == DSR1_OK)
        status = sample(g, lora, &g->eval, prompt, n, &options, answers, err);
    if (status == DSR1_OK)
        status = score(g, &g->eval, prompt, answers, n, 1, rewards, err);
    for (int i = 0; i < n && status == DSR1_OK; i++) {
        *length += (double) (answers[i].n_tokens - answers[i].n_prompt) / n;
        *reward += isnan(rewards[i]) ? 0 : rewards[i];
        told += !isnan(rewards[i]);
    }
    *reward = told > 0 ? *reward / told : NAN;
    for (int i = 0; i < n && answers; i++)
        rollout_free(&answers[i]);
    lora_close(lora);
    free(prompt);
    free(answers);
    free(rewards);
    return status;
}

static bool looks_aside(const struct grpo *g, int64_t step)
{
    int every = g->options.eval_every;
    return g->eval.n > 0 && every > 0 && (step % every == 0 || step == g->options.steps);
}

static dsr1_status look_aside(struct grpo *g, struct grpo_report *r, dsr1_error *err)
{
    if (!looks_aside(g, r->step))
        return DSR1_OK;
    r->has_eval = true;
    dsr1_status status = grpo_eval(g, &r->eval_reward, &r->eval_length, err);
    g->reached = g->options.has_until && r->eval_reward >= g->options.until;
    return status;
}

/* A checkpoint does not say whether the run it is of was over: the same look aside does. */
static dsr1_status look_again(struct grpo *g, dsr1_error *err)
{
    double reward, length;
    if (!g->options.has_until || !looks_aside(g, grpo_steps_done(g)))
        return DSR1_OK;
    dsr1_status status = grpo_eval(g, &reward, &length, err);
    g->reached = reward >= g->options.until;
    return status;
}

dsr1_status grpo_begin(struct grpo *g, double *reward, dsr1_error *err)
{
    double length;
    *reward = NAN;
    dsr1_status status = g->options.parent > 0 ? grpo_parent_begin(g, err) : DSR1_OK;
    if (status == DSR1_OK && grpo_steps_done(g) > 0)
        return look_again(g, err);
    if (status != DSR1_OK || g->eval.n == 0)
        return status;
    status = grpo_eval(g, reward, &length, err);
    if (status == DSR1_OK && g->log)
        status = grpo_log_eval(g->log, *reward, length, err);
    if (status == DSR1_OK && g->options.parent > 0)
        status = grpo_parent_eval(g, *reward, length, err);
    return status;
}

static dsr1_status tell(struct grpo *g, const struct grpo_report *r, dsr1_error *err)
{
    dsr1_status status = DSR1_OK;
    if (g->log)
        status = grpo_log_step(g->log, r, err);
    if (status == DSR1_OK && g->samples)
        status = grpo_log_answers(g->samples, g, r->step, err);
    if (status == DSR1_OK && g->options.parent > 0)
        status = grpo_parent_step(g, r, err);
    if (status == DSR1_OK)
        g->told = r->step;
    return status;
}

dsr1_status grpo_step(struct grpo *g, struct grpo_report *report, dsr1_error *err)
{
    struct grpo_report *r = report;
    struct lora *lora;
    double cpu = cpu_seconds();
    *r = (struct grpo_report){.step = grpo_steps_done(g) + 1,
                              .rate = optimizer_rate(&g->options.optimizer, g->optimizer.step)};
    dsr1_status status = serving_adapter(&g->trainable, &g->model->model, &lora, err);
    if (status != DSR1_OK)
        return status;
    status = collect(g, lora, r, err);
    lora_close(lora);
    if (status == DSR1_OK) {
        describe(g, r);
        status = learn(g, r, err);
    }
    r->cpu_seconds = cpu_seconds() - cpu;
    if (status == DSR1_OK)
        status = look_aside(g, r, err);
    if (status == DSR1_OK)
        status = tell(g, r, err);
    if (status == DSR1_OK && g->options.save_every > 0 && r->step % g->options.save_every == 0)
        status = grpo_save(g, err);
    return status;
}

dsr1_status grpo_save(struct grpo *g, dsr1_error *err)
{
    if (g->told != grpo_steps_done(g))
        return DSR1_OK;
    return checkpoint_write(&g->trainable, &g->optimizer, g->fingerprint, g->checkpoint, err);
}

dsr1_status grpo_finish(struct grpo *g, dsr1_error *err)
{
    return adapter_write(&g->trainable, g->options.output, err);
}
