/*
 * gguf_write.c - a GGUF file, written front to back
 *
 * Keys and tensor infos collect in memory, because their counts stand in front
 * of them; the head is written when the first byte of data arrives. A rename at
 * the end makes the file appear whole or not at all.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "gguf/gguf_write.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/size.h"
#include "gguf/gguf_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct gguf_writer {
    char *path, *temporary;
    FILE *file;
    dsr1_error failure;         /* the first one */
    struct buffer keys, infos;
    uint64_t n_keys, n_tensors;
    size_t *sizes;              /* bytes of each tensor */
    size_t capacity;
    size_t offset;              /* of the next tensor */
    bool head_written;
    uint64_t current;           /* tensor that the next byte of data belongs to */
    size_t done;                /* its bytes so far */
};

static bool failed(const struct gguf_writer *w)
{
    return w->failure.status < 0;
}

static void put(struct gguf_writer *w, const void *bytes, size_t size)
{
    if (!failed(w) && size && fwrite(bytes, 1, size, w->file) != size)
        error_errno(&w->failure, DSR1_ERR_IO, "cannot write %s", w->path);
}

static void put_padding(struct gguf_writer *w, size_t size)
{
    static const char zeros[GGUF_ALIGNMENT];
    put(w, zeros, size_align(size, GGUF_ALIGNMENT) - size);
}

/* ------------------------------------------------------------------ */
/* Keys                                                                */
/* ------------------------------------------------------------------ */

static void add_u32(struct buffer *buffer, uint32_t value)
{
    buffer_append(buffer, &value, sizeof value);
}

static void add_string(struct buffer *buffer, struct gguf_string string)
{
    uint64_t size = string.size;
    buffer_append(buffer, &size, sizeof size);
    buffer_append(buffer, string.bytes, string.size);
}

static bool begin_key(struct gguf_writer *w, struct gguf_string key, enum gguf_type type)
{
    if (failed(w))
        return false;
    if (key.size == 0 || w->n_tensors || w->head_written) {
        error_set(&w->failure, DSR1_ERR_ARGUMENT, "%s: key %.*s has no name or comes after the tensors", w->path,
                  (int) (key.size < 80 ? key.size : 80), key.bytes);
        return false;
    }
    add_string(&w->keys, key);
    add_u32(&w->keys, (uint32_t) type);
    w->n_keys++;
    return true;
}

static struct gguf_string text(const char *string)
{
    return (struct gguf_string){string, strlen(string)};
}

void gguf_write_int(struct gguf_writer *w, const char *key, enum gguf_type type, int64_t value)
{
    size_t size = gguf_type_size(type);
    bool is_unsigned = type == GGUF_U8 || type == GGUF_U16 || type == GGUF_U32 || type == GGUF_U64;
    bool is_signed = type == GGUF_I8 || type == GGUF_I16 || type == GGUF_I32 || type == GGUF_I64;
    int bits = (int) (8 * size) - is_signed;
    bool fits = bits >= 63 || (value < (int64_t) 1 << bits && value >= (is_signed ? -((int64_t) 1 << bits) : 0));
    if (!(is_unsigned || is_signed) || !fits || (is_unsigned && value < 0))
        error_set(&w->failure, DSR1_ERR_ARGUMENT, "%s: key %s: %" PRId64 " does not fit its type", w->path, key,
                  value);
    else if (begin_key(w, text(key), type))
        buffer_append(&w->keys, &value, size);
}

void gguf_write_float(struct gguf_writer *w, const char *key, float value)
{
    if (begin_key(w, text(key), GGUF_F32))
        buffer_append(&w->keys, &value, sizeof value);
}

void gguf_write_double(struct gguf_writer *w, const char *key, double value)
{
    if (begin_key(w, text(key), GGUF_F64))
        buffer_append(&w->keys, &value, sizeof value);
}

void gguf_write_bool(struct gguf_writer *w, const char *key, bool value)
{
    uint8_t byte = value;
    if (begin_key(w, text(key), GGUF_BOOL))
        buffer_append(&w->keys, &byte, 1);
}

void gguf_write_string(struct gguf_writer *w, const char *key, struct gguf_string value)
{
    if (begin_key(w, text(key), GGUF_STRING))
        add_string(&w->keys, value);
}

void gguf_write_text(struct gguf_writer *w, const char *key, const char *value)
{
    gguf_write_string(w, key, text(value));
}

static void add_array(struct gguf_writer *w, enum gguf_type type, const void *elements, size_t n)
{
    uint64_t count = n;
    add_u32(&w->keys, (uint32_t) type);
    buffer_append(&w->keys, &count, sizeof count);
    if (type == GGUF_STRING)
        for (size_t i = 0; i < n; i++)
            add_string(&w->keys, ((const struct gguf_string *) elements)[i]);
    else
        buffer_append(&w->keys, elements, n * gguf_type_size(type));
}

