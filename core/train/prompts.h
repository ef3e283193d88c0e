/*
 * prompts.h - what a policy is asked while it learns
 *
 * A .jsonl file has an object a line: {"prompt": ..}, a question that goes through the chat template, with "system"
 * where wanted; or {"messages": [..]}; and "meta", any value, which is handed to the reward as it is. Any other file has
 * a question a line.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_PROMPTS_H
#define TRAIN_PROMPTS_H

#include "dsr1.h"

struct prompt {
    char *text;                 /* the question, the last message, or what stands before a hole */
    char *meta;                 /* JSON text; "null" without */
    int32_t *tokens;
    int n_tokens;
};

struct prompts {
    struct prompt *items;
    int n, longest;
    uint64_t hash;              /* of tokens and meta */
    int *order;                 /* of one epoch */
    uint64_t seed, epoch;       /* which one, counted from 1; 0: none yet */
};

/* raw: the text as it is, without the chat template. DSR1_ERR_FORMAT names the line; an empty file is one. */
dsr1_status prompts_open(const dsr1_model *model, const char *path, bool raw, struct prompts *prompts, dsr1_error *err);
void prompts_close(struct prompts *prompts);        /* accepts a zeroed one */

/* Number `at` of an endless row of epochs, each of which has every prompt once in an order of its own. */
int prompts_pick(struct prompts *prompts, uint64_t seed, uint64_t at);

#endif
