/*
 * api_model.c - dsr1.h: open a model, read its text rules
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "api/handle.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static char *copy_name(const struct gguf *gguf)
{
    struct gguf_string name = {"", 0};
    gguf_get_string(gguf, "general.name", &name, NULL);
    return strndup(name.bytes, name.size);
}

static dsr1_status open_parts(dsr1_model *m, dsr1_error *err)
{
    struct gguf *gguf;
    dsr1_status status = gguf_open(m->path, &gguf, err);
    if (status != DSR1_OK)
        return status;
    status = model_open(gguf, &m->model, err);
    if (status != DSR1_OK)
        return status;
    m->name = copy_name(gguf);
    if (!m->name)
        return error_nomem(err, "a model");
    status = tokenizer_open(gguf, &m->tokenizer, err);
    if (status == DSR1_OK && tokenizer_n_vocab(m->tokenizer) > m->model.shape.n_vocab)
        status = error_set(err, DSR1_ERR_FORMAT, "tokenizer has %d tokens, but tensor token_embd.weight %d rows",
                           tokenizer_n_vocab(m->tokenizer), m->model.shape.n_vocab);
    if (status == DSR1_OK)
        status = chat_template_open(gguf, m->tokenizer, &m->chat, err);
    return status;
}

dsr1_status dsr1_model_open(const char *path, dsr1_model **model, dsr1_error *err)
{
    *model = NULL;
    dsr1_model *m = memory_array(1, sizeof *m);
    if (m)
        m->path = strdup(path);
    if (!m || !m->path) {
        free(m);
        return error_nomem(err, "a model");
    }
    dsr1_status status = open_parts(m, err);
    if (status != DSR1_OK) {
        dsr1_model_close(m);
        return status;
    }
    *model = m;
    return DSR1_OK;
}

void dsr1_model_close(dsr1_model *m)
{
    if (!m)
        return;
    chat_template_close(&m->chat);
    tokenizer_close(m->tokenizer);
    model_close(&m->model);
    free(m->name);
    free(m->path);
    free(m);
}

void dsr1_model_get_info(const dsr1_model *m, dsr1_model_info *info)
{
    const struct model_shape *s = &m->model.shape;
    *info = (dsr1_model_info){
        .path = m->path,
        .name = m->name,
        .architecture = s->architecture,
        .file_type = tensor_type_name(m->model.weights.main_type),
        .template_name = chat_family_name(m->chat.family),
        .n_parameters = m->model.weights.n_parameters,
        .size = m->model.weights.size,
        .n_layers = s->n_layers,
        .n_embd = s->n_embd,
        .n_vocab = s->n_vocab,
        .n_experts = s->n_experts,
        .n_experts_used = s->n_used,
        .n_context_train = s->n_context,
        .has_fim = tokenizer_fim_prefix(m->tokenizer) >= 0 && tokenizer_fim_suffix(m->tokenizer) >= 0 &&
                   tokenizer_fim_middle(m->tokenizer) >= 0,
        .reasons = m->chat.opens_reasoning || m->chat.closes_reasoning || m->chat.keeps_last_reasoning,
        .opens_reasoning = m->chat.opens_reasoning,
        .bos = tokenizer_bos(m->tokenizer),
        .eos = tokenizer_eos(m->tokenizer),
    };
}

ptrdiff_t dsr1_tokenize(const dsr1_model *m, const char *text, size_t size, int flags, int32_t *tokens,
                        size_t capacity)
{
    return tokenizer_encode(m->tokenizer, text, size, flags, tokens, capacity);
}

size_t dsr1_token_bytes(const dsr1_model *m, int32_t token, bool special, char *bytes, size_t capacity)
{
    return tokenizer_token_bytes(m->tokenizer, token, special, bytes, capacity);
}

bool dsr1_token_is_end(const dsr1_model *m, int32_t token)
{
    return tokenizer_is_end(m->tokenizer, token);
}

int32_t dsr1_token_find(const dsr1_model *m, const char *text)
{
    return tokenizer_find(m->tokenizer, text);
}

dsr1_status dsr1_chat_render(const dsr1_model *m, const dsr1_message *messages, size_t n_messages,
                             int flags, char **text, dsr1_error *err)
{
    struct buffer out = {0};
    *text = NULL;
    dsr1_status status = chat_render(&m->chat, messages, n_messages, flags, &out, NULL, err);
    if (status == DSR1_OK) {
        buffer_append(&out, "", 0);
        if (out.failed)
            status = error_nomem(err, "a prompt");
    }
    if (status != DSR1_OK) {
        buffer_free(&out);
        return status;
    }
    *text = out.data;
    return DSR1_OK;
}

ptrdiff_t dsr1_chat_tokens(const dsr1_model *m, const dsr1_message *messages, size_t n_messages,
                           int flags, int32_t *tokens, size_t capacity, dsr1_error *err)
{
    return chat_encode(&m->chat, m->tokenizer, messages, n_messages, flags, tokens, capacity, err);
}

ptrdiff_t dsr1_fim_tokens(const dsr1_model *m, const char *prefix, size_t prefix_size, const char *suffix,
                          size_t suffix_size, int32_t *tokens, size_t capacity, dsr1_error *err)
{
    size_t blank = 0;
    while (blank < suffix_size && memchr(" \t\r\n", suffix[blank], 4))
        blank++;
    if (blank == suffix_size && tokenizer_fim_middle(m->tokenizer) >= 0)
        return dsr1_tokenize(m, prefix, prefix_size, DSR1_ADD_BOS, tokens, capacity);
    return fim_encode(m->tokenizer, prefix, prefix_size, suffix, suffix_size, tokens, capacity, err);
}

void dsr1_free(void *memory)
{
    free(memory);
}
