/*
 * merge.c - an adapter made part of a model file
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/merge.h"

#include "base/error.h"
#include "base/memory.h"
#include "gguf/gguf_write.h"
#include "kernel/encode.h"
#include "kernel/kernel.h"
#include "model/lora_file.h"
#include "train/real.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct merging {
    struct gguf *base, *adapter;
    struct gguf_writer *writer;
    const struct merge_options *options;
    struct merge_result *result;
    struct lora_file_pair *pairs;     /* for each tensor of the base */
    bool *changes;
    int n_pairs;
    dsr1_error *err;
};

static bool has_whole_blocks(enum tensor_type type, int64_t n)
{
    return n % tensor_type_block(type) == 0;
}

static enum tensor_type type_for(const struct merging *m, size_t index)
{
    const struct gguf_tensor *t = gguf_tensor_at(m->base, index);
    if (!m->changes[index] || t->type == TENSOR_F32)
        return t->type;
    enum tensor_type type = m->options->type >= 0 ? (enum tensor_type) m->options->type : t->type;
    if (!encode_knows(type))
        type = TENSOR_Q8_0;
    return has_whole_blocks(type, t->ne[0]) ? type : TENSOR_F16;
}

/* Which tensors the adapter names; all of its tensors must find one. */
static dsr1_status find_pairs(struct merging *m)
{
    struct gguf_string architecture = {"", 0};
    char name[64];
    dsr1_status status = gguf_get_string(m->base, "general.architecture", &architecture, m->err);
    if (status != DSR1_OK)
        return status;
    size_t size = architecture.size < sizeof name - 1 ? architecture.size : sizeof name - 1;
    memcpy(name, architecture.bytes, size);
    name[size] = 0;
    status = lora_file_check(m->adapter, name, m->err);
    for (size_t i = 0; i < gguf_n_tensors(m->base) && status == DSR1_OK; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(m->base, i);
        status = lora_file_pair(m->adapter, t->name, t->ne[0], t->ne[1], t->ne[2], &m->pairs[i], &m->changes[i], m->err);
        m->n_pairs += m->changes[i];
    }
    if (status == DSR1_OK && 2 * (size_t) m->n_pairs != gguf_n_tensors(m->adapter))
        status = error_set(m->err, DSR1_ERR_FORMAT, "adapter %s has tensors that the model has not",
                           gguf_path(m->adapter));
    return status;
}

/* w (n_out x n_in of one matrix) += strength scale B A. */
static void add_product(const struct merging *m, const struct lora_file_pair *pair, const struct gguf_tensor *t,
                        int64_t mat, float *a, float *b, float *w)
{
    size_t size_a = (size_t) pair->rank * (size_t) t->ne[0], size_b = (size_t) pair->rank * (size_t) t->ne[1];
    lora_file_floats(pair->a, (size_t) mat * size_a, size_a, a);
    lora_file_floats(pair->b, (size_t) mat * size_b, size_b, b);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int) t->ne[1], (int) t->ne[0], pair->rank,
                m->options->strength * pair->scale, b, pair->rank, a, (int) t->ne[0], 1, w, (int) t->ne[0]);
}

static dsr1_status write_row(struct merging *m, enum tensor_type type, const struct gguf_tensor *t, const float *row,
                             uint8_t *bytes, float *back)
{
    int n = (int) t->ne[0];
    float largest = 0, off = 0;
    for (int i = 0; i < n; i++) {
        if (!isfinite(row[i]))
            return error_set(m->err, DSR1_ERR_FORMAT, "tensor %s has weights that are no finite numbers", t->name);
        largest = fmaxf(largest, fabsf(row[i]));
    }
    encode_row(type, row, n, bytes);
    dequantize_row(type, bytes, n, back);
    for (int i = 0; i < n; i++)
        off = fmaxf(off, fabsf(back[i] - row[i]));
    if (largest > 0)
        m->result->worst = fmax(m->result->worst, (double) (off / largest));
    gguf_write_data(m->writer, bytes, tensor_type_row(type, (size_t) n));
    return DSR1_OK;
}

static dsr1_status write_changed(struct merging *m, size_t index)
{
    const struct gguf_tensor *t = gguf_tensor_at(m->base, index);
    const struct lora_file_pair *pair = &m->pairs[index];
    enum tensor_type type = type_for(m, index);
    size_t n_in = (size_t) t->ne[0], n_out = (size_t) t->ne[1], rank = (size_t) pair->rank;
    size_t row_size = tensor_type_row(t->type, n_in);
    float *w = memory_array(n_out, n_in * sizeof *w), *a = memory_array(rank, n_in * sizeof *a);
    float *b = memory_array(rank, n_out * sizeof *b), *back = memory_array(n_in, sizeof *back);
    uint8_t *bytes = memory_array(1, tensor_type_row(type, n_in));
    dsr1_status status = w && a && b && back && bytes ? DSR1_OK : error_nomem(m->err, t->name);
    for (int64_t mat = 0; mat < t->ne[2] && status == DSR1_OK; mat++) {
        for (size_t r = 0; r < n_out; r++)
            dequantize_row(t->type, t->data + ((size_t) mat * n_out + r) * row_size, (int) n_in, w + r * n_in);
        add_product(m, pair, t, mat, a, b, w);
        for (size_t r = 0; r < n_out && status == DSR1_OK; r++)
            status = write_row(m, type, t, w + r * n_in, bytes, back);
    }
    free(w);
    free(a);
    free(b);
    free(back);
    free(bytes);
    return status;
}

static dsr1_status write_all(struct merging *m)
{
    dsr1_status status = DSR1_OK;
    size_t n = gguf_n_tensors(m->base);
    gguf_write_copy_all(m->writer, m->base, NULL, NULL);
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(m->base, i);
        gguf_write_tensor(m->writer, t->name, type_for(m, i), t->n_dims, t->ne);
    }
    for (size_t i = 0; i < n && status == DSR1_OK; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(m->base, i);
        if (!m->changes[i]) {
            gguf_write_data(m->writer, t->data, t->size);
            continue;
        }
        if (m->options->progress)
            m->options->progress(m->options->user, m->result->n_changed, m->n_pairs, t->name);
        status = write_changed(m, i);
        m->result->n_changed++;
    }
    return status;
}

dsr1_status merge_files(const char *base, const char *adapter, const char *to, const struct merge_options *options,
                        struct merge_result *result, dsr1_error *err)
{
    struct merging m = {.options = options, .result = result, .err = err};
    *result = (struct merge_result){0};
    dsr1_status status = gguf_open(base, &m.base, err);
    if (status == DSR1_OK)
        status = gguf_open(adapter, &m.adapter, err);
    if (status == DSR1_OK) {
        m.pairs = memory_array(gguf_n_tensors(m.base), sizeof *m.pairs);
        m.changes = memory_array(gguf_n_tensors(m.base), sizeof *m.changes);
        status = m.pairs && m.changes ? find_pairs(&m) : error_nomem(err, "the table of tensors");
    }
    if (status == DSR1_OK)
        status = gguf_write_open(to, &m.writer, err);
    if (status == DSR1_OK) {
        status = write_all(&m);
        if (status == DSR1_OK)
            status = gguf_write_commit(m.writer, err);
        else
            gguf_write_abort(m.writer);
    }
    free(m.pairs);
    free(m.changes);
    gguf_close(m.adapter);
    gguf_close(m.base);
    return status;
}
