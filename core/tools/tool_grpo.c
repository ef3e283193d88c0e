/*
 * tool_grpo.c - dsr1 grpo: let a model learn from rewards for its own answers
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"
#include "train/grpo_parent.h"

#include "base/clock.h"
#include "base/error.h"
#include "wire/wire_grpo.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

struct grpo_flags {
    struct grpo_options options;
    const char *lora, *schedule, *loss, *scale, *overlong;
    float clip_low, clip_high, delta, beta, timeout, until;
    bool router, quiet;
};

static void on_interrupt(int signal)
{
    (void) signal;
    stopped = 1;
}

static void catch_signals(bool once)
{
    /* A second one kills the program; a reward's command that has gone is an error of its own. */
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = once ? (int) SA_RESETHAND : 0};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ------------------------------------------------------------------ */
/* What is shown                                                       */
/* ------------------------------------------------------------------ */

enum { BARS = 24 };

struct display {
    double start;
    int64_t first;
    double rewards[BARS];       /* of the last steps */
    int n;
};

/* The last steps' rewards as a row of bars, from the lowest to the highest of them. */
static void draw_bars(const struct display *d, char text[4 * BARS + 1])
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < d->n; i++) {
        low = fmin(low, d->rewards[i]);
        high = fmax(high, d->rewards[i]);
    }
    text[0] = 0;
    for (int i = 0; i < d->n; i++)
        strcat(text, bars[high > low ? (int) (7.999 * (d->rewards[i] - low) / (high - low)) : 0]);
}

static void show_sample(const struct grpo_report *r)
{
    const struct buffer *text = &r->sample->text;
    char line[121];
    size_t n = 0;
    for (size_t i = 0; i < text->size && n < sizeof line - 1; i++)
        line[n++] = text->data[i] == '\n' ? ' ' : text->data[i];
    line[n] = 0;
    fprintf(stderr, "  e.g. %+.2f: %s\n", r->sample_reward, line);
}

static void show(struct display *d, const struct grpo_report *r, int steps)
{
    char bars[4 * BARS + 1];
    if (d->n == BARS)
        memmove(d->rewards, d->rewards + 1, (BARS - 1) * sizeof *d->rewards);
    d->n -= d->n == BARS;
    d->rewards[d->n++] = r->reward;
    draw_bars(d, bars);
    double seconds = clock_seconds() - d->start, each = seconds / (double) (r->step - d->first);
    int left = (int) fmin(each * (double) (steps - r->step), 1e8);
    if (r->has_eval || r->step == d->first + 1) {
        tool_progress_end();
        fprintf(stderr, "step %lld  reward %.3f", (long long) r->step, r->reward);
        if (r->has_eval)
            fprintf(stderr, "  aside %.3f", r->eval_reward);
        fprintf(stderr, "  length %.1f  entropy %.2f  useful groups %d of %d", r->length, r->entropy, r->n_useful,
                r->n_groups);
        if (r->n_errors > 0)
            fprintf(stderr, "  %d without reward (%s)", r->n_errors, r->last_error);
        fputc('\n', stderr);
        show_sample(r);
    }
    tool_progress("%lld/%d %s %.3f  length %.0f  entropy %.2f  useful %d/%d  %.1f s a step  %d:%02d left", (long long) r->step,
                  steps, bars, r->reward, r->length, r->entropy, r->n_useful, r->n_groups, each, left / 60, left % 60);
}

/* ------------------------------------------------------------------ */
/* The run                                                             */
/* ------------------------------------------------------------------ */

static dsr1_status train(struct grpo *g, const struct grpo_flags *flags, dsr1_error *err)
{
    int steps = flags->options.steps;
    struct display display = {.start = clock_seconds(), .first = grpo_steps_done(g)};
    struct grpo_report report;
    double reward;
    if (!flags->quiet)
        fprintf(stderr, "%d prompts, %zu weights to train, %s\n", g->prompts.n, g->trainable.n,
                display.first ? "going on from the checkpoint" : "from the start");
    dsr1_status status = grpo_begin(g, &reward, err);
    if (status == DSR1_OK && !flags->quiet && !isnan(reward))
        fprintf(stderr, "step 0  aside %.3f\n", reward);
    while (status == DSR1_OK && !grpo_is_over(g) && !stopped) {
        status = grpo_step(g, &report, err);
        if (status == DSR1_OK && !flags->quiet)
            show(&display, &report, steps);
    }
    tool_progress_end();
    if (status == DSR1_ERR_CANCELLED)
        stopped = 1;
    if (stopped && (status == DSR1_OK || status == DSR1_ERR_CANCELLED))
        return grpo_save(g, err);
    return status == DSR1_OK ? grpo_finish(g, err) : status;
}

