/*
 * policy.c - the loss of group-relative policy optimisation, as a function of log-probabilities
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/policy.h"

#include <math.h>
#include <string.h>

static const double least_deviation = 1e-4;

static const char *const mean_names[] = {"dapo", "grpo", "bnpo", "dr_grpo"};
static const char *const scale_names[] = {"group", "none", "batch"};

static int find_name(const char *const *names, int n, const char *text)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return -1;
}

bool policy_parse_mean(const char *text, enum policy_mean *mean)
{
    int found = find_name(mean_names, POLICY_MEANS, text);
    if (found >= 0)
        *mean = (enum policy_mean) found;
    return found >= 0;
}

bool policy_parse_scale(const char *text, enum policy_scale *scale)
{
    int found = find_name(scale_names, POLICY_SCALES, text);
    if (found >= 0)
        *scale = (enum policy_scale) found;
    return found >= 0;
}

/* ------------------------------------------------------------------ */
/* The loss                                                            */
/* ------------------------------------------------------------------ */

static int64_t count_mask(const struct policy_part *p, int s)
{
    int64_t n = 0;
    for (int i = p->start[s]; i < p->start[s + 1]; i++)
        n += p->mask[i] != 0;
    return n;
}

struct policy_totals policy_count(const struct policy_part *part)
{
    struct policy_totals totals = {.n_seqs = part->n_seqs, .n_parts = 1};
    for (int s = 0; s < part->n_seqs; s++)
        totals.n_tokens += count_mask(part, s);
    return totals;
}

/* What one token of a sequence of n counts. */
static double token_weight(const struct policy_options *o, const struct policy_totals *totals, int64_t part_tokens,
                           int64_t n)
{
    double tokens = n > 0 ? (double) n : 1;
    switch (o->mean) {
    case POLICY_GRPO:
        return 1 / ((double) totals->n_seqs * tokens);
    case POLICY_DR_GRPO:
        return 1 / ((double) totals->n_seqs * (o->max_length > 0 ? o->max_length : 1));
    case POLICY_BNPO:
        return 1 / ((part_tokens > 0 ? (double) part_tokens : 1) * (totals->n_parts > 0 ? totals->n_parts : 1));
    default:
        return 1 / (totals->n_tokens > 0 ? (double) totals->n_tokens : 1);
    }
}

struct surrogate {
    double value, slope;        /* of -min(..) and by log r */
    int clipped;                /* -1 at the lower bound, 1 at the upper, 0: the gradient flows */
};

static struct surrogate clip(const struct policy_options *o, double ratio, double advantage)
{
    double low = 1 - o->clip_low, high = 1 + o->clip_high;
    double limited = o->delta > 0 && ratio > o->delta ? o->delta : ratio;
    double clipped = ratio < low ? low : ratio > high ? high : ratio;
    bool plain = limited * advantage <= clipped * advantage;
    bool flows = plain ? limited == ratio : clipped == ratio;
    return (struct surrogate){-advantage * (plain ? limited : clipped), flows ? -advantage * ratio : 0,
                              flows ? 0 : ratio < low ? -1 : 1};
}

static double log_ratio(const struct policy_part *p, int i)
{
    return p->logp_old ? (double) p->logp[i] - (double) p->logp_old[i] : 0;
}

static double mean_log_ratio(const struct policy_part *p, int s, int64_t n)
{
    double sum = 0;
    for (int i = p->start[s]; i < p->start[s + 1]; i++)
        if (p->mask[i])
            sum += log_ratio(p, i);
    return n > 0 ? sum / (double) n : 0;
}

/*
 * With a ratio per sequence, a token's log-probability moves the surrogate of all n tokens by 1/n each: the same
 * slope as if each token had only its own.
 */
static double sequence_loss(const struct policy_options *o, const struct policy_part *p, int s, int64_t n,
                            double weight, real *dlogp, struct policy_report *report)
{
    double loss = 0, shared = o->sequence_ratio ? mean_log_ratio(p, s, n) : 0;
    for (int i = p->start[s]; i < p->start[s + 1]; i++) {
        dlogp[i] = 0;
        if (!p->mask[i])
            continue;
        double ratio = exp(o->sequence_ratio ? shared : log_ratio(p, i));
        struct surrogate l = clip(o, ratio, (double) p->advantage[s]);
        report->ratio += ratio;
        report->clipped_low += l.clipped < 0;
        report->clipped_high += l.clipped > 0;
        if (o->beta != 0) {
            double d = (double) p->logp_ref[i] - (double) p->logp[i], k3 = expm1(d) - d;
            report->divergence += k3;
            l.value += o->beta * k3;
            l.slope -= o->beta * expm1(d);
        }
        loss += weight * l.value;
        dlogp[i] = (real) (weight * l.slope);
    }
    return loss;
}

double policy_loss(const struct policy_options *options, const struct policy_part *part,
                   const struct policy_totals *totals, real *dlogp, struct policy_report *report)
{
    struct policy_report sums = {0};
    int64_t n_tokens = policy_count(part).n_tokens;
    double loss = 0;
    for (int s = 0; s < part->n_seqs; s++) {
        int64_t n = count_mask(part, s);
        loss += sequence_loss(options, part, s, n, token_weight(options, totals, n_tokens, n), dlogp, &sums);
    }
    double n = n_tokens > 0 ? (double) n_tokens : 1;
    if (report)
        *report = (struct policy_report){sums.ratio / n, sums.divergence / n, sums.clipped_low / n,
                                         sums.clipped_high / n};
    return loss;
}

/* ------------------------------------------------------------------ */
/* Advantages                                                          */
/* ------------------------------------------------------------------ */

struct spread {
    double mean, deviation;
    bool any;                   /* not all the same */
};

static struct spread spread_of(const double *reward, int n)
{
    struct spread s = {0};
    double first = NAN;
    int known = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(reward[i])) {
            first = known++ == 0 ? reward[i] : first;
            s.any |= reward[i] != first;
            s.mean += reward[i];
        }
    s.mean /= known > 0 ? known : 1;
    for (int i = 0; i < n; i++)
        if (!isnan(reward[i]))
            s.deviation += (reward[i] - s.mean) * (reward[i] - s.mean);
    s.deviation = known > 1 ? sqrt(s.deviation / (known - 1)) : 0;
    return s;
}

int policy_advantages(enum policy_scale scale, const double *reward, int n_groups, int size, real *advantage,
                      bool *useful)
{
    double all = spread_of(reward, n_groups * size).deviation;
    int n_useful = 0;
    for (int g = 0; g < n_groups; g++) {
        struct spread s = spread_of(reward + g * size, size);
        double over = scale == POLICY_SCALE_NONE ? 1
                                                 : (scale == POLICY_SCALE_BATCH ? all : s.deviation) + least_deviation;
        for (int i = g * size; i < (g + 1) * size; i++)
            advantage[i] = s.any && !isnan(reward[i]) ? (real) ((reward[i] - s.mean) / over) : 0;
        if (useful)
            useful[g] = s.any;
        n_useful += s.any;
    }
    return n_useful;
}

double policy_overlong(int length, int max_length, int buffer)
{
    int free_length = max_length - buffer;
    if (length <= free_length)
        return 0;
    return length >= max_length || buffer <= 0 ? -1 : (double) (free_length - length) / buffer;
}
