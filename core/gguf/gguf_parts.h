/*
 * gguf_parts.h - what the files of this folder share: an open gguf from inside
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef GGUF_GGUF_PARTS_H
#define GGUF_GGUF_PARTS_H

#include "gguf/gguf.h"
#include "gguf/name_index.h"

enum {
    GGUF_NAME_SIZE = 64,            /* of a tensor, with its zero */
    GGUF_ALIGNMENT = 32,            /* where general.alignment is absent */
    GGUF_ALIGNMENT_MIN = 8          /* the format's own rule; weights are read as floats in place */
};
#define GGUF_LENGTH_MAX ((uint64_t) 1 << 30)    /* of a string in bytes, of an array in elements */

struct gguf_key {
    struct gguf_string name;
    enum gguf_type type;
    enum gguf_type element;         /* of an array */
    const uint8_t *value;           /* fixed-size value, or the first element of an array */
    size_t n;                       /* elements of an array, bytes of a string */
    struct gguf_string *strings;    /* of an array of strings */
};

/* One file: a range of memory and the directory parsed from it. */
struct gguf_part {
    const uint8_t *bytes;
    size_t size;
    bool mapped;
    struct gguf_key *keys;
    size_t n_keys;
    struct name_index key_index;
    struct gguf_tensor *tensors;
    char (*names)[GGUF_NAME_SIZE];
    size_t n_tensors;
};

struct gguf {
    char *path;
    struct gguf_part *parts;        /* keys are those of the first */
    size_t n_parts;
    struct gguf_tensor *tensors;    /* of all parts */
    size_t n_tensors;
    struct name_index tensor_index;
};

/* Parses part->bytes, part->size into the rest of the part; what it made is freed by gguf_part_close either way. */
dsr1_status gguf_part_read(struct gguf_part *part, dsr1_error *err);
void gguf_part_close(struct gguf_part *part);

/* Bytes of a fixed-size value type; 0 for strings and arrays. */
size_t gguf_type_size(enum gguf_type type);

const struct gguf_key *gguf_part_find(const struct gguf_part *part, const char *name);

#endif
