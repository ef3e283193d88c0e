/*
 * gguf_value.c - keys and tensors of an open gguf, by name and by place
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "gguf/gguf_parts.h"

#include <inttypes.h>
#include <string.h>

const struct gguf_key *gguf_part_find(const struct gguf_part *part, const char *name)
{
    const struct name_index *index = &part->key_index;
    size_t size = strlen(name);
    size_t slot = name_index_first(index, name_hash(name, size));
    for (; index->slots[slot]; slot = name_index_next(index, slot)) {
        const struct gguf_key *key = &part->keys[index->slots[slot] - 1];
        if (key->name.size == size && memcmp(key->name.bytes, name, size) == 0)
            return key;
    }
    return NULL;
}

static const struct gguf_key *find(const struct gguf *gguf, const char *name)
{
    return gguf_part_find(&gguf->parts[0], name);
}

const char *gguf_path(const struct gguf *gguf)
{
    return gguf->path;
}

size_t gguf_n_tensors(const struct gguf *gguf)
{
    return gguf->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *gguf, size_t index)
{
    return &gguf->tensors[index];
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name)
{
    const struct name_index *index = &gguf->tensor_index;
    size_t slot = name_index_first(index, name_hash(name, strlen(name)));
    for (; index->slots[slot]; slot = name_index_next(index, slot)) {
        const struct gguf_tensor *tensor = &gguf->tensors[index->slots[slot] - 1];
        if (strcmp(tensor->name, name) == 0)
            return tensor;
    }
    return NULL;
}

size_t gguf_n_keys(const struct gguf *gguf)
{
    return gguf->parts[0].n_keys;
}

struct gguf_string gguf_key_at(const struct gguf *gguf, size_t index)
{
    return gguf->parts[0].keys[index].name;
}

enum gguf_type gguf_key_type_at(const struct gguf *gguf, size_t index)
{
    return gguf->parts[0].keys[index].type;
}

bool gguf_has(const struct gguf *gguf, const char *key)
{
    return find(gguf, key) != NULL;
}

/* An integer of any width; false where type is none or an u64 is beyond int64_t. */
static bool load_int(enum gguf_type type, const uint8_t *at, int64_t *value)
{
    union {
        uint8_t u8; int8_t i8; uint16_t u16; int16_t i16; uint32_t u32; int32_t i32; uint64_t u64; int64_t i64;
    } raw;
    memset(&raw, 0, sizeof raw);
    memcpy(&raw, at, gguf_type_size(type));
    switch (type) {
    case GGUF_U8: *value = raw.u8; return true;
    case GGUF_I8: *value = raw.i8; return true;
    case GGUF_U16: *value = raw.u16; return true;
    case GGUF_I16: *value = raw.i16; return true;
    case GGUF_U32: *value = raw.u32; return true;
    case GGUF_I32: *value = raw.i32; return true;
    case GGUF_I64: *value = raw.i64; return true;
    case GGUF_U64: *value = (int64_t) raw.u64; return raw.u64 <= INT64_MAX;
    default: return false;
    }
}

dsr1_status gguf_get_int(const struct gguf *gguf, const char *key, int64_t *value, dsr1_error *err)
{
    const struct gguf_key *found = find(gguf, key);
    int64_t loaded;
    if (!found)
        return DSR1_OK;
    if (!load_int(found->type, found->value, &loaded))
        return error_set(err, DSR1_ERR_FORMAT, "key %s: not an integer that fits 64 bits", key);
    *value = loaded;
    return DSR1_OK;
}

dsr1_status gguf_get_float(const struct gguf *gguf, const char *key, float *value, dsr1_error *err)
{
    const struct gguf_key *found = find(gguf, key);
    if (!found)
        return DSR1_OK;
    if (found->type == GGUF_F32) {
        memcpy(value, found->value, sizeof *value);
    } else if (found->type == GGUF_F64) {
        double wide;
        memcpy(&wide, found->value, sizeof wide);
        *value = (float) wide;
    } else {
        return error_set(err, DSR1_ERR_FORMAT, "key %s: not a float", key);
    }
    return DSR1_OK;
}

dsr1_status gguf_get_bool(const struct gguf *gguf, const char *key, bool *value, dsr1_error *err)
{
    const struct gguf_key *found = find(gguf, key);
    if (!found)
        return DSR1_OK;
    if (found->type != GGUF_BOOL)
        return error_set(err, DSR1_ERR_FORMAT, "key %s: not a bool", key);
    *value = found->value[0] != 0;
    return DSR1_OK;
}

dsr1_status gguf_get_string(const struct gguf *gguf, const char *key, struct gguf_string *value, dsr1_error *err)
{
    const struct gguf_key *found = find(gguf, key);
    if (!found)
        return DSR1_OK;
    if (found->type != GGUF_STRING)
        return error_set(err, DSR1_ERR_FORMAT, "key %s: not a string", key);
    *value = (struct gguf_string){(const char *) found->value, found->n};
    return DSR1_OK;
}

dsr1_status gguf_get_array(const struct gguf *gguf, const char *key, struct gguf_array *array, dsr1_error *err)
{
    const struct gguf_key *found = find(gguf, key);
    *array = (struct gguf_array){0};
    if (!found)
        return DSR1_OK;
    if (found->type != GGUF_ARRAY)
        return error_set(err, DSR1_ERR_FORMAT, "key %s: not an array", key);
    array->type = found->element;
    array->n = found->n;
    array->bytes = found->value;
    array->strings = found->strings;
    return DSR1_OK;
}

int64_t gguf_array_int(const struct gguf_array *array, size_t index)
{
    int64_t value = 0;
    if (array->type == GGUF_BOOL)
        return array->bytes[index] != 0;
    load_int(array->type, array->bytes + index * gguf_type_size(array->type), &value);
    return value;
}

float gguf_array_float(const struct gguf_array *array, size_t index)
{
    const uint8_t *at = array->bytes + index * gguf_type_size(array->type);
    float value = 0;
    double wide;
    if (array->type == GGUF_F32) {
        memcpy(&value, at, sizeof value);
    } else if (array->type == GGUF_F64) {
        memcpy(&wide, at, sizeof wide);
        value = (float) wide;
    }
    return value;
}
