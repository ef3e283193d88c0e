/*
 * lora_file.c - adapters in GGUF files, as llama.cpp has them
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/lora_file.h"

#include "base/error.h"
#include "base/float16.h"
#include "base/memory.h"
#include "model/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool text_is(const struct gguf *file, const char *key, const char *wanted)
{
    struct gguf_string text = {"", 0};
    return gguf_get_string(file, key, &text, NULL) == DSR1_OK && text.size == strlen(wanted) &&
           memcmp(text.bytes, wanted, text.size) == 0;
}

dsr1_status lora_file_check(const struct gguf *file, const char *architecture, dsr1_error *err)
{
    if (!text_is(file, "general.type", "adapter") || !text_is(file, "adapter.type", "lora"))
        return error_set(err, DSR1_ERR_FORMAT, "%s is no LoRA adapter", gguf_path(file));
    if (!text_is(file, "general.architecture", architecture))
        return error_set(err, DSR1_ERR_FORMAT, "adapter %s is for another architecture than %s", gguf_path(file),
                         architecture);
    return DSR1_OK;
}

void lora_file_floats(const struct gguf_tensor *tensor, size_t at, size_t n, float *to)
{
    if (tensor->type == TENSOR_F32) {
        memcpy(to, tensor->data + at * sizeof *to, n * sizeof *to);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, tensor->data + (at + i) * sizeof half, sizeof half);
        to[i] = f32_from_f16(half);
    }
}

static bool has_shape(const struct gguf_tensor *t, int64_t n0, int64_t n1, int64_t n2)
{
    return (t->type == TENSOR_F32 || t->type == TENSOR_F16) && t->ne[0] == n0 && t->ne[1] == n1 && t->ne[2] == n2 &&
           t->ne[3] == 1;
}

dsr1_status lora_file_pair(const struct gguf *file, const char *name, int64_t n_in, int64_t n_out, int64_t n_mats,
                         struct lora_file_pair *pair, bool *found, dsr1_error *err)
{
    char full[160];
    float alpha = 0;
    snprintf(full, sizeof full, "%.*s.lora_a", 140, name);
    pair->a = gguf_find_tensor(file, full);
    full[strlen(full) - 1] = 'b';
    pair->b = gguf_find_tensor(file, full);
    *found = pair->a && pair->b;
    if (!pair->a != !pair->b)
        return error_set(err, DSR1_ERR_FORMAT, "adapter %s has half a pair for %s", gguf_path(file), name);
    if (!*found)
        return DSR1_OK;
    int64_t rank = pair->b->ne[0];
    if (rank > INT32_MAX || !has_shape(pair->a, n_in, rank, n_mats) || !has_shape(pair->b, rank, n_out, n_mats))
        return error_set(err, DSR1_ERR_FORMAT, "adapter %s does not fit to %s", gguf_path(file), name);
    dsr1_status status = gguf_get_float(file, "adapter.lora.alpha", &alpha, err);
    pair->rank = (int) rank;
    pair->scale = alpha != 0 ? alpha / (float) rank : 1;
    if (status == DSR1_OK && !isfinite(pair->scale))
        status = error_set(err, DSR1_ERR_FORMAT, "adapter %s: adapter.lora.alpha is no finite number", gguf_path(file));
    return status;
}

/* ------------------------------------------------------------------ */
/* For serving                                                         */
/* ------------------------------------------------------------------ */

struct file_source {
    struct gguf *file;
    float *a, *b;           /* the pair asked for last */
};

static dsr1_status find_pair(void *user, const char *name, int n_in, int n_out, int n_mats, struct lora_values *v,
                             dsr1_error *err)
{
    struct file_source *f = user;
    struct lora_file_pair pair;
    bool found;
    dsr1_status status = lora_file_pair(f->file, name, n_in, n_out, n_mats, &pair, &found, err);
    if (status != DSR1_OK || !found)
        return status;
    size_t n_a = (size_t) n_in * (size_t) pair.rank * (size_t) n_mats;
    size_t n_b = (size_t) n_out * (size_t) pair.rank * (size_t) n_mats;
    free(f->a);
    free(f->b);
    f->a = memory_array(n_a, sizeof *f->a);
    f->b = memory_array(n_b, sizeof *f->b);
    if (!f->a || !f->b)
        return error_nomem(err, name);
    lora_file_floats(pair.a, 0, n_a, f->a);
    lora_file_floats(pair.b, 0, n_b, f->b);
    *v = (struct lora_values){pair.rank, pair.scale, f->a, f->b};
    return DSR1_OK;
}

dsr1_status lora_open_gguf(const struct model *model, struct gguf *file, struct lora **lora, dsr1_error *err)
{
    struct file_source f = {.file = file};
    struct lora_source source = {&f, gguf_path(file), gguf_n_tensors(file) / 2, find_pair};
    *lora = NULL;
    dsr1_status status = lora_file_check(file, model->shape.architecture, err);
    if (status == DSR1_OK && gguf_n_tensors(file) % 2 != 0)
        status = error_set(err, DSR1_ERR_FORMAT, "adapter %s has half a pair", source.name);
    if (status == DSR1_OK)
        status = lora_open(model, &source, lora, err);
    /* A file without a single pair has not been asked for it. */
    if (status == DSR1_OK && gguf_get_float(file, "adapter.lora.alpha", &(*lora)->alpha, NULL) != DSR1_OK)
        (*lora)->alpha = 0;
    free(f.a);
    free(f.b);
    return status;
}

dsr1_status lora_open_file(const struct model *model, const char *path, struct lora **lora, dsr1_error *err)
{
    struct gguf *file;
    *lora = NULL;
    dsr1_status status = gguf_open(path, &file, err);
    if (status != DSR1_OK)
        return status;
    status = lora_open_gguf(model, file, lora, err);
    gguf_close(file);
    return status;
}
