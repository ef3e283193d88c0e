/*
 * checkpoint.c - everything that a run needs to go on as if it had not stopped
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/checkpoint.h"

#include "base/error.h"
#include "gguf/gguf_write.h"

#include <string.h>

enum { VERSION = 2 };

uint64_t checkpoint_hash(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *byte = bytes;
    if (hash == 0)
        hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ byte[i]) * 0x100000001b3u;
    return hash;
}

/* Names and shapes of what is trained. */
static uint64_t tensors_hash(const struct trainable *t)
{
    uint64_t hash = 0;
    for (int i = 0; i < t->n_params; i++) {
        hash = checkpoint_hash(hash, t->params[i].name, strlen(t->params[i].name));
        hash = checkpoint_hash(hash, t->params[i].ne, sizeof t->params[i].ne);
    }
    return hash;
}

static void write_vector(struct gguf_writer *writer, const real *x, size_t n)
{
    float piece[1024];
    for (size_t i = 0; i < n; i += 1024) {
        size_t m = n - i < 1024 ? n - i : 1024;
        for (size_t j = 0; j < m; j++)
            piece[j] = (float) x[i + j];
        gguf_write_data(writer, piece, m * sizeof *piece);
    }
}

dsr1_status checkpoint_write(const struct trainable *t, const struct optimizer *o, uint64_t fingerprint,
                             const char *path, dsr1_error *err)
{
    struct gguf_writer *writer;
    int64_t ne[1] = {(int64_t) t->n};
    dsr1_status status = gguf_write_open(path, &writer, err);
    if (status != DSR1_OK)
        return status;
    gguf_write_text(writer, "general.type", "checkpoint");
    gguf_write_int(writer, "checkpoint.version", GGUF_U32, VERSION);
    gguf_write_int(writer, "checkpoint.step", GGUF_I64, o->step);
    gguf_write_int(writer, "checkpoint.fingerprint", GGUF_I64, (int64_t) fingerprint);
    gguf_write_int(writer, "checkpoint.tensors", GGUF_I64, (int64_t) tensors_hash(t));
    gguf_write_tensor(writer, "value", TENSOR_F32, 1, ne);
    gguf_write_tensor(writer, "moment1", TENSOR_F32, 1, ne);
    gguf_write_tensor(writer, "moment2", TENSOR_F32, 1, ne);
    write_vector(writer, t->value, t->n);
    write_vector(writer, o->m, t->n);
    write_vector(writer, o->v, t->n);
    return gguf_write_commit(writer, err);
}

static dsr1_status read_vector(const struct gguf *file, const char *name, real *x, size_t n, dsr1_error *err)
{
    const struct gguf_tensor *tensor = gguf_find_tensor(file, name);
    if (!tensor || tensor->type != TENSOR_F32 || tensor->size != n * sizeof(float))
        return error_set(err, DSR1_ERR_FORMAT, "checkpoint %s: tensor %s is missing or does not fit", gguf_path(file),
                         name);
    for (size_t i = 0; i < n; i++) {
        float f;
        memcpy(&f, tensor->data + i * sizeof f, sizeof f);
        x[i] = (real) f;
    }
    return DSR1_OK;
}

static dsr1_status check(const struct gguf *file, const struct trainable *t, uint64_t fingerprint, int64_t *step,
                         dsr1_error *err)
{
    int64_t version = 0, print = 0, tensors = 0;
    dsr1_status status = gguf_get_int(file, "checkpoint.version", &version, err);
    if (status == DSR1_OK)
        status = gguf_get_int(file, "checkpoint.step", step, err);
    if (status == DSR1_OK)
        status = gguf_get_int(file, "checkpoint.fingerprint", &print, err);
    if (status == DSR1_OK)
        status = gguf_get_int(file, "checkpoint.tensors", &tensors, err);
    if (status != DSR1_OK)
        return status;
    if (version != VERSION || *step < 0 || (uint64_t) tensors != tensors_hash(t))
        return error_set(err, DSR1_ERR_FORMAT, "%s is no checkpoint of these weights", gguf_path(file));
    if ((uint64_t) print != fingerprint)
        return error_set(err, DSR1_ERR_ARGUMENT, "checkpoint %s belongs to a run with other data or options",
                         gguf_path(file));
    return DSR1_OK;
}

dsr1_status checkpoint_read(struct trainable *t, struct optimizer *o, uint64_t fingerprint, const char *path,
                            dsr1_error *err)
{
    struct gguf *file;
    int64_t step = 0;
    dsr1_status status = gguf_open(path, &file, err);
    if (status != DSR1_OK)
        return status;
    status = check(file, t, fingerprint, &step, err);
    if (status == DSR1_OK)
        status = read_vector(file, "value", t->value, t->n, err);
    if (status == DSR1_OK)
        status = read_vector(file, "moment1", o->m, t->n, err);
    if (status == DSR1_OK)
        status = read_vector(file, "moment2", o->v, t->n, err);
    if (status == DSR1_OK)
        o->step = step;
    gguf_close(file);
    return status;
}
