/*
 * gguf_write.h - a GGUF file, written front to back
 *
 * Three steps, in this order: keys, tensor infos, data. The data of the tensors
 * follow in the order of their infos, in pieces of any size, so that a file
 * larger than memory can be written. The file appears under its name when it is
 * whole and on disk (gguf_write_commit), and never before.
 *
 * The first failure sticks: later calls do nothing and commit reports it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef GGUF_GGUF_WRITE_H
#define GGUF_GGUF_WRITE_H

#include "gguf/gguf.h"

struct gguf_writer;

/* Creates a temporary file beside path. DSR1_ERR_IO, DSR1_ERR_NOMEM. */
dsr1_status gguf_write_open(const char *path, struct gguf_writer **writer, dsr1_error *err);

/* Keys. A key written twice is DSR1_ERR_ARGUMENT at commit; so is one after the first tensor info. */
void gguf_write_int(struct gguf_writer *writer, const char *key, enum gguf_type type, int64_t value);
void gguf_write_float(struct gguf_writer *writer, const char *key, float value);
void gguf_write_double(struct gguf_writer *writer, const char *key, double value);
void gguf_write_bool(struct gguf_writer *writer, const char *key, bool value);
void gguf_write_string(struct gguf_writer *writer, const char *key, struct gguf_string value);
void gguf_write_text(struct gguf_writer *writer, const char *key, const char *value);

/* n elements of a fixed-size type as they lie in memory (little-endian), or n strings. */
void gguf_write_array(struct gguf_writer *writer, const char *key, enum gguf_type type, const void *elements,
                      size_t n);
void gguf_write_strings(struct gguf_writer *writer, const char *key, const struct gguf_string *strings, size_t n);

/*
 * Copies a key of an open file with its type. gguf_write_copy_all copies every
 * key but the split keys, general.alignment (files written here use the default)
 * and those for which skip returns true (skip may be NULL).
 */
void gguf_write_copy(struct gguf_writer *writer, const struct gguf *from, size_t index);
typedef bool (*gguf_skip_fn)(struct gguf_string key, void *user);
void gguf_write_copy_all(struct gguf_writer *writer, const struct gguf *from, gguf_skip_fn skip, void *user);

/* One tensor: ne of n_dims dimensions (0 to 4), each at least 1; rows are whole blocks of the type. */
void gguf_write_tensor(struct gguf_writer *writer, const char *name, enum tensor_type type, int n_dims,
                       const int64_t *ne);

/* The next bytes of the tensors' data, which may end one tensor and begin another. */
void gguf_write_data(struct gguf_writer *writer, const void *bytes, size_t size);

/*
 * Finishes the file, waits until it is on disk and gives it its name. Reports
 * the first failure of any call: DSR1_ERR_IO (a full disk), DSR1_ERR_ARGUMENT
 * (data missing or too much, a duplicate name), DSR1_ERR_NOMEM. The writer is
 * gone either way; after a failure so is the temporary file, and what stood at
 * path before stands there still.
 */
dsr1_status gguf_write_commit(struct gguf_writer *writer, dsr1_error *err);

/* Gives up: removes the temporary file. Accepts NULL. */
void gguf_write_abort(struct gguf_writer *writer);

#endif
