/*
 * grpo_log.c - a run of policy optimisation as JSON lines
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "train/grpo.h"
#include "train/json_text.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static dsr1_status flushed(FILE *file, dsr1_error *err)
{
    return fflush(file) == 0 && !ferror(file) ? DSR1_OK : error_errno(err, DSR1_ERR_IO, "cannot write the log");
}

dsr1_status grpo_log_eval(FILE *log, double reward, double length, dsr1_error *err)
{
    fprintf(log, "{\"step\": 0");
    if (isfinite(reward))
        fprintf(log, ", \"eval_reward\": %.9g", reward);
    fprintf(log, ", \"eval_length\": %.6g}\n", length);
    return flushed(log, err);
}

dsr1_status grpo_log_step(FILE *log, const struct grpo_report *r, dsr1_error *err)
{
    fprintf(log, "{\"step\": %lld, \"reward\": %.9g, \"reward_std\": %.9g, ", (long long) r->step, r->reward, r->spread);
    if (r->has_eval && isfinite(r->eval_reward))
        fprintf(log, "\"eval_reward\": %.9g, \"eval_length\": %.6g, ", r->eval_reward, r->eval_length);
    fprintf(log, "\"loss\": %.9g, \"kl\": %.9g, \"entropy\": %.9g, \"length\": %.6g, \"ended\": %.4g, ", r->loss,
            r->divergence, r->entropy, r->length, r->ended);
    fprintf(log, "\"clipped_low\": %.4g, \"clipped_high\": %.4g, \"mismatch\": %.4g, \"grad_norm\": %.6g, \"lr\": %.6g, ",
            r->clipped_low, r->clipped_high, r->mismatch, r->norm, r->rate);
    fprintf(log, "\"groups\": %d, \"useful\": %d, \"rounds\": %d, \"errors\": %d, ", r->n_groups, r->n_useful, r->n_rounds,
            r->n_errors);
    fprintf(log, "\"tokens\": %d, \"train_tokens\": %d, \"seconds\": %.6f, \"rollout_seconds\": %.6f, "
            "\"reward_seconds\": %.6f, \"train_seconds\": %.6f, \"cpu_seconds\": %.6f}\n", r->rollout_tokens,
            r->train_tokens, r->rollout_seconds + r->reward_seconds + r->train_seconds, r->rollout_seconds,
            r->reward_seconds, r->train_seconds, r->cpu_seconds);
    return flushed(log, err);
}

dsr1_status grpo_log_answers(FILE *samples, const struct grpo *g, int64_t step, dsr1_error *err)
{
    for (int i = 0; i < g->n_groups * g->options.group; i++) {
        const struct rollout *a = &g->answers[i];
        const struct prompt *p = &g->prompts.items[g->group_prompt[i / g->options.group]];
        json_t *line = json_pack("{s:I, s:o, s:o, s:o, s:f, s:i, s:s}", "step", (json_int_t) step, "prompt",
                                 json_text(p->text, strlen(p->text)), "completion", json_text(a->text.data, a->text.size),
                                 "reward", isnan(g->rewards[i]) ? json_null() : json_real(g->rewards[i]), "advantage",
                                 (double) g->advantages[i], "tokens", a->n_tokens - a->n_prompt, "finish",
                                 reward_finish_name(a->finish));
        if (!line || json_dumpf(line, samples, 0) != 0)
            fprintf(samples, "{\"step\": %lld}", (long long) step);
        fputc('\n', samples);
        json_decref(line);
    }
    return flushed(samples, err);
}
