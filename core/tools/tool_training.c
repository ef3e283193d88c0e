/*
 * tool_training.c - what dsr1 sft and dsr1 distill share: options, progress, Ctrl-C
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool_training.h"

#include "base/clock.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

void tool_training_defaults(struct training_flags *flags)
{
    *flags = (struct training_flags){
        .options = {.optimizer = optimizer_defaults(), .trainable = {.rank = 8, .alpha = 16}, .batch = 8, .seq = 256,
                    .eval_every = 50, .save_every = 50, .seed = 1},
        .schedule = "constant",
    };
    flags->options.optimizer.steps = 100;
}

/* "8" or "4-12". */
static bool parse_experts(const char *text, int *min, int *max)
{
    char *end;
    long first = strtol(text, &end, 10), last = first;
    if (end == text)
        return false;
    if (*end == '-') {
        text = end + 1;
        last = strtol(text, &end, 10);
    }
    if (end == text || *end || first < 1 || last < first || last > 1024)
        return false;
    *min = (int) first;
    *max = (int) last;
    return true;
}

int tool_training_check(const struct command_line *line, struct training_flags *flags)
{
    struct training_options *o = &flags->options;
    o->data = flags->data.items;
    o->n_data = flags->data.n;
    if (o->n_data == 0)
        return options_wrong(line, "--data is missing");
    if (!o->output)
        return options_wrong(line, "-o is missing");
    if (!trainable_parse(flags->lora, &o->trainable.lora))
        return options_wrong(line, "--lora %s: not a list of attn, q, k, v, o, ffn, shared, experts", flags->lora);
    if (!optimizer_parse_schedule(flags->schedule, &o->optimizer.schedule))
        return options_wrong(line, "--schedule %s: must be constant, cosine or linear", flags->schedule);
    if (flags->experts && !parse_experts(flags->experts, &o->n_used_min, &o->n_used_max))
        return options_wrong(line, "--experts %s: must be a number, or two as in 4-12", flags->experts);
    return OPTIONS_GO;
}

static void on_interrupt(int signal)
{
    (void) signal;
    stopped = 1;
}

static void catch_interrupts(void)
{
    /* A second one kills the program. */
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int) SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static const char *duration(double seconds, char text[40])
{
    int s = seconds > 1e8 ? 100000000 : (int) seconds;
    if (s < 3600)
        snprintf(text, 40, "%d:%02d", s / 60, s % 60);
    else
        snprintf(text, 40, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    return text;
}

struct progress {
    double seconds, tokens;     /* of this process */
    int64_t first;
    double smooth;              /* loss, averaged over some twenty steps */
};

static void show(struct progress *p, const struct training_report *r, int steps, const char *unit)
{
    char left[40];
    p->seconds += r->seconds;
    p->tokens += r->n_tokens;
    int64_t done = r->step - p->first;
    double keep = done < 20 ? 1 - 1.0 / (double) done : 0.95;
    p->smooth = keep * p->smooth + (1 - keep) * r->loss;
    tool_progress("step %lld of %d  %s %.4f  -log p %.4f  lr %.2g  %.0f tokens/s  %s left", (long long) r->step, steps,
                  unit, p->smooth, r->nll, r->rate, p->tokens / p->seconds,
                  duration(p->seconds / (double) done * (double) (steps - r->step), left));
}

static dsr1_status train(struct training *t, const struct training_flags *flags, const char *unit, dsr1_error *err)
{
    int steps = flags->options.optimizer.steps;
    struct progress progress = {.first = t->optimizer.step};
    struct training_report report = {0};
    dsr1_status status = DSR1_OK;
    if (!flags->quiet)
        fprintf(stderr, "%d sequences, %zu weights to train, %s\n", t->data.n_seqs - t->data.n_eval, t->trainable.n,
                progress.first ? "going on from the checkpoint" : "from the start");
    while (status == DSR1_OK && t->optimizer.step < steps && !stopped) {
        status = training_step(t, &report, err);
        if (status != DSR1_OK || flags->quiet)
            continue;
        if (report.has_eval) {
            tool_progress_end();
            fprintf(stderr, "step %lld  aside: %s %.4f  -log p %.4f\n", (long long) report.step, unit, report.eval_loss,
                    report.eval_nll);
        }
        show(&progress, &report, steps, unit);
    }
    tool_progress_end();
    if (status == DSR1_OK)
        status = stopped ? training_save(t, err) : training_finish(t, err);
    return status;
}

int tool_training_run(const char *name, struct training_flags *flags, const char *unit)
{
    struct training training;
    dsr1_error err = {0};
    catch_interrupts();
    dsr1_status status = training_open(&flags->options, &training, &err);
    if (status == DSR1_OK) {
        status = train(&training, flags, unit, &err);
        if (status == DSR1_OK && !stopped)
            unlink(training.checkpoint);
        else if (status == DSR1_OK)
            fprintf(stderr, "stopped at step %lld; --resume goes on\n", (long long) training.optimizer.step);
        training_close(&training);
    }
    string_list_free(&flags->data);
    if (status == DSR1_OK && stopped)
        tool_die_of_interrupt();
    return status == DSR1_OK ? 0 : tool_fail(name, &err);
}
