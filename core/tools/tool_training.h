/*
 * tool_training.h - what dsr1 sft and dsr1 distill share
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TOOLS_TOOL_TRAINING_H
#define TOOLS_TOOL_TRAINING_H

#include "tools/tool.h"
#include "train/training.h"

struct training_flags {
    struct training_options options;
    struct string_list data;
    const char *lora, *whole, *schedule, *experts;
    bool quiet;
};

/* Defaults, before the options are parsed. */
void tool_training_defaults(struct training_flags *flags);

/* Rows that both tables hold, less the models'. */
#define TOOL_TRAINING_ROWS(f) \
    {'d', "data", OPTION_STRINGS, &(f).data, "FILE", "text, or .jsonl (docs/training.md); may be given often", 0, 0}, \
    {'o', "output", OPTION_STRING, &(f).options.output, "ADAPTER", "the adapter to write", 0, 0}, \
    {0, "init", OPTION_STRING, &(f).options.init, "ADAPTER", "start from this adapter", 0, 0}, \
    {0, "log", OPTION_STRING, &(f).options.log, "FILE", "JSON lines, one a step", 0, 0}, \
    {0, "steps", OPTION_INT, &(f).options.optimizer.steps, "N", "batches to learn from (100)", 1, 1e9}, \
    {0, "batch", OPTION_INT, &(f).options.batch, "N", "sequences per batch (8)", 1, 65536}, \
    {0, "seq", OPTION_INT, &(f).options.seq, "N", "tokens per sequence, at most (256)", 8, 65536}, \
    {0, "rank", OPTION_INT, &(f).options.trainable.rank, "N", "rank of the adapters (8)", 1, 4096}, \
    {0, "alpha", OPTION_FLOAT, &(f).options.trainable.alpha, "X", "adapters count alpha / rank (16)", 0, 65536}, \
    {0, "lora", OPTION_STRING, &(f).lora, "KINDS", \
     "what gets an adapter: attn, q, k, v, o, ffn, shared, experts, down, all", 0, 0}, \
    {0, "lr", OPTION_FLOAT, &(f).options.optimizer.rate, "X", "learning rate (2e-4)", 0, 10}, \
    {0, "schedule", OPTION_STRING, &(f).schedule, "NAME", "constant (default), cosine or linear", 0, 0}, \
    {0, "warmup", OPTION_INT, &(f).options.optimizer.warmup, "N", "steps until the full learning rate (5)", 0, 1e9}, \
    {0, "beta1", OPTION_FLOAT, &(f).options.optimizer.beta1, "X", "AdamW's first beta (0.9)", 0, 0.9999}, \
    {0, "beta2", OPTION_FLOAT, &(f).options.optimizer.beta2, "X", "AdamW's second beta (0.99)", 0, 0.99999}, \
    {0, "decay", OPTION_FLOAT, &(f).options.optimizer.decay, "X", "weight decay (0)", 0, 10}, \
    {0, "clip", OPTION_FLOAT, &(f).options.optimizer.clip, "X", "the gradient's norm is cut to this (1); 0: never", \
     0, 1e9}, \
    {0, "experts", OPTION_STRING, &(f).experts, "K|A-B", "experts per token, or drawn anew each batch", 0, 0}, \
    {0, "eval", OPTION_INT, &(f).options.n_eval, "N", "sequences set aside to look at (0)", 0, 65536}, \
    {0, "eval-every", OPTION_INT, &(f).options.eval_every, "N", "steps between looking at them (50)", 1, 1e9}, \
    {0, "save-every", OPTION_INT, &(f).options.save_every, "N", "steps between checkpoints (50)", 0, 1e9}, \
    {0, "resume", OPTION_FLAG, &(f).options.resume, NULL, "go on from the last checkpoint, where there is one", 0, 0}, \
    {0, "seed", OPTION_SEED, &(f).options.seed, "N", "of adapters, order and draws (1)", 0, 0}, \
    {'t', "threads", OPTION_INT, &(f).options.threads, "N", "threads (default: the cores of this process)", 1, 1024}, \
    {'q', "quiet", OPTION_FLAG, &(f).quiet, NULL, "print the result only", 0, 0}

/* Checks what the table cannot. OPTIONS_GO, or the exit status after a complaint. */
int tool_training_check(const struct command_line *line, struct training_flags *flags);

/* Trains and reports; returns the exit status. `unit` names the loss. Releases flags. */
int tool_training_run(const char *name, struct training_flags *flags, const char *unit);

#endif
