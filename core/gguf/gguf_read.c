/*
 * gguf_read.c - the directory of one GGUF file, parsed from a range of memory
 *
 *     magic, version, counts | keys and values | tensor infos | padding | data
 *
 * One pass from front to back. A cursor knows how many bytes are left, and
 * every count is compared with them before it is multiplied or allocated:
 * a key takes at least 14 bytes, a tensor info 24, a string 8, so that a file
 * can never make us allocate more than a small multiple of its own size.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "base/memory.h"
#include "base/size.h"
#include "gguf/gguf_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES_MIN = 8 + 1 + 4 + 1, TENSOR_BYTES_MIN = 8 + 4 + 4 + 8, STRING_BYTES_MIN = 8 };

struct cursor {
    const uint8_t *start, *at, *end;
};

static inline size_t left(const struct cursor *c)
{
    return (size_t) (c->end - c->at);
}

static inline bool take(struct cursor *c, void *to, size_t size)
{
    if (left(c) < size)
        return false;
    memcpy(to, c->at, size);
    c->at += size;
    return true;
}

static bool take_string(struct cursor *c, struct gguf_string *string)
{
    uint64_t size;
    if (!take(c, &size, sizeof size) || size > GGUF_LENGTH_MAX || size > left(c))
        return false;
    *string = (struct gguf_string){(const char *) c->at, (size_t) size};
    c->at += size;
    return true;
}

/* For messages: file text is cut to what an error line can hold, and control characters do not reach a terminal. */
struct shown {
    char text[80];
};

static const char *show(struct shown *shown, struct gguf_string string)
{
    size_t n = string.size < sizeof shown->text - 1 ? string.size : sizeof shown->text - 1;
    for (size_t i = 0; i < n; i++)
        shown->text[i] = (unsigned char) string.bytes[i] < 32 || string.bytes[i] == 127 ? '?' : string.bytes[i];
    shown->text[n] = 0;
    return shown->text;
}