/* The program that started this one: it goes, and so do we; Ctrl-C in its terminal is for it alone. */
static dsr1_status follow_parent(int fd, dsr1_error *err)
{
    struct stat about;
    if (fd == 0)
        return DSR1_OK;
    if (fstat(fd, &about) != 0 || !S_ISSOCK(about.st_mode))
        return error_set(err, DSR1_ERR_ARGUMENT, "--parent-fd %d is not a socket", fd);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    return DSR1_OK;
}

/* The last line that it gets: "failed STATUS REASON", as dsr1-engine says it. */
static void tell_failure(int fd, const dsr1_error *err)
{
    if (fd > 0)
        dprintf(fd, "failed %d %s\n", (int) err->status, err->message);
}

/* A program that keeps the adapter may be killed before it has: it takes the checkpoint away itself. */
static dsr1_status finish(struct grpo *g, dsr1_error *err)
{
    if (g->options.parent > 0)
        return grpo_parent_done(g, err);
    unlink(g->checkpoint);
    return DSR1_OK;
}

static int run(struct grpo_flags *flags)
{
    struct grpo grpo;
    dsr1_error err = {0};
    int parent = flags->options.parent;
    catch_signals(parent == 0);
    flags->options.stop = &stopped;
    dsr1_status status = follow_parent(parent, &err);
    if (status == DSR1_OK)
        status = grpo_open(&flags->options, &grpo, &err);
    if (status == DSR1_OK) {
        status = train(&grpo, flags, &err);
        if (status == DSR1_OK && !stopped)
            status = finish(&grpo, &err);
        else if (status == DSR1_OK && !flags->quiet)
            fprintf(stderr, "stopped at step %lld; --resume goes on\n", (long long) grpo.told);
        grpo_close(&grpo);
    }
    if (status != DSR1_OK)
        tell_failure(parent, &err);
    if (status == DSR1_OK && stopped)
        tool_die_of_interrupt();
    return status == DSR1_OK ? 0 : tool_fail("grpo", &err);
}

static int check(const struct command_line *line, struct grpo_flags *f)
{
    struct grpo_options *o = &f->options;
    if (!o->prompts)
        return options_wrong(line, "--prompts is missing");
    if (!o->output)
        return options_wrong(line, "-o is missing");
    if ((o->reward != NULL) + (o->reward_command != NULL) + (o->parent > 0) != 1)
        return options_wrong(line, "one of --reward and --reward-cmd is wanted");
    if (!trainable_parse(f->lora, &o->trainable.lora))
        return options_wrong(line, "--lora %s: not a list of attn, q, k, v, o, ffn, shared, experts, down", f->lora);
    if (!optimizer_parse_schedule(f->schedule, &o->optimizer.schedule))
        return options_wrong(line, "--schedule %s: must be constant, cosine or linear", f->schedule);
    if (!policy_parse_mean(f->loss, &o->policy.mean))
        return options_wrong(line, "--loss %s: must be dapo, grpo, bnpo or dr_grpo", f->loss);
    if (!policy_parse_scale(f->scale, &o->scale))
        return options_wrong(line, "--scale %s: must be group, batch or none", f->scale);
    if (!grpo_parse_overlong(f->overlong, &o->overlong))
        return options_wrong(line, "--overlong %s: must be mask, keep or penalty", f->overlong);
    o->policy.clip_low = (double) f->clip_low;
    o->policy.clip_high = (double) f->clip_high;
    o->policy.delta = (double) f->delta;
    o->policy.beta = (double) f->beta;
    o->reward_timeout = (double) f->timeout;
    o->has_until = !isnan(f->until);
    o->until = (double) f->until;
    o->trainable.whole = f->router ? TRAINABLE_ROUTER : 0;
    return OPTIONS_GO;
}

