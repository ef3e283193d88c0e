/*
 * policy_step.c - the gradient of a policy loss, from sampled answers to the flat vector
 *
 * The last token of an answer predicts nothing, so it has no row. Where the ratios are known to be one, a token's
 * weight does not depend on its probability and the head runs once; else it runs once for the
 * log-probabilities and once more for the gradient.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/policy_step.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

struct step {
    const struct policy_options *options;   /* NULL: log-probabilities only */
    struct policy_options own;  /* of one answer at a time */
    const struct policy_answer *answers;
    int n;
    struct policy_totals totals;
    /* The batch: rows of all answers but their last tokens. */
    struct batch batch;
    int *start, *chosen;
    int32_t *tokens;
    /* Over answer tokens: answer a has first[a] .. first[a + 1] - 1. */
    int *first;
    uint8_t *mask;
    real *logp, *logp_old, *logp_ref, *dlogp, *advantage;
    bool on_policy;
    double *losses;             /* by answer; summed in order at the end */
    struct policy_report *reports;
};

static int answer_length(const struct policy_answer *a)
{
    return a->n_tokens - a->n_prompt;
}

/* ------------------------------------------------------------------ */
/* Putting answers together                                            */
/* ------------------------------------------------------------------ */

static dsr1_status check_answers(const struct step *s, dsr1_error *err)
{
    for (int i = 0; i < s->n; i++) {
        const struct policy_answer *a = &s->answers[i];
        if (a->n_prompt < 1 || a->n_tokens <= a->n_prompt || a->n_tokens > 1 << 24)
            return error_set(err, DSR1_ERR_ARGUMENT, "answer %d: %d tokens, of which %d are the prompt", i, a->n_tokens,
                             a->n_prompt);
        if (!a->logp_ref && s->options && s->options->beta != 0)
            return error_set(err, DSR1_ERR_ARGUMENT, "answer %d has no reference", i);
        if (!a->logp_old != !s->answers[0].logp_old || !a->chosen != !s->answers[0].chosen)
            return error_set(err, DSR1_ERR_ARGUMENT, "answer %d differs from the first in what it brings along", i);
    }
    return s->n > 0 ? DSR1_OK : error_set(err, DSR1_ERR_ARGUMENT, "no answers");
}

static dsr1_status allocate(struct step *s, const struct net *net, int n_used, dsr1_error *err)
{
    size_t rows = 0, answer_tokens = 0, n = (size_t) s->n, layers = (size_t) net->shape.n_layers;
    for (int i = 0; i < s->n; i++) {
        rows += (size_t) s->answers[i].n_tokens - 1;
        answer_tokens += (size_t) answer_length(&s->answers[i]);
    }
    if (rows > INT32_MAX / 2)
        return error_set(err, DSR1_ERR_LIMIT, "%zu tokens at once are too many", rows);
    s->start = memory_array(n + 1, sizeof *s->start);
    s->first = memory_array(n + 1, sizeof *s->first);
    s->tokens = memory_array(rows, sizeof *s->tokens);
    s->mask = memory_array(answer_tokens, 1);
    s->logp = memory_array(4 * answer_tokens + n, sizeof *s->logp);
    s->losses = memory_array(n, sizeof *s->losses);
    s->reports = memory_array(n, sizeof *s->reports);
    bool replay = s->answers[0].chosen != NULL;
    if (replay)
        s->chosen = memory_array(layers * rows, (size_t) n_used * sizeof *s->chosen);
    if (!s->start || !s->first || !s->tokens || !s->mask || !s->logp || !s->losses || !s->reports ||
        (replay && !s->chosen))
        return error_nomem(err, "answers");
    s->logp_old = s->logp + answer_tokens;
    s->logp_ref = s->logp_old + answer_tokens;
    s->dlogp = s->logp_ref + answer_tokens;
    s->advantage = s->dlogp + answer_tokens;
    return DSR1_OK;
}

static void release(struct step *s)
{
    free(s->start);
    free(s->first);
    free(s->tokens);
    free(s->chosen);
    free(s->mask);
    free(s->logp);
    free(s->losses);
    free(s->reports);
}

