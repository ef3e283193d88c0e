/*
 * mkmodel_keys.c - a shape as metadata keys
 *
 * What the options --set and --unset name is written as they say, or not at
 * all: so a file can lack any key or hold it in another type.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "mkmodel.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct keys {
    const struct mkmodel_shape *shape;
    const struct mkmodel_wishes *wishes;
    struct gguf_writer *writer;
};

/* Keys belong to the architecture unless they say otherwise. */
static const char *full_key(const struct mkmodel_shape *s, const char *key, size_t size, char full[160])
{
    bool outer = strncmp(key, "general.", 8) == 0 || strncmp(key, "tokenizer.", 10) == 0;
    snprintf(full, 160, "%s%s%.*s", outer ? "" : s->arch, outer ? "" : ".", (int) size, key);
    return full;
}

static bool names(const struct mkmodel_shape *s, const struct string_list *list, const char *full)
{
    char other[160];
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(full_key(s, list->items[i], strcspn(list->items[i], "="), other), full) == 0)
            return true;
    return false;
}

bool mkmodel_keys_taken(const struct mkmodel_shape *shape, const struct mkmodel_wishes *wishes, const char *key)
{
    char full[160];
    full_key(shape, key, strlen(key), full);
    return names(shape, &wishes->set, full) || names(shape, &wishes->unset, full);
}

static void put_int(const struct keys *k, const char *key, int value)
{
    char full[160];
    if (!mkmodel_keys_taken(k->shape, k->wishes, key))
        gguf_write_int(k->writer, full_key(k->shape, key, strlen(key), full), GGUF_U32, value);
}

static void put_float(const struct keys *k, const char *key, float value)
{
    char full[160];
    if (!mkmodel_keys_taken(k->shape, k->wishes, key))
        gguf_write_float(k->writer, full_key(k->shape, key, strlen(key), full), value);
}

static void put_text(const struct keys *k, const char *key, const char *value)
{
    char full[160];
    if (!mkmodel_keys_taken(k->shape, k->wishes, key))
        gguf_write_text(k->writer, full_key(k->shape, key, strlen(key), full), value);
}

static void put_int_if(const struct keys *k, const char *key, int value)
{
    if (value)
        put_int(k, key, value);
}

static void put_float_if(const struct keys *k, const char *key, float value)
{
    if (value != 0)
        put_float(k, key, value);
}

static void put_attention(const struct keys *k)
{
    const struct mkmodel_shape *s = k->shape;
    put_int(k, "attention.head_count", s->heads);
    put_float(k, "attention.layer_norm_rms_epsilon", s->eps);
    put_int_if(k, "attention.sliding_window", s->window);
    put_float_if(k, "attention.scale", s->attention_scale);
    put_int_if(k, "rope.dimension_count", s->rot);
    if (s->kv_lora == 0) {
        put_int_if(k, "attention.head_count_kv", s->kv_heads);
        put_int_if(k, "attention.key_length", s->head_k);
        put_int_if(k, "attention.value_length", s->head_v);
        return;
    }
    put_int_if(k, "attention.q_lora_rank", s->q_lora);
    put_int(k, "attention.kv_lora_rank", s->kv_lora);
    put_int(k, "attention.head_count_kv", s->old_kv_b ? s->heads : 1);
    put_int(k, "attention.key_length", s->old_kv_b ? s->head_k : s->kv_lora + s->rot);
    put_int(k, "attention.value_length", s->old_kv_b ? s->head_v : s->kv_lora);
    if (!s->old_kv_b) {
        put_int(k, "attention.key_length_mla", s->head_k);
        put_int(k, "attention.value_length_mla", s->head_v);
    }
}

static void put_rope(const struct keys *k)
{
    const struct mkmodel_shape *s = k->shape;
    put_float_if(k, "rope.freq_base", s->rope_base);
    if (s->rope_scaling)
        put_text(k, "rope.scaling.type", s->rope_scaling);
    put_float_if(k, "rope.scaling.factor", s->rope_factor);
    put_int_if(k, "rope.scaling.original_context_length", s->rope_original);
    put_float_if(k, "rope.scaling.attn_factor", s->attn_factor);
    put_float_if(k, "rope.scaling.yarn_log_multiplier", s->log_multiplier);
}

static void put_experts(const struct keys *k)
{
    const struct mkmodel_shape *s = k->shape;
    char full[160];
    if (s->experts == 0)
        return;
    put_int(k, "expert_count", s->experts);
    put_int(k, "expert_used_count", s->used);
    put_int_if(k, "expert_feed_forward_length", s->ff_expert);
    put_int_if(k, "expert_shared_feed_forward_length", s->ff_shared);
    if (strncmp(s->arch, "deepseek", 8) == 0) {
        put_int(k, "leading_dense_block_count", s->dense);
        put_int(k, "expert_shared_count", s->shared);
        put_float_if(k, "expert_weights_scale", s->weights_scale);
    }
    put_int_if(k, "expert_gating_func", s->gating);
    put_int_if(k, "expert_group_count", s->groups);
    put_int_if(k, "expert_group_used_count", s->groups_used);
    if (s->weights_norm && !mkmodel_keys_taken(s, k->wishes, "expert_weights_norm"))
        gguf_write_bool(k->writer, full_key(s, "expert_weights_norm", 19, full), true);
}

