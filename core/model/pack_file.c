/*
 * pack_file.c - pack files: written, checked, mapped
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "base/memory.h"
#include "model/pack_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MAGIC[8] = {'d', 's', 'r', '1', 'p', 'a', 'c', 'k'};

/* ------------------------------------------------------------------ */
/* Sums                                                                */
/* ------------------------------------------------------------------ */

/* Four lanes, so that the multiplications overlap: a sum runs at the speed of memory. */
void pack_sum_add(struct pack_sum *sum, const void *bytes, size_t size)
{
    enum { LANES = 4, RUN = LANES * sizeof(uint64_t) };
    const uint64_t factor = 0x9e3779b97f4a7c15;
    uint64_t lane[LANES], word[LANES];
    for (int i = 0; i < LANES; i++)
        lane[i] = sum->a + (uint64_t) i;
    const uint8_t *p = bytes;
    for (size_t left = size; left > 0; left -= left < RUN ? left : RUN, p += RUN) {
        memset(word, 0, sizeof word);
        memcpy(word, p, left < RUN ? left : RUN);
        for (int i = 0; i < LANES; i++) {
            lane[i] = (lane[i] ^ word[i]) * factor;
            lane[i] ^= lane[i] >> 32;
        }
    }
    for (int i = 0; i < LANES; i++) {
        sum->a = (sum->a ^ lane[i]) * factor;
        sum->a ^= sum->a >> 29;
        sum->b = (sum->b + lane[i]) * 0xd1342543de82ef95 + size;
        sum->b ^= sum->b >> 31;
    }
}

/* Type and shape of a matrix, and 64 bytes from each of 16 places: weights that were trained differ everywhere. */
static void add_key(struct weight *w, void *user)
{
    enum { SAMPLES = 16, SAMPLE = 64 };
    const int32_t shape[] = {(int32_t) w->type, w->n_in, w->n_out, w->n_mats};
    size_t size = w->row_size * (size_t) w->n_out * (size_t) w->n_mats, n = size < SAMPLE ? size : SAMPLE;
    pack_sum_add(user, shape, sizeof shape);
    for (size_t i = 0; i < SAMPLES; i++)
        pack_sum_add(user, w->data + (size - n) / (SAMPLES - 1) * i, n);
}

struct pack_sum pack_key(const struct weights *weights)
{
    struct pack_sum key = {0};
    weights_each((struct weights *) weights, add_key, &key);
    gguf_forget(weights->gguf);
    return key;
}

void pack_name(const struct weights *weights, char name[PACK_NAME])
{
    struct pack_sum key = pack_key(weights);
    snprintf(name, PACK_NAME, "%016" PRIx64 "%016" PRIx64, key.a, key.b);
}

static uint64_t head_sum(const struct pack_head *head)
{
    struct pack_sum sum = {0};
    pack_sum_add(&sum, head, offsetof(struct pack_head, own_sum));
    return sum.a;
}

/* ------------------------------------------------------------------ */
/* Writing                                                             */
/* ------------------------------------------------------------------ */

enum { CHUNK = 16 << 20 };      /* whole huge pages */

struct output {
    const struct gguf *gguf;
    const char *path;
    int fd;
    uint64_t at;                /* in the file */
    uint8_t *chunk;             /* aligned, CHUNK bytes, the first `used` of them full */
    size_t used;
    struct pack_sum sum;
    const atomic_bool *stop;
    dsr1_status status;
    dsr1_error *err;
};