static void copy_chosen(struct step *s, int answer, int n_layers, int n_used)
{
    size_t rows = (size_t) s->answers[answer].n_tokens - 1, all = (size_t) s->start[s->n], k = (size_t) n_used;
    for (size_t l = 0; l < (size_t) n_layers; l++)
        memcpy(s->chosen + (l * all + (size_t) s->start[answer]) * k, s->answers[answer].chosen + l * rows * k,
               rows * k * sizeof *s->chosen);
}

static void fill(struct step *s, const struct net *net, int n_used)
{
    for (int i = 0; i < s->n; i++) {
        const struct policy_answer *a = &s->answers[i];
        s->start[i + 1] = s->start[i] + a->n_tokens - 1;
        s->first[i + 1] = s->first[i] + answer_length(a);
    }
    for (int i = 0; i < s->n; i++) {
        const struct policy_answer *a = &s->answers[i];
        size_t length = (size_t) answer_length(a), at = (size_t) s->first[i];
        memcpy(s->tokens + s->start[i], a->tokens, (size_t) (a->n_tokens - 1) * sizeof *s->tokens);
        memset(s->mask + at, 1, length);
        if (a->mask)
            memcpy(s->mask + at, a->mask, length);
        if (a->logp_old)
            memcpy(s->logp_old + at, a->logp_old, length * sizeof *s->logp_old);
        if (a->logp_ref)
            memcpy(s->logp_ref + at, a->logp_ref, length * sizeof *s->logp_ref);
        s->advantage[i] = a->advantage;
        if (s->chosen)
            copy_chosen(s, i, net->shape.n_layers, n_used);
    }
    s->on_policy = s->answers[0].logp_old == NULL;
    s->batch = (struct batch){.n_seqs = s->n, .start = s->start, .tokens = s->tokens, .n_used = n_used,
                              .chosen = s->chosen};
}

/* ------------------------------------------------------------------ */
/* One shard                                                           */
/* ------------------------------------------------------------------ */

/* A shard's answers, as the policy's loss wants them. */
static struct policy_part part_of(const struct step *s, int first, int n)
{
    return (struct policy_part){.n_seqs = n, .start = s->first + first, .logp = s->logp,
                                .logp_old = s->on_policy ? NULL : s->logp_old, .logp_ref = s->logp_ref,
                                .mask = s->mask, .advantage = s->advantage + first};
}

static void shard_gradients(struct step *s, int first, int n)
{
    for (int i = first; i < first + n; i++) {
        struct policy_part one = part_of(s, i, 1);
        s->losses[i] = policy_loss(&s->own, &one, &s->totals, s->dlogp, &s->reports[i]);
    }
}

/* Rows of the shard that predict answer tokens, in the order of these tokens; tokens outside the mask are left out. */
static int answer_rows(const struct step *s, int first, int n, bool all, int *rows, int32_t *target, int *token)
{
    int m = 0;
    for (int i = first; i < first + n; i++)
        for (int t = s->first[i]; t < s->first[i + 1]; t++) {
            int offset = s->answers[i].n_prompt + t - s->first[i];
            if (!all && !s->mask[t])
                continue;
            rows[m] = s->start[i] - s->start[first] + offset - 1;
            target[m] = s->answers[i].tokens[offset];
            token[m++] = t;
        }
    return m;
}

static void run_head(struct step *s, struct trainer_worker *w, int first, int n, const int *rows,
                       const int32_t *target, const int *token, int m, real *numbers, real *d_out)
{
    bool known = s->options && s->on_policy && s->options->beta == 0;
    real *logp = numbers, *weight = numbers + m;
    if (!known) {
        head_logp(&w->head, w->pass.out, rows, target, m, logp);
        for (int i = 0; i < m; i++)
            s->logp[token[i]] = logp[i];
    }
    if (!s->options)
        return;
    shard_gradients(s, first, n);
    if (d_out) {
        for (int i = 0; i < m; i++)
            weight[i] = -s->dlogp[token[i]];
        head_cross_entropy(&w->head, w->pass.out, rows, target, m, NULL, NULL, weight, logp, d_out);
        for (int i = 0; i < m; i++)
            s->logp[token[i]] = logp[i];
    }
}