/* ------------------------------------------------------------------ */
/* --set KEY=TYPE:VALUE                                                */
/* ------------------------------------------------------------------ */

static const struct {
    const char *name;
    enum gguf_type type;
} value_types[] = {
    {"u8", GGUF_U8},   {"i8", GGUF_I8},   {"u16", GGUF_U16}, {"i16", GGUF_I16},   {"u32", GGUF_U32},
    {"i32", GGUF_I32}, {"u64", GGUF_U64}, {"i64", GGUF_I64}, {"f32", GGUF_F32},   {"f64", GGUF_F64},
    {"str", GGUF_STRING}, {"bool", GGUF_BOOL}
};

static size_t element_size(enum gguf_type type)
{
    static const size_t sizes[GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return sizes[type];
}

/* "1,2,3" as an array of a fixed-size type. */
static bool set_array(struct gguf_writer *w, const char *key, enum gguf_type type, const char *values)
{
    size_t size = element_size(type), capacity = strlen(values) / 2 + 1, n = 0;
    uint8_t *bytes = memory_array(capacity, sizeof(uint64_t));
    while (bytes && size > 0 && *values) {
        char *end;
        double real = strtod(values, &end);
        int64_t whole = strtoll(values, NULL, 10);
        float single = (float) real;
        const void *from = type == GGUF_F64 ? (void *) &real : type == GGUF_F32 ? (void *) &single : (void *) &whole;
        memcpy(bytes + size * n++, from, size);
        values = *end == ',' ? end + 1 : end;
        if (end == values)
            break;
    }
    bool ok = bytes && size > 0 && *values == 0;
    if (ok)
        gguf_write_array(w, key, type, bytes, n);
    free(bytes);
    return ok;
}

static bool set_scalar(struct gguf_writer *w, const char *key, enum gguf_type type, const char *value)
{
    char *end = "";
    if (type == GGUF_STRING)
        gguf_write_text(w, key, value);
    else if (type == GGUF_BOOL)
        gguf_write_bool(w, key, strcmp(value, "true") == 0);
    else if (type == GGUF_F32)
        gguf_write_float(w, key, strtof(value, &end));
    else if (type == GGUF_F64)
        gguf_write_double(w, key, strtod(value, &end));
    else
        gguf_write_int(w, key, type, strtoll(value, &end, 10));
    return *end == 0;
}

static bool set_key(const struct keys *k, const char *wish)
{
    char full[160];
    size_t key_size = strcspn(wish, "=");
    if (wish[key_size] == 0)
        return false;
    full_key(k->shape, wish, key_size, full);
    wish += key_size + 1;
    for (size_t i = 0; i < sizeof value_types / sizeof *value_types; i++) {
        size_t n = strlen(value_types[i].name);
        if (strncmp(wish, value_types[i].name, n) != 0)
            continue;
        if (wish[n] == ':')
            return set_scalar(k->writer, full, value_types[i].type, wish + n + 1);
        if (strncmp(wish + n, "[]:", 3) == 0)
            return set_array(k->writer, full, value_types[i].type, wish + n + 3);
    }
    return false;
}

dsr1_status mkmodel_keys_write(const struct mkmodel_shape *s, const struct mkmodel_wishes *wishes,
                               struct gguf_writer *writer, dsr1_error *err)
{
    struct keys keys = {s, wishes, writer}, *k = &keys;
    put_text(k, "general.architecture", s->arch);
    put_text(k, "general.name", s->name);
    put_int(k, "general.file_type", mkmodel_plan_file_type(wishes->type));
    put_int(k, "general.quantization_version", 2);
    put_int(k, "context_length", s->context);
    put_int(k, "embedding_length", s->embd);
    put_int(k, "block_count", s->layers + s->nextn);
    put_int_if(k, "nextn_predict_layers", s->nextn);
    put_int_if(k, "feed_forward_length", s->ff);
    put_int(k, "vocab_size", s->vocab);
    put_attention(k);
    put_rope(k);
    put_experts(k);
    put_float_if(k, "embedding_scale", s->embedding_scale);
    put_float_if(k, "residual_scale", s->residual_scale);
    put_float_if(k, "logit_scale", s->logit_scale);
    for (size_t i = 0; i < wishes->set.n; i++)
        if (!set_key(k, wishes->set.items[i]))
            return error_set(err, DSR1_ERR_ARGUMENT, "--set %s: not KEY=TYPE:VALUE or KEY=TYPE[]:VALUE,VALUE..",
                             wishes->set.items[i]);
    return DSR1_OK;
}
