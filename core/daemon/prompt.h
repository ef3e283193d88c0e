/*
 * prompt.h - what a client sent, as tokens for a model
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_PROMPT_H
#define DAEMON_PROMPT_H

#include "daemon/served.h"
#include "wire/wire_message.h"

struct prompt {
    int32_t *ids;
    size_t n;
    bool is_chat;           /* what stands within <think></think> is no part of the answer */
    bool reasoning_open;    /* the prompt ended in <think> */
};

/*
 * Tokens of a prompt; no lock is needed. constrained: the answer has to have a
 * given form, so a model that reasons is asked not to, unless the client wants
 * it. DSR1_ERR_LIMIT where it cannot fit the context, before the work is done;
 * DSR1_ERR_UNSUPPORTED where the model has no chat template, no gap tokens or no
 * reasoning.
 */
dsr1_status prompt_open(const struct served *served, const struct wire_prompt *from, bool constrained,
                        struct prompt *prompt, dsr1_error *err);
void prompt_close(struct prompt *prompt);

/* Appends a text's tokens to ids, which may grow; flags as in dsr1_tokenize(). */
dsr1_status prompt_append(const struct served *served, struct wire_text text, int flags, int32_t **ids, size_t *n,
                          dsr1_error *err);

#endif
