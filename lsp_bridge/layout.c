/*
 * layout.c - the order in which a model reads the surroundings
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "layout.h"

#include "base/error.h"
#include "base/memory.h"

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

static dsr1_status build_fim(struct layout *layout, const struct model_host *host, const char *above, size_t above_size,
                             const struct surroundings *around, const struct buffer *typed, dsr1_error *err)
{
    size_t capacity = above_size + around->suffix.size + 16;
    if (!reserve(layout, capacity))
        return error_nomem(err, "prompt");
    ptrdiff_t n = dsr1_fim_tokens(host->model, above, above_size, around->suffix.data, around->suffix.size,
                                  layout->tokens, capacity, err);
    if (n < 0)
        return (dsr1_status) n;
    layout->n_tokens = (size_t) n < capacity ? (size_t) n : capacity;
    layout->fim = true;
    return append_text(layout, host, typed->data, typed->size, 0, err);
}

/* The bytes to leave out at the top so that about `excess` tokens less remain: whole lines, if there are any. */
static size_t bytes_to_drop(const char *text, size_t size, size_t n_tokens, size_t excess)
{
    size_t drop = n_tokens > 0 ? (size_t) ((double) size * (double) (excess + 64) / (double) n_tokens) : size;
    if (drop >= size)
        return size;
    const char *end = memchr(text + drop, '\n', size - drop);
    return end ? (size_t) (end - text) + 1 : drop;
}

dsr1_status layout_build(struct layout *layout, const struct model_host *host, const struct surroundings *around,
                         const char *known, size_t known_size, size_t max_tokens, dsr1_error *err)
{
    const char *above = around->prefix.data;
    size_t above_size = around->prefix.size - around->typed;
    struct buffer typed = {0};
    buffer_append(&typed, surroundings_typed(around), around->typed);
    buffer_append(&typed, known, known_size);
    dsr1_status status = typed.failed ? error_nomem(err, "prompt") : DSR1_OK;
    while (status == DSR1_OK) {
        layout->n_tokens = 0;
        if (host->info.has_fim) {
            status = build_fim(layout, host, above, above_size, around, &typed, err);
        } else {
            struct buffer text = {0};
            buffer_append(&text, above, above_size);
            buffer_append(&text, typed.data, typed.size);
            status = text.failed ? error_nomem(err, "prompt")
                                 : append_text(layout, host, text.data, text.size, DSR1_ADD_BOS, err);
            buffer_free(&text);
        }
        if (status < 0 || layout->n_tokens <= max_tokens)
            break;
        if (above_size == 0) {
            status = error_set(err, DSR1_ERR_LIMIT, "the line does not fit the context");
            break;
        }
        size_t drop = bytes_to_drop(above, above_size, layout->n_tokens, layout->n_tokens - max_tokens);
        above += drop;
        above_size -= drop;
        layout->n_dropped += drop;
    }
    buffer_free(&typed);
    return status;
}