void gguf_write_array(struct gguf_writer *w, const char *key, enum gguf_type type, const void *elements, size_t n)
{
    size_t size;
    if (gguf_type_size(type) == 0 || !size_mul(n, gguf_type_size(type), &size))
        error_set(&w->failure, DSR1_ERR_ARGUMENT, "%s: key %s: not an array of a fixed-size type", w->path, key);
    else if (begin_key(w, text(key), GGUF_ARRAY))
        add_array(w, type, elements, n);
}

void gguf_write_strings(struct gguf_writer *w, const char *key, const struct gguf_string *strings, size_t n)
{
    if (begin_key(w, text(key), GGUF_ARRAY))
        add_array(w, GGUF_STRING, strings, n);
}

void gguf_write_copy(struct gguf_writer *w, const struct gguf *from, size_t index)
{
    const struct gguf_key *key = &from->parts[0].keys[index];
    if (!begin_key(w, key->name, key->type))
        return;
    if (key->type == GGUF_ARRAY)
        add_array(w, key->element, key->element == GGUF_STRING ? (const void *) key->strings : key->value, key->n);
    else if (key->type == GGUF_STRING)
        add_string(&w->keys, (struct gguf_string){(const char *) key->value, key->n});
    else
        buffer_append(&w->keys, key->value, gguf_type_size(key->type));
}

static bool has_prefix(struct gguf_string string, const char *prefix)
{
    size_t size = strlen(prefix);
    return string.size >= size && memcmp(string.bytes, prefix, size) == 0;
}

void gguf_write_copy_all(struct gguf_writer *w, const struct gguf *from, gguf_skip_fn skip, void *user)
{
    for (size_t i = 0; i < gguf_n_keys(from); i++) {
        struct gguf_string key = gguf_key_at(from, i);
        bool alignment = key.size == strlen("general.alignment") && has_prefix(key, "general.alignment");
        if (!alignment && !has_prefix(key, "split.") && !(skip && skip(key, user)))
            gguf_write_copy(w, from, i);
    }
}

/* ------------------------------------------------------------------ */
/* Tensors                                                             */
/* ------------------------------------------------------------------ */

/* Bytes of a tensor, or 0 when its shape is not possible. */
static size_t tensor_size(enum tensor_type type, int n_dims, const int64_t *ne)
{
    size_t n = 1, size;
    if (!tensor_type_known((uint32_t) type) || n_dims < 0 || n_dims > 4)
        return 0;
    for (int i = 0; i < n_dims; i++)
        if (ne[i] < 1 || !size_mul(n, (size_t) ne[i], &n) || n > INT64_MAX)
            return 0;
    size_t block = (size_t) tensor_type_block((uint32_t) type);
    if ((n_dims ? (size_t) ne[0] : 1) % block || !size_mul(n / block, tensor_type_size((uint32_t) type), &size))
        return 0;
    return size;
}

static bool remember_size(struct gguf_writer *w, size_t size)
{
    if (w->n_tensors == w->capacity) {
        size_t capacity = w->capacity ? 2 * w->capacity : 64;
        size_t *sizes = memory_resize(w->sizes, capacity, sizeof *sizes);
        if (!sizes)
            return false;
        w->sizes = sizes;
        w->capacity = capacity;
    }
    w->sizes[w->n_tensors++] = size;
    return true;
}

void gguf_write_tensor(struct gguf_writer *w, const char *name, enum tensor_type type, int n_dims, const int64_t *ne)
{
    if (failed(w))
        return;
    size_t size = tensor_size(type, n_dims, ne), end;
    if (size == 0 || strlen(name) >= GGUF_NAME_SIZE || w->head_written || !size_add(w->offset, size, &end) ||
        !size_add(end, GGUF_ALIGNMENT, &end)) {
        error_set(&w->failure, DSR1_ERR_ARGUMENT, "%s: tensor %.80s: impossible name or shape, or too late", w->path,
                  name);
        return;
    }
    uint64_t offset = w->offset;
    add_string(&w->infos, text(name));
    add_u32(&w->infos, (uint32_t) n_dims);
    buffer_append(&w->infos, ne, (size_t) n_dims * sizeof *ne);
    add_u32(&w->infos, (uint32_t) type);
    buffer_append(&w->infos, &offset, sizeof offset);
    if (w->infos.failed || !remember_size(w, size))
        error_nomem(&w->failure, "tensor infos");
    w->offset = size_align(w->offset + size, GGUF_ALIGNMENT);
}