#define FILE_ROWS(f) \
    TOOL_MODEL_ROW(&(f).options.model), \
    {'p', "prompts", OPTION_STRING, &(f).options.prompts, "FILE", "a prompt a line, or .jsonl (docs/training.md)", 0, 0}, \
    {0, "eval", OPTION_STRING, &(f).options.eval_prompts, "FILE", "prompts to look at, never to learn from", 0, 0}, \
    {'o', "output", OPTION_STRING, &(f).options.output, "ADAPTER", "the adapter to write", 0, 0}, \
    {0, "init", OPTION_STRING, &(f).options.init, "ADAPTER", "start from this adapter", 0, 0}, \
    {0, "log", OPTION_STRING, &(f).options.log, "FILE", "JSON lines, one a step", 0, 0}, \
    {0, "samples", OPTION_STRING, &(f).options.samples, "FILE", "JSON lines, one an answer", 0, 0}, \
    {0, "reward", OPTION_STRING, &(f).options.reward, "NAME", "json, label, match or length", 0, 0}, \
    {0, "reward-cmd", OPTION_STRING, &(f).options.reward_command, "COMMAND", "answers JSON lines with rewards", 0, 0}, \
    {0, "reward-timeout", OPTION_FLOAT, &(f).timeout, "SECONDS", "for all answers of a step (60)", 0.001, 1e6}, \
    {0, "parent-fd", OPTION_INT, &(f).options.parent, "FD", "a socket to the program that gives rewards (grpo_parent.h)", 3, \
     65536}, \
    {0, "digests", OPTION_STRING, &(f).options.digests, "FILE", "with it: notes the SHA-256 of model files there", 0, 0}, \
    {0, "raw", OPTION_FLAG, &(f).options.raw, NULL, "prompts as they are, without the chat template", 0, 0}

#define POLICY_ROWS(f) \
    {0, "steps", OPTION_INT, &(f).options.steps, "N", "steps (100)", 0, 0}, \
    {0, "batch", OPTION_INT, &(f).options.n_prompts, "N", "prompts per step (4)", 0, 0}, \
    {0, "group", OPTION_INT, &(f).options.group, "N", "answers per prompt (8)", 0, 0}, \
    {'n', "max-tokens", OPTION_INT, &(f).options.max_tokens, "N", "tokens of an answer (64)", 0, 0}, \
    {0, "refill", OPTION_INT, &(f).options.refill, "N", "rounds that replace groups without spread (1)", 0, 0}, \
    {0, "updates", OPTION_INT, &(f).options.updates, "N", "of the adapter per step (1)", 0, 0}, \
    {0, "loss", OPTION_STRING, &(f).loss, "NAME", "mean over tokens: dapo (default), grpo, bnpo or dr_grpo", 0, 0}, \
    {0, "sequence-ratio", OPTION_FLAG, &(f).options.policy.sequence_ratio, NULL, "ratios of whole answers (GSPO)", 0, 0}, \
    {0, "clip-low", OPTION_FLOAT, &(f).clip_low, "X", "ratios count down to 1 - X (0.2)", 0, 0}, \
    {0, "clip-high", OPTION_FLOAT, &(f).clip_high, "X", "and up to 1 + X (0.28)", 0, 0}, \
    {0, "delta", OPTION_FLOAT, &(f).delta, "X", "and never more than this (0: no limit)", 0, 0}, \
    {0, "beta", OPTION_FLOAT, &(f).beta, "X", "weight of the divergence from the model as it was (0)", 0, 0}, \
    {0, "scale", OPTION_STRING, &(f).scale, "NAME", "rewards over the spread of their group (default), batch or none", 0, 0}, \
    {0, "overlong", OPTION_STRING, &(f).overlong, "NAME", "answers cut off: mask (default), keep or penalty", 0, 0}, \
    {0, "overlong-buffer", OPTION_INT, &(f).options.overlong_buffer, "N", "tokens over which the penalty grows (16)", 0, 0}