static void put(struct output *o, const void *bytes, size_t size, uint64_t at)
{
    const char *p = bytes;
    while (o->status == DSR1_OK && size > 0) {
        ssize_t n = pwrite(o->fd, p, size, (off_t) at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            o->status = error_errno(o->err, DSR1_ERR_IO, "cannot write %s", o->path);
        else
            p += n, at += (uint64_t) n, size -= (size_t) n;
    }
}

/* To the disk at once, piece by piece: gigabytes that wait in memory slow down everyone else who writes. */
static void put_chunk(struct output *o)
{
    if (o->stop && atomic_load_explicit(o->stop, memory_order_relaxed) && o->status == DSR1_OK)
        o->status = error_set(o->err, DSR1_ERR_CANCELLED, "%s: given up", o->path);
    pack_sum_add(&o->sum, o->chunk, o->used);
    put(o, o->chunk, o->used, o->at);
    if (o->status == DSR1_OK && fdatasync(o->fd) < 0)
        o->status = error_errno(o->err, DSR1_ERR_IO, "cannot write %s", o->path);
    o->at += o->used;
    o->used = 0;
}

static void put_matrix(struct weight *w, void *user)
{
    struct output *o = user;
    size_t size = panel_size(w->type, w->n_in);
    int64_t total = (int64_t) weight_panels(w) * w->n_mats;
    uint8_t *panel = aligned_alloc(64, size);
    if (!panel && o->status == DSR1_OK)
        o->status = error_nomem(o->err, "a panel");
    for (int64_t i = 0; i < total && o->status == DSR1_OK; i++) {
        if (!w->panels)
            pack_panel(w, i, panel);
        const uint8_t *from = w->panels ? w->panels + (size_t) i * size : panel;
        for (size_t done = 0, n; done < size; done += n) {
            n = size - done < CHUNK - o->used ? size - done : CHUNK - o->used;
            memcpy(o->chunk + o->used, from + done, n);
            o->used += n;
            if (o->used == CHUNK)
                put_chunk(o);
        }
    }
    free(panel);
    if (!w->panels)
        gguf_forget(o->gguf);
}

static void put_all(struct output *o, const struct weights *weights)
{
    weights_each((struct weights *) weights, put_matrix, o);
    if (o->used > 0)
        put_chunk(o);
    struct pack_sum key = pack_key(weights);
    struct pack_head head = {.version = PACK_VERSION, .rows = PANEL_ROWS, .key = {key.a, key.b},
                             .size = o->at - PACK_START, .sum = {o->sum.a, o->sum.b}};
    memcpy(head.magic, MAGIC, sizeof MAGIC);
    head.own_sum = head_sum(&head);
    put(o, &head, sizeof head, 0);
    if (o->status == DSR1_OK && fsync(o->fd) < 0)
        o->status = error_errno(o->err, DSR1_ERR_IO, "cannot write %s", o->path);
}

dsr1_status pack_write(const struct weights *weights, const char *path, const atomic_bool *stop, dsr1_error *err)
{
    char temporary[PACK_PATH + 16];
    int n = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (n < 0 || (size_t) n >= sizeof temporary)
        return error_set(err, DSR1_ERR_ARGUMENT, "the path of a pack file is too long");
    struct output o = {.gguf = weights->gguf, .path = path, .at = PACK_START, .stop = stop, .err = err};
    o.chunk = memory_map(CHUNK);
    if (!o.chunk)
        return error_nomem(err, "a pack file's buffer");
    o.fd = mkstemp(temporary);
    if (o.fd < 0) {
        memory_unmap(o.chunk, CHUNK);
        return error_errno(err, DSR1_ERR_IO, "cannot write %s", path);
    }
    put_all(&o, weights);
    memory_unmap(o.chunk, CHUNK);
    fchmod(o.fd, 0644);
    close(o.fd);
    if (o.status == DSR1_OK && rename(temporary, path) < 0)
        o.status = error_errno(err, DSR1_ERR_IO, "cannot write %s", path);
    if (o.status != DSR1_OK)
        unlink(temporary);
    return o.status;
}

/* ------------------------------------------------------------------ */
/* Reading                                                             */
/* ------------------------------------------------------------------ */

dsr1_status pack_head_read(const void *bytes, size_t n, uint64_t file_size, struct pack_sum key, uint64_t size,
                           struct pack_head *head, dsr1_error *err)
{
    if (n < sizeof *head)
        return error_set(err, DSR1_ERR_FORMAT, "a pack file of %zu bytes", n);
    memcpy(head, bytes, sizeof *head);
    if (memcmp(head->magic, MAGIC, sizeof MAGIC) != 0)
        return error_set(err, DSR1_ERR_FORMAT, "no pack file");
    if (head->version != PACK_VERSION || head->rows != PANEL_ROWS)
        return error_set(err, DSR1_ERR_FORMAT, "a pack file of another version");
    if (head->own_sum != head_sum(head))
        return error_set(err, DSR1_ERR_FORMAT, "its head is damaged");
    if (head->key[0] != key.a || head->key[1] != key.b || head->size != size)
        return error_set(err, DSR1_ERR_FORMAT, "it belongs to other weights");
    if (file_size != PACK_START + size)
        return error_set(err, DSR1_ERR_FORMAT, "it has %" PRIu64 " bytes, not %" PRIu64, file_size, PACK_START + size);
    return DSR1_OK;
}

static dsr1_status map_panels(const struct weights *weights, const char *path, struct pack_head *head,
                              uint8_t **panels, dsr1_error *err)
{
    char first[sizeof *head];
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) < 0) {
        if (fd >= 0)
            close(fd);
        return error_errno(err, DSR1_ERR_IO, "cannot open %s", path);
    }
    dsr1_status status = DSR1_OK;
    size_t size = pack_size(weights);
    ssize_t n = S_ISREG(about.st_mode) ? pread(fd, first, sizeof first, 0) : 0;
    status = pack_head_read(first, n > 0 ? (size_t) n : 0, (uint64_t) about.st_size, pack_key(weights), size, head, err);
    if (status == DSR1_OK) {
        *panels = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, PACK_START);
        if (*panels == MAP_FAILED)
            status = error_errno(err, DSR1_ERR_IO, "cannot map %s", path);
        else
            madvise(*panels, size, MADV_HUGEPAGE);
    }
    close(fd);
    return status;
}

