/*
 * gguf_split.c - from a path to an open gguf: one file, or all parts of a split one
 *
 * Parts are called PREFIX-00001-of-00003.gguf. The first holds the keys; each
 * knows its number (split.no, from 0) and how many there are (split.count), and
 * the sum of their tensors must be what the first announces. Weights are mapped,
 * never copied: pages come in as they are used and the kernel shares them
 * between processes.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "base/memory.h"
#include "base/size.h"
#include "gguf/gguf_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPLIT_MAX = 99999, SPLIT_SUFFIX = sizeof "-00001-of-00001.gguf" - 1 };

static dsr1_status map_descriptor(int fd, struct gguf_part *part, dsr1_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return error_errno(err, DSR1_ERR_IO, "cannot read its size");
    if (!S_ISREG(st.st_mode))
        return error_set(err, DSR1_ERR_IO, "not a regular file");
    if (st.st_size == 0)
        return error_set(err, DSR1_ERR_FORMAT, "the file is empty");
    void *bytes = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return error_errno(err, DSR1_ERR_IO, "cannot map it");
    part->bytes = bytes;
    part->size = (size_t) st.st_size;
    part->mapped = true;
    return DSR1_OK;
}

/* Every message about a file begins with its path, which the parser does not know. */
static dsr1_status part_open(const char *path, struct gguf_part *part, dsr1_error *err)
{
    dsr1_error why = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, DSR1_ERR_IO, "cannot open %s", path);
    dsr1_status status = map_descriptor(fd, part, &why);
    close(fd);
    if (status == DSR1_OK)
        status = gguf_part_read(part, &why);
    return status < 0 ? error_set(err, status, "%s: %s", path, why.message) : DSR1_OK;
}

static void part_close(struct gguf_part *part)
{
    gguf_part_close(part);
    if (part->mapped)
        munmap((void *) (uintptr_t) part->bytes, part->size);
}

/* An unsigned split key; *value is left alone where it is absent. */
static dsr1_status split_key(const struct gguf_part *part, const char *name, int64_t *value, dsr1_error *err)
{
    struct gguf one = {.parts = (struct gguf_part *) (uintptr_t) part, .n_parts = 1};
    dsr1_status status = gguf_get_int(&one, name, value, err);
    if (status == DSR1_OK && *value < 0)
        return error_set(err, DSR1_ERR_FORMAT, "key %s is negative", name);
    return status;
}

/* The path of part number `no` (from 0), made from that of the first; NULL when memory is short. */
static char *split_path(const char *first, int no, int count)
{
    size_t prefix = strlen(first) - SPLIT_SUFFIX;
    size_t size = prefix + SPLIT_SUFFIX + 1;
    char *path = malloc(size);
    if (path) {
        memcpy(path, first, prefix);
        snprintf(path + prefix, size - prefix, "-%05d-of-%05d.gguf", no + 1, count);
    }
    return path;
}

static bool split_named(const char *path, int count)
{
    char want[SPLIT_SUFFIX + 1];
    size_t size = strlen(path);
    snprintf(want, sizeof want, "-%05d-of-%05d.gguf", 1, count);
    return size > SPLIT_SUFFIX && strcmp(path + size - SPLIT_SUFFIX, want) == 0;
}

static dsr1_status split_open_part(struct gguf *gguf, int no, int count, dsr1_error *err)
{
    int64_t part_no = -1, part_count = -1;
    struct gguf_part *part = &gguf->parts[no];
    char *path = split_path(gguf->path, no, count);
    if (!path)
        return error_nomem(err, "a path");
    gguf->n_parts = (size_t) no + 1;
    dsr1_status status = part_open(path, part, err);
    if (status == DSR1_OK)
        status = split_key(part, "split.no", &part_no, err);
    if (status == DSR1_OK)
        status = split_key(part, "split.count", &part_count, err);
    if (status == DSR1_OK && (part_no != no || part_count != count))
        status = error_set(err, DSR1_ERR_FORMAT, "%s: is part %" PRId64 " of %" PRId64 " by its own keys", path,
                           part_no + 1, part_count);
    free(path);
    return status;
}

static dsr1_status split_open(struct gguf *gguf, dsr1_error *err)
{
    int64_t count = 1, no = 0;
    struct gguf_part *first = &gguf->parts[0];
    dsr1_status status = split_key(first, "split.count", &count, err);
    if (status == DSR1_OK)
        status = split_key(first, "split.no", &no, err);
    if (status < 0 || count <= 1)
        return status;
    if (no != 0)
        return error_set(err, DSR1_ERR_FORMAT, "%s: part %" PRId64 " of a split file; open its part 1", gguf->path,
                         no + 1);
    if (count > SPLIT_MAX || !split_named(gguf->path, (int) count))
        return error_set(err, DSR1_ERR_FORMAT, "%s: first of %" PRId64 " parts, but not named -00001-of-%05" PRId64
                         ".gguf", gguf->path, count, count);
    struct gguf_part *parts = memory_resize(gguf->parts, (size_t) count, sizeof *parts);
    if (!parts)
        return error_nomem(err, "the parts");
    memset(parts + 1, 0, ((size_t) count - 1) * sizeof *parts);
    gguf->parts = parts;
    for (int i = 1; i < count && status == DSR1_OK; i++)
        status = split_open_part(gguf, i, (int) count, err);
    return status;
}

