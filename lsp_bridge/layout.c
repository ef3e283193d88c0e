/*
 * layout.c - the order in which a model reads the surroundings
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "layout.h"

#include "base/error.h"
#include "base/memory.h"
#include "blank.h"

#include <stdlib.h>
#include <string.h>

void layout_free(struct layout *layout)
{
    free(layout->tokens);
    *layout = (struct layout){0};
}

static bool reserve(struct layout *layout, size_t n)
{
    if (n <= layout->capacity)
        return true;
    int32_t *tokens = memory_resize(layout->tokens, n, sizeof *tokens);
    if (!tokens)
        return false;
    layout->tokens = tokens;
    layout->capacity = n;
    return true;
}

/* Appends the tokens of a text. A token has at least one byte, but for BOS and EOS. */
static dsr1_status append_text(struct layout *layout, const struct model_host *host, const char *text, size_t size,
                               int flags, dsr1_error *err)
{
    if (!reserve(layout, layout->n_tokens + size + 2))
        return error_nomem(err, "prompt");
    ptrdiff_t n = dsr1_tokenize(host->model, text, size, flags, layout->tokens + layout->n_tokens, size + 2);
    if (n < 0)
        return error_set(err, (dsr1_status) n, "cannot tokenise the prompt");
    layout->n_tokens += (size_t) n < size + 2 ? (size_t) n : size + 2;
    return DSR1_OK;
}

static dsr1_status append_fim(struct layout *layout, const struct model_host *host, const struct buffer *above,
                              const struct buffer *suffix, dsr1_error *err)
{
    size_t capacity = above->size + suffix->size + 16;
    if (!reserve(layout, capacity))
        return error_nomem(err, "prompt");
    ptrdiff_t n = dsr1_fim_tokens(host->model, above->data, above->size, suffix->data, suffix->size, layout->tokens,
                                  capacity, err);
    if (n < 0)
        return (dsr1_status) n;
    layout->n_tokens = (size_t) n < capacity ? (size_t) n : capacity;
    n = dsr1_tokenize(host->model, suffix->data, suffix->size, 0, NULL, 0);
    layout->n_suffix = n > 0 ? (size_t) n : 0;
    return DSR1_OK;
}

dsr1_status layout_chat(struct layout *layout, const struct model_host *host, const char *system, const char *user,
                        const char *known, size_t known_size, dsr1_error *err)
{
    dsr1_message messages[] = {{"system", system}, {"user", user}};
    size_t capacity = strlen(system) + strlen(user) + 256;
    if (!reserve(layout, capacity))
        return error_nomem(err, "prompt");
    ptrdiff_t n = dsr1_chat_tokens(host->model, messages, 2, DSR1_CHAT_ANSWER | DSR1_CHAT_NO_THINK, layout->tokens,
                                   capacity, err);
    if (n < 0)
        return (dsr1_status) n;
    layout->n_tokens = (size_t) n < capacity ? (size_t) n : capacity;
    layout->mode = PROMPT_CHAT;
    return append_text(layout, host, known, known_size, 0, err);
}

dsr1_status layout_tokens(struct layout *layout, const struct draft *draft, dsr1_error *err)
{
    if (!reserve(layout, layout->n_tokens + draft->n_tokens))
        return error_nomem(err, "prompt");
    for (size_t i = 0; i < draft->n_tokens; i++) {
        if (draft->tokens[i].id >= 0)
            layout->tokens[layout->n_tokens++] = draft->tokens[i].id;
    }
    return DSR1_OK;
}

static dsr1_status append_hole(struct layout *layout, const struct model_host *host, const struct buffer *above,
                               const struct buffer *suffix, const struct buffer *typed, dsr1_error *err)
{
    struct buffer user = {0};
    buffer_string(&user, "Write what stands in the place of <HOLE> in this file, and nothing else.\n\n");
    buffer_append(&user, above->data, above->size);
    buffer_string(&user, "<HOLE>");
    buffer_append(&user, suffix->data, suffix->size);
    dsr1_status status = user.failed ? error_nomem(err, "prompt")
                                     : layout_chat(layout, host, "You complete program text.", user.data, typed->data,
                                                   typed->size, err);
    buffer_free(&user);
    return status;
}

/* The prompt in one mode. Where nothing is below there is no hole. */
static dsr1_status build(struct layout *layout, const struct model_host *host, const struct buffer *above,
                         const struct buffer *suffix, const struct buffer *typed, dsr1_error *err)
{
    layout->n_tokens = layout->n_suffix = 0;
    if (host->prompt == PROMPT_FIM && !is_blank(suffix->data, suffix->size)) {
        dsr1_status status = append_fim(layout, host, above, suffix, err);
        layout->mode = PROMPT_FIM;
        return status < 0 ? status : append_text(layout, host, typed->data, typed->size, 0, err);
    }
    if (host->prompt == PROMPT_HOLE) {
        dsr1_status status = append_hole(layout, host, above, suffix, typed, err);
        layout->mode = PROMPT_HOLE;
        return status;
    }
    struct buffer text = {0};
    buffer_append(&text, above->data, above->size);
    buffer_append(&text, typed->data, typed->size);
    layout->mode = PROMPT_PREFIX_ONLY;
    dsr1_status status = text.failed ? error_nomem(err, "prompt")
                                     : append_text(layout, host, text.data, text.size, DSR1_ADD_BOS, err);
    buffer_free(&text);
    return status;
}

/* The bytes to leave out in front so that about `excess` tokens less remain: whole lines, if there are any. */
static size_t bytes_to_drop(const char *text, size_t size, size_t n_tokens, size_t excess)
{
    size_t drop = n_tokens > 0 ? (size_t) ((double) size * (double) (excess + 64) / (double) n_tokens) : size;
    if (drop >= size)
        return size;
    const char *end = memchr(text + drop, '\n', size - drop);
    return end ? (size_t) (end - text) + 1 : drop;
}

dsr1_status layout_build(struct layout *layout, const struct model_host *host, const struct layout_parts *parts,
                         size_t max_tokens, dsr1_error *err)
{
    const struct surroundings *around = parts->around;
    struct buffer above = {0}, typed = {0};
    if (parts->context)
        buffer_append(&above, parts->context->data, parts->context->size);
    buffer_append(&above, around->prefix.data, around->prefix.size - around->typed);
    buffer_append(&typed, surroundings_typed(around), around->typed);
    buffer_append(&typed, parts->known, parts->known_size);
    dsr1_status status = typed.failed || above.failed ? error_nomem(err, "prompt") : DSR1_OK;
    while (status == DSR1_OK) {
        status = build(layout, host, &above, &around->suffix, &typed, err);
        if (status < 0 || layout->n_tokens <= max_tokens)
            break;
        if (above.size == 0) {
            status = error_set(err, DSR1_ERR_LIMIT, "the line does not fit the context");
            break;
        }
        size_t drop = bytes_to_drop(above.data, above.size, layout->n_tokens, layout->n_tokens - max_tokens);
        buffer_drop(&above, drop);
        layout->n_dropped += drop;
    }
    buffer_free(&above);
    buffer_free(&typed);
    return status;
}
