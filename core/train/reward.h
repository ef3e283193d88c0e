/*
 * reward.h - what an answer is worth
 *
 * Built-in rewards look at the answer and at the prompt's meta; a command gets JSON lines and answers with some
 * (reward_command.c). A reward that cannot be told is NAN: the answer then has no part in its group's mean, and the
 * failure is counted and kept.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_REWARD_H
#define TRAIN_REWARD_H

#include "dsr1.h"

#include <signal.h>

struct reward_item {
    const char *prompt;
    const char *meta;           /* JSON text */
    const char *answer;         /* bytes, also followed by a zero */
    size_t size;
    dsr1_finish finish;
    int n_tokens;
};

struct reward_command;

typedef double (*reward_fn)(const struct reward_item *item);

struct reward {
    reward_fn built_in;
    struct reward_command *command;
    const volatile sig_atomic_t *stop;  /* not 0: reward_score() gives up with DSR1_ERR_CANCELLED; may be NULL */
    int n_errors;               /* of the last call */
    char last_error[300];
};

/*
 * A built-in reward:
 *   json       1 for a JSON object that has exactly meta.keys, of meta.types and with meta.values where these name them;
 *              less for nearer misses (docs/training.md)
 *   label      1 for meta.answer, 0.1 for another of meta.labels, 0 else
 *   match      1 for meta.answer, surrounding space aside
 *   length     1 less the distance from meta.tokens, over it
 * DSR1_ERR_ARGUMENT for another name.
 */
dsr1_status reward_open(const char *name, struct reward *reward, dsr1_error *err);

/* A shell command that lives as long as the reward. timeout: seconds for all answers of one call. */
dsr1_status reward_open_command(const char *command, double timeout, struct reward *reward, dsr1_error *err);

/*
 * The program that started this one, on the other end of a socket: asked like a command, but if it goes, that is
 * DSR1_ERR_CANCELLED. It has its own time limits. The socket stays the caller's.
 */
dsr1_status reward_open_socket(int fd, struct reward *reward, dsr1_error *err);

void reward_close(struct reward *reward);       /* accepts a zeroed one */

/* "end", "stop" or "length" */
const char *reward_finish_name(dsr1_finish finish);

/* Fills values (n). DSR1_ERR_IO when the command cannot be run; failures of single answers are NAN. */
dsr1_status reward_score(struct reward *reward, const struct reward_item *items, int n, double *values,
                         dsr1_error *err);

/* For reward_command.c and its caller: notes the reason of a NAN. */
void reward_failed(struct reward *reward, const char *why);

/* reward_command.c */
dsr1_status reward_command_open(const char *command, double timeout, struct reward_command **out, dsr1_error *err);
dsr1_status reward_command_open_socket(int fd, struct reward_command **out, dsr1_error *err);
struct line_peer *reward_command_peer(struct reward_command *c);
void reward_command_close(struct reward_command *c);
dsr1_status reward_command_score(struct reward *reward, const struct reward_item *items, int n, double *values,
                                 dsr1_error *err);

#endif