struct comparison {
    uint8_t *next;
    bool same, failed;
};

/* One panel of each matrix, a different place each time. */
static void compare_matrix(struct weight *w, void *user)
{
    struct comparison *c = user;
    size_t size = panel_size(w->type, w->n_in);
    int64_t total = (int64_t) weight_panels(w) * w->n_mats, i = (int64_t) ((uintptr_t) c->next / 64) % total;
    uint8_t *panel = aligned_alloc(64, size);
    if (panel) {
        pack_panel(w, i, panel);
        c->same = c->same && memcmp(panel, c->next + (size_t) i * size, size) == 0;
    } else {
        c->failed = true;
    }
    free(panel);
    c->next += packed_size(w);
}

static void place_matrix(struct weight *w, void *user)
{
    uint8_t **next = user;
    w->panels = *next;
    *next += packed_size(w);
}

dsr1_status pack_map(struct weights *weights, const char *path, dsr1_error *err)
{
    struct pack_head head;
    uint8_t *panels;
    dsr1_status status = map_panels(weights, path, &head, &panels, err);
    if (status != DSR1_OK)
        return status;
    struct comparison c = {.next = panels, .same = true};
    weights_each(weights, compare_matrix, &c);
    gguf_forget(weights->gguf);
    if (c.failed)
        status = error_nomem(err, "a panel");
    else if (!c.same)
        status = error_set(err, DSR1_ERR_FORMAT, "its panels are not those of the weights");
    if (status != DSR1_OK) {
        munmap(panels, (size_t) head.size);
        return status;
    }
    weights->panels = panels;
    weights->panels_size = (size_t) head.size;
    weights_each(weights, place_matrix, &panels);
    return DSR1_OK;
}

dsr1_status pack_check(struct weights *weights, const char *path, dsr1_error *err)
{
    struct pack_head head;
    uint8_t *panels;
    dsr1_status status = map_panels(weights, path, &head, &panels, err);
    if (status != DSR1_OK)
        return status;
    struct pack_sum sum = {0};
    for (size_t i = 0; i < head.size; i += CHUNK)
        pack_sum_add(&sum, panels + i, head.size - i < CHUNK ? head.size - i : CHUNK);
    munmap(panels, (size_t) head.size);
    return sum.a == head.sum[0] && sum.b == head.sum[1] ? DSR1_OK
                                                         : error_set(err, DSR1_ERR_FORMAT, "its panels are damaged");
}
