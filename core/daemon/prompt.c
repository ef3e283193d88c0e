/*
 * prompt.c - what a client sent, as tokens for a model
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/prompt.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

void prompt_close(struct prompt *prompt)
{
    free(prompt->ids);
    *prompt = (struct prompt){0};
}

/* Refuses what cannot fit before it is cut into tokens: a long text would hold up everybody else meanwhile. */
static dsr1_status check_size(const struct served *served, size_t size, dsr1_error *err)
{
    if (size > (size_t) served->context_size * served->longest_token)
        return error_set(err, DSR1_ERR_LIMIT, "prompt has %zu bytes, which cannot fit a context of %d tokens", size,
                         served->context_size);
    return DSR1_OK;
}

/* The core takes strings that end with a zero byte, so none may lie within. */
static char *copy_text(struct wire_text text, const char *what, dsr1_error *err)
{
    if (text.size > 0 && memchr(text.data, 0, text.size)) {
        error_set(err, DSR1_ERR_ARGUMENT, "%s holds a zero byte", what);
        return NULL;
    }
    char *copy = malloc(text.size + 1);
    if (!copy) {
        error_nomem(err, what);
        return NULL;
    }
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    return copy;
}

/* What the encoders below have in common: the ids that fit, and how many there are. */
typedef ptrdiff_t (*encode_fn)(const struct served *served, const void *what, int32_t *ids, size_t capacity,
                               dsr1_error *err);

/* A guess of one token for two bytes is nearly always enough; when it is not, the first call told how many there are. */
static dsr1_status encode_all(const struct served *served, encode_fn encode, const void *what, size_t size,
                              int32_t **ids, size_t *n, dsr1_error *err)
{
    size_t capacity = size / 2 + 64;
    for (;;) {
        int32_t *room = memory_resize(*ids, *n + capacity, sizeof *room);
        if (!room)
            return error_nomem(err, "the prompt's tokens");
        *ids = room;
        ptrdiff_t found = encode(served, what, room + *n, capacity, err);
        if (found < 0)
            return (dsr1_status) found;
        if ((size_t) found <= capacity) {
            *n += (size_t) found;
            return DSR1_OK;
        }
        capacity = (size_t) found;
    }
}

/* ---- Texts ---- */

struct text_source {
    struct wire_text text;
    int flags;
};

static ptrdiff_t encode_text(const struct served *served, const void *what, int32_t *ids, size_t capacity,
                             dsr1_error *err)
{
    const struct text_source *source = what;
    ptrdiff_t n = dsr1_tokenize(served->model, source->text.data, source->text.size, source->flags, ids, capacity);
    return n < 0 ? error_nomem(err, "the prompt's tokens") : n;
}

dsr1_status prompt_append(const struct served *served, struct wire_text text, int flags, int32_t **ids, size_t *n,
                          dsr1_error *err)
{
    struct text_source source = {text, flags};
    dsr1_status status = check_size(served, text.size, err);
    if (status < 0 || (text.size == 0 && flags == 0))
        return status;
    return encode_all(served, encode_text, &source, text.size, ids, n, err);
}

static ptrdiff_t encode_fim(const struct served *served, const void *what, int32_t *ids, size_t capacity,
                            dsr1_error *err)
{
    const struct wire_turn *parts = what;
    return dsr1_fim_tokens(served->model, parts[0].content.data, parts[0].content.size, parts[1].content.data,
                           parts[1].content.size, ids, capacity, err);
}

/* ---- Conversations ---- */

struct chat_source {
    dsr1_message *messages;
    size_t n;
    int flags;
};

static ptrdiff_t encode_chat(const struct served *served, const void *what, int32_t *ids, size_t capacity,
                             dsr1_error *err)
{
    const struct chat_source *source = what;
    return dsr1_chat_tokens(served->model, source->messages, source->n, source->flags, ids, capacity, err);
}

static dsr1_status copy_turns(const struct wire_prompt *from, dsr1_message *messages, dsr1_error *err)
{
    for (uint32_t i = 0; i < from->n_turns; i++) {
        messages[i].role = copy_text(from->turns[i].role, "a role", err);
        messages[i].content = messages[i].role ? copy_text(from->turns[i].content, "the prompt", err) : NULL;
        if (!messages[i].content)
            return err->status;
    }
    return DSR1_OK;
}

static void free_turns(dsr1_message *messages, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        free((char *) messages[i].role);
        free((char *) messages[i].content);
    }
}

static dsr1_status open_chat(const struct served *served, const struct wire_prompt *from, bool constrained,
                             size_t size, struct prompt *prompt, dsr1_error *err)
{
    dsr1_message messages[WIRE_TURN_MAX] = {{0}};
    bool no_think = from->think == WIRE_THINK_OFF || (from->think == WIRE_THINK_DEFAULT && constrained);
    struct chat_source source = {messages, from->n_turns, DSR1_CHAT_ANSWER | (no_think ? DSR1_CHAT_NO_THINK : 0)};
    if (from->think == WIRE_THINK_ON && !served->info.reasons)
        return error_set(err, DSR1_ERR_UNSUPPORTED, "the model does not reason");
    dsr1_status status = copy_turns(from, messages, err);
    if (status == DSR1_OK)
        status = encode_all(served, encode_chat, &source, size, &prompt->ids, &prompt->n, err);
    free_turns(messages, from->n_turns);
    prompt->is_chat = true;
    prompt->reasoning_open = served->info.opens_reasoning && !no_think;
    if (status == DSR1_OK && constrained && !no_think && !prompt->reasoning_open) {
        /* Where a constraint shall begin behind the reasoning, the reasoning must have begun. */
        status = prompt_append(served, wire_text("<think>\n"), DSR1_PARSE_SPECIAL, &prompt->ids, &prompt->n, err);
        prompt->reasoning_open = true;
    }
    return status;
}

dsr1_status prompt_open(const struct served *served, const struct wire_prompt *from, bool constrained,
                        struct prompt *prompt, dsr1_error *err)
{
    size_t size = 0;
    *prompt = (struct prompt){0};
    for (uint32_t i = 0; i < from->n_turns; i++)
        size += from->turns[i].content.size + from->turns[i].role.size;
    dsr1_status status = check_size(served, size, err);
    if (status == DSR1_OK && from->kind == WIRE_PROMPT_RAW)
        status = prompt_append(served, from->turns[0].content, DSR1_ADD_BOS, &prompt->ids, &prompt->n, err);
    else if (status == DSR1_OK && from->kind == WIRE_PROMPT_FIM)
        status = encode_all(served, encode_fim, from->turns, size, &prompt->ids, &prompt->n, err);
    else if (status == DSR1_OK)
        status = open_chat(served, from, constrained, size, prompt, err);
    if (status == DSR1_OK)
        status = prompt_append(served, from->opening, 0, &prompt->ids, &prompt->n, err);
    if (status < 0)
        prompt_close(prompt);
    return status;
}