#define LEARNING_ROWS(f) \
    {0, "rank", OPTION_INT, &(f).options.trainable.rank, "N", "rank of the adapters (8)", 0, 0}, \
    {0, "alpha", OPTION_FLOAT, &(f).options.trainable.alpha, "X", "adapters count alpha / rank (16)", 0, 0}, \
    {0, "lora", OPTION_STRING, &(f).lora, "KINDS", "what gets an adapter (attn,ffn,shared)", 0, 0}, \
    {0, "router", OPTION_FLAG, &(f).router, NULL, "train the routers, too", 0, 0}, \
    {0, "experts", OPTION_INT, &(f).options.n_used, "K", "experts per token (as the file says)", 0, 0}, \
    {0, "lr", OPTION_FLOAT, &(f).options.optimizer.rate, "X", "learning rate (2e-4)", 0, 0}, \
    {0, "schedule", OPTION_STRING, &(f).schedule, "NAME", "constant (default), cosine or linear", 0, 0}, \
    {0, "warmup", OPTION_INT, &(f).options.optimizer.warmup, "N", "updates until the full learning rate (5)", 0, 0}, \
    {0, "decay", OPTION_FLOAT, &(f).options.optimizer.decay, "X", "weight decay (0)", 0, 0}, \
    {0, "clip", OPTION_FLOAT, &(f).options.optimizer.clip, "X", "the gradient's norm is cut to this (1)", 0, 0}, \
    {0, "eval-every", OPTION_INT, &(f).options.eval_every, "N", "steps between looks aside (20)", 0, 0}, \
    {0, "until", OPTION_FLOAT, &(f).until, "X", "the run is over when it sees this much reward aside", 0, 0}, \
    {0, "eval-temp", OPTION_FLOAT, &(f).options.eval_temperature, "T", "temperature of these answers (1)", 0, 0}, \
    {0, "save-every", OPTION_INT, &(f).options.save_every, "N", "steps between checkpoints (10)", 0, 0}, \
    {0, "resume", OPTION_FLAG, &(f).options.resume, NULL, "go on from the last checkpoint, where there is one", 0, 0}, \
    {0, "seed", OPTION_SEED, &(f).options.seed, "N", "of adapters, order and answers (1)", 0, 0}, \
    {'t', "threads", OPTION_INT, &(f).options.threads, "N", "threads (default: the cores of this process)", 0, 0}, \
    {'q', "quiet", OPTION_FLAG, &(f).quiet, NULL, "print failures only", 0, 0}

/* Numbers that SQL has, too, have their ranges in one place. */
static void take_ranges(struct option_row *rows)
{
    for (; rows->name; rows++) {
        const struct wire_grpo_option *o = wire_grpo_flag(rows->name);
        if (o && (rows->type == OPTION_INT || rows->type == OPTION_FLOAT)) {
            rows->min = o->least;
            rows->max = o->most;
        }
    }
}

int tool_grpo(int argc, char **argv)
{
    struct grpo_flags f = {
        .options = {.optimizer = optimizer_defaults(), .trainable = {.rank = 8, .alpha = 16}, .steps = 100, .n_prompts = 4,
                    .group = 8, .refill = 1, .updates = 1, .max_tokens = 64, .overlong_buffer = 16, .eval_every = 20,
                    .eval_temperature = 1, .save_every = 10, .seed = 1},
        .lora = "attn,ffn,shared", .schedule = "constant", .loss = "dapo", .scale = "group", .overlong = "mask",
        .clip_low = 0.2f, .clip_high = 0.28f, .timeout = 60, .until = NAN,
    };
    struct option_row rows[] = {FILE_ROWS(f), POLICY_ROWS(f), LEARNING_ROWS(f), {0}};
    const struct command_line line = {
        "dsr1 grpo", "[-m MODEL] --prompts FILE (--reward NAME | --reward-cmd COMMAND) -o ADAPTER",
        "Samples groups of answers to prompts, has them rewarded, and trains an adapter to give the better ones.", rows, 0};
    dsr1_error err = {0};
    take_ranges(rows);
    int first, go = options_parse(&line, argc, argv, &first);
    if (go == OPTIONS_GO)
        go = check(&line, &f);
    if (go == OPTIONS_GO && !(f.options.model = tool_model_path(f.options.model, &err)))
        go = tool_fail("grpo", &err);
    return go == OPTIONS_GO ? run(&f) : go;
}
