/*
 * upcycle_write.c - the file of an upcycled model
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/upcycle_write.h"

#include "base/error.h"
#include "base/memory.h"
#include "gguf/gguf_write.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct writing {
    const struct gguf *dense;
    struct gguf_writer *writer;
    const struct upcycle_options *options;
    const struct upcycled_shape *shape;
    const struct upcycled_layer *layers;
    dsr1_error *err;
};

static bool is(struct gguf_string key, const char *text)
{
    return key.size == strlen(text) && memcmp(key.bytes, text, key.size) == 0;
}

static bool begins(struct gguf_string key, const char *text)
{
    return key.size >= strlen(text) && memcmp(key.bytes, text, strlen(text)) == 0;
}

/* In the order of upcycle_options.fim. */
enum { N_FIM = 3 };
static const char *const fim_keys[N_FIM] = {"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.fim_suf_token_id",
                                            "tokenizer.ggml.fim_mid_token_id"};

static bool is_rewritten(struct gguf_string key, void *user)
{
    const struct writing *w = user;
    for (int i = 0; i < N_FIM && w->options->fim; i++)
        if (is(key, fim_keys[i]))
            return true;
    return begins(key, "llama.") || is(key, "general.architecture") || (w->options->name && is(key, "general.name"));
}

/* llama.X becomes deepseek.X. */
static dsr1_status rename_key(const struct writing *w, size_t index)
{
    struct gguf_string key = gguf_key_at(w->dense, index), text;
    enum gguf_type type = gguf_key_type_at(w->dense, index);
    char from[120], to[128];
    int64_t number = 0;
    float value = 0;
    bool truth = false;
    dsr1_status status = DSR1_OK;
    if (key.size >= 100)
        return error_set(w->err, DSR1_ERR_FORMAT, "a key of %zu bytes", key.size);
    snprintf(from, sizeof from, "%.*s", (int) key.size, key.bytes);
    snprintf(to, sizeof to, "deepseek.%.100s", from + strlen("llama."));
    switch (type) {
    case GGUF_F32:
    case GGUF_F64:
        status = gguf_get_float(w->dense, from, &value, w->err);
        gguf_write_float(w->writer, to, value);
        break;
    case GGUF_BOOL:
        status = gguf_get_bool(w->dense, from, &truth, w->err);
        gguf_write_bool(w->writer, to, truth);
        break;
    case GGUF_STRING:
        status = gguf_get_string(w->dense, from, &text, w->err);
        if (status == DSR1_OK)
            gguf_write_string(w->writer, to, text);
        break;
    case GGUF_ARRAY:
        return error_set(w->err, DSR1_ERR_UNSUPPORTED, "key %s: layers that differ cannot be upcycled", from);
    default:
        status = gguf_get_int(w->dense, from, &number, w->err);
        gguf_write_int(w->writer, to, type, number);
    }
    return status;
}

static void write_count(const struct writing *w, const char *key, int value)
{
    char full[80];
    snprintf(full, sizeof full, "deepseek.%s", key);
    gguf_write_int(w->writer, full, GGUF_U32, value);
}

static dsr1_status write_fim_keys(const struct writing *w)
{
    struct tokenizer *tokenizer;
    const char *at = w->options->fim;
    dsr1_status status = tokenizer_open(w->dense, &tokenizer, w->err);
    for (int i = 0; i < N_FIM && status == DSR1_OK; i++) {
        size_t size = strcspn(at, ",");
        int32_t id = -1;
        if (tokenizer_encode(tokenizer, at, size, DSR1_PARSE_SPECIAL, &id, 1) != 1 || id < 0)
            status = error_set(w->err, DSR1_ERR_ARGUMENT, "\"%.*s\" is no token of this vocabulary", (int) size, at);
        gguf_write_int(w->writer, fim_keys[i], GGUF_U32, id);
        at += size + (at[size] == ',');
    }
    gguf_write_text(w->writer, VOCAB_FIM_ORDER, w->options->fim_order);
    tokenizer_close(tokenizer);
    return status;
}

static dsr1_status write_keys(const struct writing *w)
{
    dsr1_status status = DSR1_OK;
    const struct upcycled_shape *s = w->shape;
    gguf_write_text(w->writer, "general.architecture", "deepseek");
    if (w->options->name)
        gguf_write_text(w->writer, "general.name", w->options->name);
    gguf_write_copy_all(w->writer, w->dense, is_rewritten, (void *) w);
    for (size_t i = 0; i < gguf_n_keys(w->dense) && status == DSR1_OK; i++)
        if (begins(gguf_key_at(w->dense, i), "llama."))
            status = rename_key(w, i);
    write_count(w, "expert_count", s->n_experts);
    write_count(w, "expert_used_count", w->options->n_default > 0 ? w->options->n_default : w->options->n_used);
    write_count(w, "expert_shared_count", s->n_shared / s->width);
    write_count(w, "expert_feed_forward_length", s->width);
    write_count(w, "leading_dense_block_count", 0);
    gguf_write_float(w->writer, "deepseek.expert_weights_scale", (float) s->n_experts);
    if (status == DSR1_OK && w->options->fim)
        status = write_fim_keys(w);
    return status;
}