static dsr1_status shard_loss(void *user, struct trainer_worker *w, const struct batch *b, real *d_out,
                              dsr1_error *err)
{
    struct step *s = user;
    int first = (int) (b->start - s->start);
    size_t room = (size_t) (s->first[first + b->n_seqs] - s->first[first]);
    int *rows = memory_array(room, sizeof *rows), *token = memory_array(room, sizeof *token);
    int32_t *target = memory_array(room, sizeof *target);
    real *numbers = memory_array(room, 2 * sizeof *numbers);
    dsr1_status status = rows && token && target && numbers ? DSR1_OK : error_nomem(err, "answers");
    if (status == DSR1_OK) {
        int m = answer_rows(s, first, b->n_seqs, s->options == NULL, rows, target, token);
        run_head(s, w, first, b->n_seqs, rows, target, token, m, numbers, d_out);
    }
    free(rows);
    free(token);
    free(target);
    free(numbers);
    return status;
}

/* ------------------------------------------------------------------ */
/* The batch                                                           */
/* ------------------------------------------------------------------ */

static void sum_up(const struct step *s, double *loss, struct policy_report *report)
{
    struct policy_report sum = {0};
    double all = 0;
    *loss = 0;
    for (int i = 0; i < s->n; i++) {
        struct policy_part one = part_of(s, i, 1);
        double n = (double) policy_count(&one).n_tokens;
        *loss += s->losses[i];
        sum.ratio += n * s->reports[i].ratio;
        sum.divergence += n * s->reports[i].divergence;
        sum.clipped_low += n * s->reports[i].clipped_low;
        sum.clipped_high += n * s->reports[i].clipped_high;
        all += n;
    }
    all = all > 0 ? all : 1;
    *report = (struct policy_report){sum.ratio / all, sum.divergence / all, sum.clipped_low / all,
                                     sum.clipped_high / all};
}

static dsr1_status run(struct step *s, struct trainer *trainer, int n_used, const struct policy_totals *totals,
                       real *logp, dsr1_error *err)
{
    const struct net *net = trainer->net;
    int used = n_used > 0 ? n_used : net->shape.n_used;
    dsr1_status status = check_answers(s, err);
    if (status == DSR1_OK)
        status = allocate(s, net, used, err);
    if (status != DSR1_OK)
        return status;
    fill(s, net, used);
    struct policy_part whole = part_of(s, 0, s->n);
    s->totals = totals ? *totals : policy_count(&whole);
    if (s->options)
        s->own = *s->options;
    if (s->own.mean == POLICY_BNPO) {
        /* The part that bnpo takes its mean over is this call, not one answer. */
        s->own.mean = POLICY_DAPO;
        s->totals.n_tokens = policy_count(&whole).n_tokens * (s->totals.n_parts > 0 ? s->totals.n_parts : 1);
    }
    status = trainer_run(trainer, &s->batch, shard_loss, s, s->options != NULL, err);
    if (status == DSR1_OK && logp)
        memcpy(logp, s->logp, (size_t) s->first[s->n] * sizeof *logp);
    return status;
}

dsr1_status policy_step_logp(struct trainer *trainer, const struct policy_answer *answers, int n, int n_used,
                             real *logp, dsr1_error *err)
{
    struct step s = {.answers = answers, .n = n};
    dsr1_status status = run(&s, trainer, n_used, NULL, logp, err);
    release(&s);
    return status;
}

dsr1_status policy_step_gradient(struct trainer *trainer, const struct policy_options *options,
                                 const struct policy_answer *answers, int n, int n_used,
                                 const struct policy_totals *totals, double *loss, struct policy_report *report,
                                 real *logp, dsr1_error *err)
{
    struct step s = {.options = options, .answers = answers, .n = n};
    dsr1_status status = run(&s, trainer, n_used, totals, logp, err);
    if (status == DSR1_OK)
        sum_up(&s, loss, report);
    release(&s);
    return status;
}
