/*
 * policy_step.c - the gradient of a policy loss, from sampled answers to the flat vector
 *
 * The last token of an answer predicts nothing, so it has no row. Answers side by side to one prompt are branches of one
 * sequence (batch.h): the prompt is computed once, and its last row predicts the first token of each. Where the ratios are known to be one, a token's
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
    /* The batch: rows of prompts, and of all answers but their last tokens. */
    struct batch batch;
    int n_seqs;
    int *start, *chosen;        /* start: n_seqs + 1 */
    int *seq_answer;            /* n_seqs + 1: sequence q has answers seq_answer[q] .. seq_answer[q + 1] - 1 */
    int *trunk_row, *branch_row;    /* of each answer: its prompt's first row, and its own */
    struct batch_fork *forks;
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
    s->seq_answer = memory_array(n + 1, sizeof *s->seq_answer);
    s->trunk_row = memory_array(n, sizeof *s->trunk_row);
    s->branch_row = memory_array(n, sizeof *s->branch_row);
    s->forks = memory_array(rows, sizeof *s->forks);
    s->first = memory_array(n + 1, sizeof *s->first);
    s->tokens = memory_array(rows, sizeof *s->tokens);
    s->mask = memory_array(answer_tokens, 1);
    s->logp = memory_array(4 * answer_tokens + n, sizeof *s->logp);
    s->losses = memory_array(n, sizeof *s->losses);
    s->reports = memory_array(n, sizeof *s->reports);
    bool replay = s->answers[0].chosen != NULL;
    if (replay)
        s->chosen = memory_array(layers * rows, (size_t) n_used * sizeof *s->chosen);
    if (!s->start || !s->seq_answer || !s->trunk_row || !s->branch_row || !s->forks || !s->first || !s->tokens || !s->mask || !s->logp || !s->losses || !s->reports ||
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
    free(s->seq_answer);
    free(s->trunk_row);
    free(s->branch_row);
    free(s->forks);
    free(s->first);
    free(s->tokens);
    free(s->chosen);
    free(s->mask);
    free(s->logp);
    free(s->losses);
    free(s->reports);
}

/* Have both answers the same prompt, sent to the same experts? */
static bool share_prompt(const struct policy_answer *a, const struct policy_answer *b, int n_layers, int n_used)
{
    size_t n = (size_t) a->n_prompt, k = (size_t) n_used * sizeof *a->chosen;
    if (a->n_prompt != b->n_prompt || memcmp(a->tokens, b->tokens, n * sizeof *a->tokens) != 0)
        return false;
    for (size_t l = 0; a->chosen && l < (size_t) n_layers; l++)
        if (memcmp(a->chosen + l * (size_t) (a->n_tokens - 1) * (size_t) n_used,
                   b->chosen + l * (size_t) (b->n_tokens - 1) * (size_t) n_used, n * k) != 0)
            return false;
    return true;
}

/* Rows from .. from + n - 1 of an answer to `row` of the batch. */
static void copy_chosen(struct step *s, const struct policy_answer *a, int from, int n, int row, int n_layers, int n_used)
{
    size_t own = (size_t) a->n_tokens - 1, all = (size_t) s->start[s->n_seqs], k = (size_t) n_used;
    for (size_t l = 0; s->chosen && l < (size_t) n_layers; l++)
        memcpy(s->chosen + (l * all + (size_t) row) * k, a->chosen + (l * own + (size_t) from) * k,
               (size_t) n * k * sizeof *s->chosen);
}

/* Which rows each answer gets. A sequence grows up to what one thread takes at a time. */
static void place_answers(struct step *s, int n_layers, int n_used)
{
    int row = 0;
    for (int i = 0; i < s->n; i++) {
        const struct policy_answer *a = &s->answers[i];
        int branch = answer_length(a) - 1, begun = s->n_seqs > 0 ? row - s->start[s->n_seqs - 1] : 0;
        bool joins = s->n_seqs > 0 && begun + branch <= TRAINER_SHARD && share_prompt(a - 1, a, n_layers, n_used);
        if (!joins) {
            s->seq_answer[s->n_seqs] = i;
            s->start[s->n_seqs++] = row;
            row += a->n_prompt;
        }
        s->trunk_row[i] = s->start[s->n_seqs - 1];
        s->branch_row[i] = row;
        row += branch;
    }
    s->seq_answer[s->n_seqs] = s->n;
    s->start[s->n_seqs] = row;
}