static void write_head(struct gguf_writer *w)
{
    struct buffer head = {0};
    const uint32_t version = 3;
    if (failed(w) || w->head_written)
        return;
    w->head_written = true;
    buffer_append(&head, "GGUF", 4);
    add_u32(&head, version);
    buffer_append(&head, &w->n_tensors, sizeof w->n_tensors);
    buffer_append(&head, &w->n_keys, sizeof w->n_keys);
    if (head.failed || w->keys.failed || w->infos.failed)
        error_nomem(&w->failure, "the head of a file");
    put(w, head.data, head.size);
    put(w, w->keys.data, w->keys.size);
    put(w, w->infos.data, w->infos.size);
    put_padding(w, head.size + w->keys.size + w->infos.size);
    buffer_free(&head);
}

void gguf_write_data(struct gguf_writer *w, const void *bytes, size_t size)
{
    const char *at = bytes;
    write_head(w);
    while (size && !failed(w)) {
        if (w->current == w->n_tensors) {
            error_set(&w->failure, DSR1_ERR_ARGUMENT, "%s: more data than its tensors hold", w->path);
            return;
        }
        size_t total = w->sizes[w->current];
        size_t n = total - w->done < size ? total - w->done : size;
        put(w, at, n);
        at += n;
        size -= n;
        w->done += n;
        if (w->done == total) {
            put_padding(w, total);
            w->current++;
            w->done = 0;
        }
    }
}

/* ------------------------------------------------------------------ */
/* Files                                                               */
/* ------------------------------------------------------------------ */

/* A name of its own beside the target: a rename within one folder is atomic. The umask decides who may read it. */
static int create_temporary(struct gguf_writer *w)
{
    for (int i = 0; i < 100; i++) {
        free(w->temporary);
        if (asprintf(&w->temporary, "%s.%ld-%d.tmp", w->path, (long) getpid(), i) < 0) {
            w->temporary = NULL;
            errno = ENOMEM;
            return -1;
        }
        int fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

dsr1_status gguf_write_open(const char *path, struct gguf_writer **result, dsr1_error *err)
{
    *result = NULL;
    struct gguf_writer *w = memory_array(1, sizeof *w);
    if (!w)
        return error_nomem(err, "a file");
    w->path = strdup(path);
    int fd = w->path ? create_temporary(w) : -1;
    w->file = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!w->file) {
        dsr1_status status = error_errno(err, DSR1_ERR_IO, "cannot create a file beside %s", path);
        if (fd >= 0)
            close(fd);
        if (fd < 0) {
            free(w->temporary);
            w->temporary = NULL;
        }
        gguf_write_abort(w);
        return status;
    }
    *result = w;
    return DSR1_OK;
}

/* That the reader accepts it is what a written file promises; names given twice are found here too. */
static void verify(struct gguf_writer *w)
{
    struct gguf *gguf;
    dsr1_error why = {0};
    dsr1_status status = gguf_open(w->temporary, &gguf, &why);
    if (status < 0)
        error_set(&w->failure, status == DSR1_ERR_FORMAT ? DSR1_ERR_ARGUMENT : status, "%s", why.message);
    gguf_close(gguf);
}

/* The new name is durable only once its folder is on disk. */
static void sync_folder(struct gguf_writer *w)
{
    char *copy = strdup(w->path);
    int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(copy);
    if (fd < 0)
        return;
    if (fsync(fd) != 0 && errno != EINVAL)
        error_errno(&w->failure, DSR1_ERR_IO, "cannot sync the folder of %s", w->path);
    close(fd);
}

dsr1_status gguf_write_commit(struct gguf_writer *w, dsr1_error *err)
{
    write_head(w);
    if (!failed(w) && w->current != w->n_tensors)
        error_set(&w->failure, DSR1_ERR_ARGUMENT, "%s: data of %" PRIu64 " tensors missing", w->path,
                  w->n_tensors - w->current);
    if (!failed(w) && (fflush(w->file) != 0 || fsync(fileno(w->file)) != 0))
        error_errno(&w->failure, DSR1_ERR_IO, "cannot write %s", w->path);
    if (!failed(w))
        verify(w);
    if (!failed(w) && rename(w->temporary, w->path) != 0)
        error_errno(&w->failure, DSR1_ERR_IO, "cannot rename %s", w->temporary);
    if (!failed(w)) {
        free(w->temporary);
        w->temporary = NULL;
        sync_folder(w);
    }
    dsr1_status status = w->failure.status;
    if (status < 0)
        error_set(err, status, "%s", w->failure.message);
    gguf_write_abort(w);
    return status;
}

void gguf_write_abort(struct gguf_writer *w)
{
    if (!w)
        return;
    if (w->file)
        fclose(w->file);
    if (w->temporary)
        unlink(w->temporary);
    free(w->temporary);
    free(w->path);
    free(w->sizes);
    buffer_free(&w->keys);
    buffer_free(&w->infos);
    free(w);
}