size_t gguf_type_size(enum gguf_type type)
{
    static const uint8_t sizes[GGUF_TYPES] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2,  [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
        [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };
    return sizes[type];
}

static dsr1_status read_strings(struct cursor *c, struct gguf_key *key, dsr1_error *err)
{
    struct shown shown;
    key->strings = memory_array(key->n, sizeof *key->strings);
    if (!key->strings)
        return error_nomem(err, "an array of strings");
    for (size_t i = 0; i < key->n; i++)
        if (!take_string(c, &key->strings[i]))
            return error_set(err, DSR1_ERR_FORMAT, "key %s: string %zu runs past the end of the file",
                             show(&shown, key->name), i);
    return DSR1_OK;
}

static dsr1_status read_array(struct cursor *c, struct gguf_key *key, dsr1_error *err)
{
    struct shown shown;
    uint32_t element;
    uint64_t n;
    if (!take(c, &element, sizeof element) || !take(c, &n, sizeof n))
        return error_set(err, DSR1_ERR_FORMAT, "key %s: array is cut off", show(&shown, key->name));
    if (element >= GGUF_TYPES || element == GGUF_ARRAY)
        return error_set(err, DSR1_ERR_FORMAT, "key %s: array of type %" PRIu32, show(&shown, key->name), element);
    key->element = (enum gguf_type) element;
    size_t size = element == GGUF_STRING ? STRING_BYTES_MIN : gguf_type_size(key->element);
    if (n > GGUF_LENGTH_MAX || n > left(c) / size)
        return error_set(err, DSR1_ERR_FORMAT, "key %s: array of %" PRIu64 " elements is longer than the file",
                         show(&shown, key->name), n);
    key->n = (size_t) n;
    key->value = c->at;
    if (element == GGUF_STRING)
        return read_strings(c, key, err);
    c->at += key->n * size;
    return DSR1_OK;
}

static dsr1_status read_value(struct cursor *c, struct gguf_key *key, dsr1_error *err)
{
    struct shown shown;
    uint32_t type;
    if (!take(c, &type, sizeof type) || type >= GGUF_TYPES)
        return error_set(err, DSR1_ERR_FORMAT, "key %s: unknown type of value", show(&shown, key->name));
    key->type = (enum gguf_type) type;
    if (key->type == GGUF_ARRAY)
        return read_array(c, key, err);
    if (key->type == GGUF_STRING) {
        struct gguf_string string;
        if (!take_string(c, &string))
            return error_set(err, DSR1_ERR_FORMAT, "key %s: string runs past the end of the file",
                             show(&shown, key->name));
        key->value = (const uint8_t *) string.bytes;
        key->n = string.size;
        return DSR1_OK;
    }
    key->value = c->at;
    if (left(c) < gguf_type_size(key->type))
        return error_set(err, DSR1_ERR_FORMAT, "key %s: value is cut off", show(&shown, key->name));
    c->at += gguf_type_size(key->type);
    return DSR1_OK;
}

static bool same(struct gguf_string a, struct gguf_string b)
{
    return a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0;
}

/* False when the name is there already. */
static bool index_key(struct gguf_part *part, size_t position)
{
    struct name_index *index = &part->key_index;
    struct gguf_string name = part->keys[position].name;
    size_t slot = name_index_first(index, name_hash(name.bytes, name.size));
    for (; index->slots[slot]; slot = name_index_next(index, slot))
        if (same(part->keys[index->slots[slot] - 1].name, name))
            return false;
    index->slots[slot] = (uint32_t) position + 1;
    return true;
}

static dsr1_status read_keys(struct gguf_part *part, struct cursor *c, uint64_t n, dsr1_error *err)
{
    struct shown shown;
    if (n > left(c) / KEY_BYTES_MIN)
        return error_set(err, DSR1_ERR_FORMAT, "%" PRIu64 " keys announced, more than the file can hold", n);
    part->keys = memory_array((size_t) n, sizeof *part->keys);
    if (!part->keys || !name_index_open(&part->key_index, (size_t) n))
        return error_nomem(err, "the keys");
    for (size_t i = 0; i < n; i++) {
        struct gguf_key *key = &part->keys[i];
        if (!take_string(c, &key->name))
            return error_set(err, DSR1_ERR_FORMAT, "key %zu: name runs past the end of the file", i);
        if (key->name.size == 0)
            return error_set(err, DSR1_ERR_FORMAT, "key %zu: empty name", i);
        part->n_keys = i + 1;
        dsr1_status status = read_value(c, key, err);
        if (status < 0)
            return status;
        if (!index_key(part, i))
            return error_set(err, DSR1_ERR_FORMAT, "key %s: twice in the file", show(&shown, key->name));
    }
    return DSR1_OK;
}

static dsr1_status read_alignment(const struct gguf_part *part, size_t *alignment, dsr1_error *err)
{
    const struct gguf_key *key = gguf_part_find(part, "general.alignment");
    *alignment = GGUF_ALIGNMENT;
    if (!key)
        return DSR1_OK;
    uint32_t value = 0;
    if (key->type != GGUF_U32)
        return error_set(err, DSR1_ERR_FORMAT, "key general.alignment: not a u32");
    memcpy(&value, key->value, sizeof value);
    if (value < GGUF_ALIGNMENT_MIN || (value & (value - 1)))
        return error_set(err, DSR1_ERR_FORMAT, "key general.alignment: %" PRIu32 " is not a power of two from 8 on",
                         value);
    *alignment = value;
    return DSR1_OK;
}

static dsr1_status read_name(struct cursor *c, char *name, size_t position, dsr1_error *err)
{
    struct gguf_string string;
    if (!take_string(c, &string))
        return error_set(err, DSR1_ERR_FORMAT, "tensor %zu: name runs past the end of the file", position);
    if (string.size >= GGUF_NAME_SIZE || memchr(string.bytes, 0, string.size))
        return error_set(err, DSR1_ERR_FORMAT, "tensor %zu: name of %zu bytes, or with a zero in it", position,
                         string.size);
    memcpy(name, string.bytes, string.size);
    name[string.size] = 0;
    return DSR1_OK;
}

static dsr1_status read_dims(struct cursor *c, struct gguf_tensor *t, size_t *n_weights, dsr1_error *err)
{
    uint32_t n_dims;
    if (!take(c, &n_dims, sizeof n_dims) || n_dims > 4)
        return error_set(err, DSR1_ERR_FORMAT, "tensor %s: more than 4 dimensions", t->name);
    t->n_dims = (int) n_dims;
    *n_weights = 1;
    for (int i = 0; i < 4; i++) {
        t->ne[i] = 1;
        if (i < t->n_dims && !take(c, &t->ne[i], sizeof t->ne[i]))
            return error_set(err, DSR1_ERR_FORMAT, "tensor %s: cut off", t->name);
        if (t->ne[i] <= 0 || !size_mul(*n_weights, (size_t) t->ne[i], n_weights) || *n_weights > INT64_MAX)
            return error_set(err, DSR1_ERR_FORMAT, "tensor %s: dimension %d is %" PRId64 ": impossible", t->name, i,
                             t->ne[i]);
    }
    return DSR1_OK;
}

/* Removed and unknown types are broken files; known ones that we have no kernels for deserve another answer. */
static dsr1_status read_type(struct cursor *c, struct gguf_tensor *t, size_t n_weights, dsr1_error *err)
{
    uint32_t type;
    if (!take(c, &type, sizeof type))
        return error_set(err, DSR1_ERR_FORMAT, "tensor %s: cut off", t->name);
    if (!tensor_type_valid(type))
        return error_set(err, DSR1_ERR_FORMAT, "tensor %s: there is no type %" PRIu32, t->name, type);
    if (!tensor_type_known(type))
        return error_set(err, DSR1_ERR_UNSUPPORTED, "tensor %s: dsr1 does not compute with type %s", t->name,
                         tensor_type_name(type));
    t->type = (enum tensor_type) type;
    size_t block = (size_t) tensor_type_block(type);
    if ((size_t) t->ne[0] % block)
        return error_set(err, DSR1_ERR_FORMAT, "tensor %s: rows of %" PRId64 " are not whole blocks of %s", t->name,
                         t->ne[0], tensor_type_name(type));
    if (!size_mul(n_weights / block, tensor_type_size(type), &t->size))
        return error_set(err, DSR1_ERR_FORMAT, "tensor %s: larger than memory", t->name);
    return DSR1_OK;
}

/* Tensors lie in file order without gaps: *next is the one offset that is right, and becomes the next one's. */
static dsr1_status read_offset(struct cursor *c, const struct gguf_tensor *t, size_t alignment, size_t *next,
                               size_t *offset, dsr1_error *err)
{
    uint64_t given;
    if (!take(c, &given, sizeof given))
        return error_set(err, DSR1_ERR_FORMAT, "tensor %s: cut off", t->name);
    if (given != *next)
        return error_set(err, DSR1_ERR_FORMAT, "tensor %s: offset %" PRIu64 " where %zu follows", t->name, given,
                         *next);
    *offset = *next;
    size_t end;
    if (!size_add(*next, t->size, &end) || !size_add(end, alignment - 1, &end))
        return error_set(err, DSR1_ERR_FORMAT, "tensor %s: ends beyond any file", t->name);
    *next = end & ~(alignment - 1);
    return DSR1_OK;
}

static dsr1_status read_tensor(struct gguf_part *part, struct cursor *c, size_t position, size_t alignment,
                               size_t *next, size_t *offset, dsr1_error *err)
{
    struct gguf_tensor *t = &part->tensors[position];
    size_t n_weights = 0;
    t->name = part->names[position];
    dsr1_status status = read_name(c, part->names[position], position, err);
    if (status == DSR1_OK)
        status = read_dims(c, t, &n_weights, err);
    if (status == DSR1_OK)
        status = read_type(c, t, n_weights, err);
    if (status == DSR1_OK)
        status = read_offset(c, t, alignment, next, offset, err);
    return status;
}

/* Offsets count from the data section, whose start is only known behind the last info: they wait in `offsets`. */
static dsr1_status read_tensors(struct gguf_part *part, struct cursor *c, uint64_t n, dsr1_error *err)
{
    size_t alignment, next = 0;
    dsr1_status status = read_alignment(part, &alignment, err);
    if (status < 0)
        return status;
    if (n > left(c) / TENSOR_BYTES_MIN)
        return error_set(err, DSR1_ERR_FORMAT, "%" PRIu64 " tensors announced, more than the file can hold", n);
    size_t *offsets = memory_array((size_t) n, sizeof *offsets);
    part->tensors = memory_array((size_t) n, sizeof *part->tensors);
    part->names = memory_array((size_t) n, sizeof *part->names);
    if (!offsets || !part->tensors || !part->names)
        status = error_nomem(err, "the tensors");
    for (size_t i = 0; i < n && status == DSR1_OK; i++)
        status = read_tensor(part, c, i, alignment, &next, &offsets[i], err);
    part->n_tensors = (size_t) n;

    size_t start = size_align((size_t) (c->at - c->start), alignment);
    size_t data_size = start <= part->size ? part->size - start : 0;
    for (size_t i = 0; i < n && status == DSR1_OK; i++) {
        struct gguf_tensor *t = &part->tensors[i];
        if (offsets[i] > data_size || t->size > data_size - offsets[i])
            status = error_set(err, DSR1_ERR_FORMAT, "tensor %s: its %zu bytes run past the end of the file", t->name,
                               t->size);
        else
            t->data = part->bytes + start + offsets[i];
    }
    free(offsets);
    return status;
}

dsr1_status gguf_part_read(struct gguf_part *part, dsr1_error *err)
{
    struct cursor c = {part->bytes, part->bytes, part->bytes + part->size};
    uint32_t version;
    uint64_t n_tensors, n_keys;
    char magic[4];
    if (!take(&c, magic, sizeof magic) || memcmp(magic, "GGUF", 4) != 0)
        return error_set(err, DSR1_ERR_FORMAT, "not a GGUF file");
    if (!take(&c, &version, sizeof version))
        return error_set(err, DSR1_ERR_FORMAT, "the header is cut off");
    if (version == 0x03000000 || version == 0x02000000)
        return error_set(err, DSR1_ERR_FORMAT, "a big-endian GGUF file");
    if (version != 2 && version != 3)
        return error_set(err, DSR1_ERR_FORMAT, "GGUF version %" PRIu32 "; 2 and 3 are read", version);
    if (!take(&c, &n_tensors, sizeof n_tensors) || !take(&c, &n_keys, sizeof n_keys))
        return error_set(err, DSR1_ERR_FORMAT, "the header is cut off");
    dsr1_status status = read_keys(part, &c, n_keys, err);
    return status < 0 ? status : read_tensors(part, &c, n_tensors, err);
}

void gguf_part_close(struct gguf_part *part)
{
    for (size_t i = 0; i < part->n_keys; i++)
        free(part->keys[i].strings);
    free(part->keys);
    free(part->tensors);
    free(part->names);
    name_index_close(&part->key_index);
    part->keys = NULL;
    part->tensors = NULL;
    part->names = NULL;
    part->n_keys = part->n_tensors = 0;
}