static const struct gguf_tensor *ffn_tensor(const struct writing *w, int layer, const char *kind)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.ffn_%s.weight", layer, kind);
    return gguf_find_tensor(w->dense, name);
}

static void declare(const struct writing *w, int layer, const char *name, enum tensor_type type, int n_dims,
                    int64_t n0, int64_t n1, int64_t n2)
{
    char full[64];
    int64_t ne[] = {n0, n1, n2};
    snprintf(full, sizeof full, "blk.%d.%s.weight", layer, name);
    gguf_write_tensor(w->writer, full, type, n_dims, ne);
}

static void declare_layer(const struct writing *w, int layer)
{
    const struct upcycled_shape *s = w->shape;
    enum tensor_type gate = ffn_tensor(w, layer, "gate")->type, up = ffn_tensor(w, layer, "up")->type;
    enum tensor_type down = s->down_type;
    declare(w, layer, "ffn_gate_inp", TENSOR_F32, 2, s->d, s->n_experts, 1);
    declare(w, layer, "ffn_gate_exps", gate, 3, s->d, s->width, s->n_experts);
    declare(w, layer, "ffn_up_exps", up, 3, s->d, s->width, s->n_experts);
    declare(w, layer, "ffn_down_exps", down, 3, s->width, s->d, s->n_experts);
    if (s->n_shared == 0)
        return;
    declare(w, layer, "ffn_gate_shexp", gate, 2, s->d, s->n_shared, 1);
    declare(w, layer, "ffn_up_shexp", up, 2, s->d, s->n_shared, 1);
    declare(w, layer, "ffn_down_shexp", down, 2, s->n_shared, s->d, 1);
}

static void write_rows(const struct writing *w, const struct gguf_tensor *t, const int *order, int n)
{
    size_t row = tensor_type_row(t->type, (size_t) t->ne[0]);
    for (int i = 0; i < n; i++)
        gguf_write_data(w->writer, t->data + (size_t) order[i] * row, row);
}

static void write_layer(const struct writing *w, int layer)
{
    const struct upcycled_shape *s = w->shape;
    const struct upcycled_layer *l = &w->layers[layer];
    const struct gguf_tensor *gate = ffn_tensor(w, layer, "gate"), *up = ffn_tensor(w, layer, "up");
    int n_routed = s->n_experts * s->width;
    enum tensor_type down = s->down_type;
    for (size_t i = 0; i < (size_t) s->n_experts * (size_t) s->d; i++) {
        float value = (float) l->router[i];
        gguf_write_data(w->writer, &value, sizeof value);
    }
    write_rows(w, gate, l->order + s->n_shared, n_routed);
    write_rows(w, up, l->order + s->n_shared, n_routed);
    gguf_write_data(w->writer, l->down,
                    (size_t) s->n_experts * (size_t) s->d * tensor_type_row(down, (size_t) s->width));
    if (s->n_shared == 0)
        return;
    write_rows(w, gate, l->order, s->n_shared);
    write_rows(w, up, l->order, s->n_shared);
    gguf_write_data(w->writer, l->down_shared, (size_t) s->d * tensor_type_row(down, (size_t) s->n_shared));
}

/* Dense feed-forward matrices are replaced; the gate's place is where their heirs stand. */
static bool is_ffn(const char *name, int *layer, bool *gate)
{
    char kind[16];
    if (sscanf(name, "blk.%d.ffn_%15[a-z].weight", layer, kind) != 2)
        return false;
    *gate = strcmp(kind, "gate") == 0;
    return *gate || strcmp(kind, "up") == 0 || strcmp(kind, "down") == 0;
}

static void write_tensors(const struct writing *w)
{
    size_t n = gguf_n_tensors(w->dense);
    int layer;
    bool gate;
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(w->dense, i);
        if (!is_ffn(t->name, &layer, &gate))
            gguf_write_tensor(w->writer, t->name, t->type, t->n_dims, t->ne);
        else if (gate)
            declare_layer(w, layer);
    }
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(w->dense, i);
        if (!is_ffn(t->name, &layer, &gate))
            gguf_write_data(w->writer, t->data, t->size);
        else if (gate)
            write_layer(w, layer);
    }
}

dsr1_status upcycle_write(const struct gguf *dense, const char *to, const struct upcycle_options *options,
                          const struct upcycled_shape *shape, const struct upcycled_layer *layers, dsr1_error *err)
{
    struct writing w = {.dense = dense, .options = options, .shape = shape, .layers = layers, .err = err};
    dsr1_status status = gguf_write_open(to, &w.writer, err);
    if (status != DSR1_OK)
        return status;
    status = write_keys(&w);
    if (status != DSR1_OK) {
        gguf_write_abort(w.writer);
        return status;
    }
    write_tensors(&w);
    return gguf_write_commit(w.writer, err);
}