static void fill_rows(struct step *s, int n_layers, int n_used)
{
    for (int q = 0; q < s->n_seqs; q++) {
        const struct policy_answer *a = &s->answers[s->seq_answer[q]];
        memcpy(s->tokens + s->start[q], a->tokens, (size_t) a->n_prompt * sizeof *s->tokens);
        copy_chosen(s, a, 0, a->n_prompt, s->start[q], n_layers, n_used);
    }
    for (int i = 0; i < s->n; i++) {
        const struct policy_answer *a = &s->answers[i];
        int n = answer_length(a) - 1, row = s->branch_row[i];
        memcpy(s->tokens + row, a->tokens + a->n_prompt, (size_t) n * sizeof *s->tokens);
        copy_chosen(s, a, a->n_prompt, n, row, n_layers, n_used);
        for (int r = row; r < row + n; r++)
            s->forks[r] = (struct batch_fork){a->n_prompt, row - s->trunk_row[i]};
    }
}

static void fill(struct step *s, const struct net *net, int n_used)
{
    place_answers(s, net->shape.n_layers, n_used);
    fill_rows(s, net->shape.n_layers, n_used);
    for (int i = 0; i < s->n; i++) {
        const struct policy_answer *a = &s->answers[i];
        s->first[i + 1] = s->first[i] + answer_length(a);
        size_t length = (size_t) answer_length(a), at = (size_t) s->first[i];
        memset(s->mask + at, 1, length);
        if (a->mask)
            memcpy(s->mask + at, a->mask, length);
        if (a->logp_old)
            memcpy(s->logp_old + at, a->logp_old, length * sizeof *s->logp_old);
        if (a->logp_ref)
            memcpy(s->logp_ref + at, a->logp_ref, length * sizeof *s->logp_ref);
        s->advantage[i] = a->advantage;
    }
    s->on_policy = s->answers[0].logp_old == NULL;
    s->batch = (struct batch){.n_seqs = s->n_seqs, .start = s->start, .tokens = s->tokens, .n_used = n_used,
                              .chosen = s->chosen, .forks = s->forks};
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

/* Rows, from first_row on, that predict answer tokens, in the order of these; tokens outside the mask are left out. */
static int answer_rows(const struct step *s, int first, int n, int first_row, bool all, int *rows, int32_t *target,
                       int *token)
{
    int m = 0;
    for (int i = first; i < first + n; i++)
        for (int t = s->first[i]; t < s->first[i + 1]; t++) {
            int n_prompt = s->answers[i].n_prompt, at = t - s->first[i];
            if (!all && !s->mask[t])
                continue;
            rows[m] = (at == 0 ? s->trunk_row[i] + n_prompt : s->branch_row[i] + at) - 1 - first_row;
            target[m] = s->answers[i].tokens[n_prompt + at];
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
    int seq = (int) (b->start - s->start), first = s->seq_answer[seq], n = s->seq_answer[seq + b->n_seqs] - first;
    size_t room = (size_t) (s->first[first + n] - s->first[first]);
    int *rows = memory_array(room, sizeof *rows), *token = memory_array(room, sizeof *token);
    int32_t *target = memory_array(room, sizeof *target);
    real *numbers = memory_array(room, 2 * sizeof *numbers);
    dsr1_status status = rows && token && target && numbers ? DSR1_OK : error_nomem(err, "answers");
    if (status == DSR1_OK) {
        int m = answer_rows(s, first, n, s->start[seq], s->options == NULL, rows, target, token);
        run_head(s, w, first, n, rows, target, token, m, numbers, d_out);
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
