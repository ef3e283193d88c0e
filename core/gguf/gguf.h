/*
 * gguf.h - a GGUF file, mapped and checked: keys, tensors, bytes
 *
 * Version 2 and 3, little-endian, one file or the parts of a split one. Nothing
 * in here trusts the file: counts, lengths and offsets are checked against the
 * bytes that exist before anything is allocated or read, and a tensor that
 * runs past the end of its file is refused at open, not when it is touched.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef GGUF_GGUF_H
#define GGUF_GGUF_H

#include "base/tensor_type.h"
#include "dsr1.h"

struct gguf;

enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING, GGUF_ARRAY,
    GGUF_U64, GGUF_I64, GGUF_F64, GGUF_TYPES
};

/* Bytes inside the mapping, not zero-terminated. */
struct gguf_string {
    const char *bytes;
    size_t size;
};

struct gguf_tensor {
    const char *name;           /* zero-terminated, owned by the gguf */
    enum tensor_type type;
    int n_dims;
    int64_t ne[4];              /* unused dimensions are 1 */
    const uint8_t *data;        /* mapped, inside its file */
    size_t size;                /* bytes */
};

/*
 * Opens path; where it is part 1 of a split file, all parts. DSR1_ERR_IO when it
 * cannot be read, DSR1_ERR_FORMAT when it is broken (with the key's or tensor's
 * name), DSR1_ERR_UNSUPPORTED for a tensor format that dsr1 does not compute with.
 */
dsr1_status gguf_open(const char *path, struct gguf **gguf, dsr1_error *err);
void gguf_close(struct gguf *gguf);     /* accepts NULL */

/* The same from memory, which must outlive the gguf: for tests and fuzzing. No split files. */
dsr1_status gguf_open_memory(const void *bytes, size_t size, struct gguf **gguf, dsr1_error *err);

const char *gguf_path(const struct gguf *gguf);

/*
 * Takes the file's pages out of this process, not out of the page cache: they come back when
 * they are read. For callers that have read much and need it no more.
 */
void gguf_forget(const struct gguf *gguf);

/* All parts' tensors in file order. */
size_t gguf_n_tensors(const struct gguf *gguf);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *gguf, size_t index);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name);  /* NULL if absent; O(1) */

/* Keys, for listings. */
size_t gguf_n_keys(const struct gguf *gguf);
struct gguf_string gguf_key_at(const struct gguf *gguf, size_t index);
enum gguf_type gguf_key_type_at(const struct gguf *gguf, size_t index);

bool gguf_has(const struct gguf *gguf, const char *key);

/*
 * A value of a key. DSR1_OK and *value set; a missing key leaves *value alone and
 * is DSR1_OK too, so that the caller presets the default; DSR1_ERR_FORMAT when
 * the key has another type. gguf_get_int accepts every integer type whose value
 * fits an int64_t, gguf_get_float f32 and f64, gguf_get_bool bool only.
 */
dsr1_status gguf_get_int(const struct gguf *gguf, const char *key, int64_t *value, dsr1_error *err);
dsr1_status gguf_get_float(const struct gguf *gguf, const char *key, float *value, dsr1_error *err);
dsr1_status gguf_get_bool(const struct gguf *gguf, const char *key, bool *value, dsr1_error *err);
dsr1_status gguf_get_string(const struct gguf *gguf, const char *key, struct gguf_string *value, dsr1_error *err);

/*
 * An array. The elements lie unaligned in the mapping: read them with the
 * accessors. A missing key gives n = 0 and DSR1_OK.
 */
struct gguf_array {
    enum gguf_type type;
    size_t n;
    const uint8_t *bytes;       /* fixed-size elements */
    const struct gguf_string *strings;  /* type GGUF_STRING: n strings, owned by the gguf */
};
dsr1_status gguf_get_array(const struct gguf *gguf, const char *key, struct gguf_array *array, dsr1_error *err);
int64_t gguf_array_int(const struct gguf_array *array, size_t index);   /* any integer or bool type */
float gguf_array_float(const struct gguf_array *array, size_t index);

#endif
