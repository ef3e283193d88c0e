/*
 * adapter.c - trained weights as a GGUF adapter that llama.cpp loads, too
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/adapter.h"

#include "base/error.h"
#include "base/memory.h"
#include "gguf/gguf_write.h"
#include "model/lora_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

static bool is_pair(const struct param *p)
{
    return ends_with(p->name, ".lora_a") || ends_with(p->name, ".lora_b");
}

/* ------------------------------------------------------------------ */
/* Writing                                                             */
/* ------------------------------------------------------------------ */

static dsr1_status check_writable(const struct trainable *t, dsr1_error *err)
{
    for (int i = 0; i < t->n_params; i++) {
        const struct param *p = &t->params[i];
        if (is_pair(p))
            continue;
        if (p->n_dims != 2 || p->ne[1] > ADAPTER_MAX_EXACT)
            return error_set(err, DSR1_ERR_UNSUPPORTED, "the change of %s does not fit into an adapter: merge it",
                             p->name);
    }
    return DSR1_OK;
}

static void write_infos(const struct trainable *t, struct gguf_writer *writer)
{
    for (int i = 0; i < t->n_params; i++) {
        const struct param *p = &t->params[i];
        char name[LINEAR_NAME + 16];
        if (is_pair(p)) {
            gguf_write_tensor(writer, p->name, TENSOR_F32, p->n_dims, p->ne);
            continue;
        }
        int64_t unit[2] = {p->ne[1], p->ne[1]};
        snprintf(name, sizeof name, "%s.lora_a", p->name);
        gguf_write_tensor(writer, name, TENSOR_F32, 2, p->ne);
        snprintf(name, sizeof name, "%s.lora_b", p->name);
        gguf_write_tensor(writer, name, TENSOR_F32, 2, unit);
    }
}

static void write_floats(struct gguf_writer *writer, const real *x, const real *less, size_t n)
{
    float piece[1024];
    for (size_t i = 0; i < n; i += 1024) {
        size_t m = n - i < 1024 ? n - i : 1024;
        for (size_t j = 0; j < m; j++)
            piece[j] = (float) (less ? x[i + j] - less[i + j] : x[i + j]);
        gguf_write_data(writer, piece, m * sizeof *piece);
    }
}

/* The unit matrix over the scale that a reader will multiply with. */
static void write_unit(struct gguf_writer *writer, int64_t n, float alpha)
{
    float row[ADAPTER_MAX_EXACT];
    for (int64_t r = 0; r < n; r++) {
        for (int64_t i = 0; i < n; i++)
            row[i] = i != r ? 0 : alpha > 0 ? (float) n / alpha : 1;
        gguf_write_data(writer, row, (size_t) n * sizeof *row);
    }
}

dsr1_status adapter_write(const struct trainable *t, const char *path, dsr1_error *err)
{
    struct gguf_writer *writer;
    dsr1_status status = check_writable(t, err);
    if (status == DSR1_OK)
        status = gguf_write_open(path, &writer, err);
    if (status != DSR1_OK)
        return status;
    gguf_write_text(writer, "general.type", "adapter");
    gguf_write_text(writer, "general.architecture", t->net->shape.architecture);
    gguf_write_text(writer, "adapter.type", "lora");
    gguf_write_float(writer, "adapter.lora.alpha", t->options.alpha);
    write_infos(t, writer);
    for (int i = 0; i < t->n_params; i++) {
        const struct param *p = &t->params[i];
        write_floats(writer, t->value + p->at, is_pair(p) ? NULL : p->before, p->n);
        if (!is_pair(p))
            write_unit(writer, p->ne[1], t->options.alpha);
    }
    return gguf_write_commit(writer, err);
}

/* ------------------------------------------------------------------ */
/* Reading                                                             */
/* ------------------------------------------------------------------ */

static void read_values(const struct gguf_tensor *tensor, real scale, real *to, size_t n)
{
    float piece[1024];
    for (size_t i = 0; i < n; i += 1024) {
        size_t m = n - i < 1024 ? n - i : 1024;
        lora_file_floats(tensor, i, m, piece);
        for (size_t j = 0; j < m; j++)
            to[i + j] = scale * (real) piece[j];
    }
}

/* value = before + scale B A. */
static dsr1_status read_whole(struct trainable *t, const struct param *p, const struct lora_file_pair *pair,
                              dsr1_error *err)
{
    int n_in = (int) p->ne[0], n_out = (int) p->ne[1];
    real *a = memory_array((size_t) pair->rank, (size_t) n_in * sizeof *a);
    real *b = memory_array((size_t) pair->rank, (size_t) n_out * sizeof *b);
    if (a && b) {
        read_values(pair->a, 1, a, (size_t) pair->rank * (size_t) n_in);
        read_values(pair->b, (real) pair->scale, b, (size_t) pair->rank * (size_t) n_out);
        memcpy(t->value + p->at, p->before, p->n * sizeof *t->value);
        real_gemm_nn(n_out, n_in, pair->rank, 1, b, pair->rank, a, n_in, 1, t->value + p->at, n_in);
    }
    dsr1_status status = a && b ? DSR1_OK : error_nomem(err, p->name);
    free(a);
    free(b);
    return status;
}

/* p is NAME.lora_a and the next param its B. The file's scale may differ from ours: B takes the quotient. */
static dsr1_status read_pair(struct trainable *t, const struct param *p, const struct lora_file_pair *pair,
                             dsr1_error *err)
{
    int rank = t->options.rank;
    real ours = t->options.alpha > 0 ? (real) t->options.alpha / (real) rank : 1;
    if (pair->rank != rank)
        return error_set(err, DSR1_ERR_FORMAT, "%s has rank %d instead of %d", p->name, pair->rank, rank);
    read_values(pair->a, 1, t->value + p[0].at, p[0].n);
    read_values(pair->b, (real) pair->scale / ours, t->value + p[1].at, p[1].n);
    return DSR1_OK;
}

static dsr1_status read_all(struct trainable *t, const struct gguf *file, dsr1_error *err)
{
    dsr1_status status = DSR1_OK;
    size_t n_read = 0;
    for (int i = 0; i < t->n_params && status == DSR1_OK; i++) {
        const struct param *p = &t->params[i];
        struct lora_file_pair pair;
        char name[LINEAR_NAME + 16];
        bool found = false, paired = is_pair(p);
        if (p->n_dims < 2)
            continue;
        snprintf(name, sizeof name, "%s", p->name);
        if (paired)
            name[strlen(name) - strlen(".lora_a")] = 0;
        status = lora_file_pair(file, name, p->ne[0], paired ? t->params[i + 1].ne[1] : p->ne[1], p->ne[2], &pair, &found,
                              err);
        if (status == DSR1_OK && found) {
            status = paired ? read_pair(t, p, &pair, err) : read_whole(t, p, &pair, err);
            n_read += 2;
        }
        i += paired;
    }
    if (status == DSR1_OK && n_read != gguf_n_tensors(file))
        status = error_set(err, DSR1_ERR_FORMAT, "adapter %s has tensors that are not trained here", gguf_path(file));
    return status;
}

dsr1_status adapter_read(struct trainable *t, const char *path, dsr1_error *err)
{
    struct gguf *file;
    dsr1_status status = gguf_open(path, &file, err);
    if (status != DSR1_OK)
        return status;
    status = lora_file_check(file, t->net->shape.architecture, err);
    if (status == DSR1_OK)
        status = read_all(t, file, err);
    gguf_close(file);
    return status;
}