static bool index_tensor(struct gguf *gguf, size_t position)
{
    struct name_index *index = &gguf->tensor_index;
    const char *name = gguf->tensors[position].name;
    size_t slot = name_index_first(index, name_hash(name, strlen(name)));
    for (; index->slots[slot]; slot = name_index_next(index, slot))
        if (strcmp(gguf->tensors[index->slots[slot] - 1].name, name) == 0)
            return false;
    index->slots[slot] = (uint32_t) position + 1;
    return true;
}

/* One list and one index over the tensors of all parts; a name may stand there once. */
static dsr1_status join(struct gguf *gguf, dsr1_error *err)
{
    size_t total = 0, at = 0;
    for (size_t i = 0; i < gguf->n_parts; i++)
        total += gguf->parts[i].n_tensors;
    int64_t announced = (int64_t) total;
    dsr1_status status = split_key(&gguf->parts[0], "split.tensors.count", &announced, err);
    if (status < 0)
        return status;
    if (announced != (int64_t) total)
        return error_set(err, DSR1_ERR_FORMAT, "split.tensors.count says %" PRId64 " tensors, the parts hold %zu",
                         announced, total);
    gguf->tensors = memory_array(total, sizeof *gguf->tensors);
    if (!gguf->tensors || !name_index_open(&gguf->tensor_index, total))
        return error_nomem(err, "the tensors");
    gguf->n_tensors = total;
    for (size_t i = 0; i < gguf->n_parts; i++) {
        const struct gguf_part *part = &gguf->parts[i];
        if (part->n_tensors)
            memcpy(gguf->tensors + at, part->tensors, part->n_tensors * sizeof *part->tensors);
        at += part->n_tensors;
    }
    for (size_t i = 0; i < total; i++)
        if (!index_tensor(gguf, i))
            return error_set(err, DSR1_ERR_FORMAT, "tensor %s: twice in the file", gguf->tensors[i].name);
    return DSR1_OK;
}

static struct gguf *gguf_new(const char *path)
{
    struct gguf *gguf = memory_array(1, sizeof *gguf);
    if (!gguf)
        return NULL;
    gguf->path = strdup(path);
    gguf->parts = memory_array(1, sizeof *gguf->parts);
    gguf->n_parts = 1;
    if (!gguf->path || !gguf->parts) {
        gguf->n_parts = 0;
        gguf_close(gguf);
        return NULL;
    }
    return gguf;
}

dsr1_status gguf_open(const char *path, struct gguf **result, dsr1_error *err)
{
    dsr1_error why = {0};
    *result = NULL;
    struct gguf *gguf = gguf_new(path);
    if (!gguf)
        return error_nomem(err, "a file");
    dsr1_status status = part_open(path, &gguf->parts[0], err);
    if (status == DSR1_OK)
        status = split_open(gguf, err);
    if (status == DSR1_OK && (status = join(gguf, &why)) < 0)
        error_set(err, status, "%s: %s", path, why.message);
    if (status < 0) {
        gguf_close(gguf);
        return status;
    }
    *result = gguf;
    return DSR1_OK;
}

dsr1_status gguf_open_memory(const void *bytes, size_t size, struct gguf **result, dsr1_error *err)
{
    int64_t count = 1;
    *result = NULL;
    struct gguf *gguf = gguf_new("");
    if (!gguf)
        return error_nomem(err, "a file");
    gguf->parts[0].bytes = bytes;
    gguf->parts[0].size = size;
    dsr1_status status = gguf_part_read(&gguf->parts[0], err);
    if (status == DSR1_OK)
        status = split_key(&gguf->parts[0], "split.count", &count, err);
    if (status == DSR1_OK && count > 1)
        status = error_set(err, DSR1_ERR_UNSUPPORTED, "a part of a split file cannot be opened from memory");
    if (status == DSR1_OK)
        status = join(gguf, err);
    if (status < 0) {
        gguf_close(gguf);
        return status;
    }
    *result = gguf;
    return DSR1_OK;
}

void gguf_forget(const struct gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_parts; i++)
        if (gguf->parts[i].mapped)
            madvise((void *) (uintptr_t) gguf->parts[i].bytes, gguf->parts[i].size, MADV_DONTNEED);
}

void gguf_close(struct gguf *gguf)
{
    if (!gguf)
        return;
    for (size_t i = 0; i < gguf->n_parts; i++)
        part_close(&gguf->parts[i]);
    free(gguf->parts);
    free(gguf->tensors);
    name_index_close(&gguf->tensor_index);
    free(gguf->path);
    free(gguf);
}
