/*
 * gguf_bytes.h - a GGUF file of keys alone, written into memory
 *
 * For tests of what reads keys: tokenizers, chat templates. Start with {0}, then
 * gguf_bytes_begin; the file is whole after every call.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TESTS_UNIT_GGUF_BYTES_H
#define TESTS_UNIT_GGUF_BYTES_H

#include "base/buffer.h"
#include "gguf/gguf.h"

#include <string.h>

static inline void gguf_bytes_u32(struct buffer *file, uint32_t value)
{
    buffer_append(file, &value, sizeof value);
}

static inline void gguf_bytes_u64(struct buffer *file, uint64_t value)
{
    buffer_append(file, &value, sizeof value);
}

/* A string as it stands in a file: also an element of an array. */
static inline void gguf_bytes_string(struct buffer *file, const void *bytes, size_t size)
{
    gguf_bytes_u64(file, size);
    buffer_append(file, bytes, size);
}

static inline void gguf_bytes_begin(struct buffer *file)
{
    file->size = 0;
    buffer_append(file, "GGUF\3\0\0\0", 8);
    gguf_bytes_u64(file, 0);
    gguf_bytes_u64(file, 0);
}

/* A key's name and type; its value is to be appended. */
static inline void gguf_bytes_key(struct buffer *file, const char *key, enum gguf_type type)
{
    uint64_t n;
    if (!buffer_reserve(file, 0))
        return;
    memcpy(&n, file->data + 16, sizeof n);
    n++;
    memcpy(file->data + 16, &n, sizeof n);
    gguf_bytes_string(file, key, strlen(key));
    gguf_bytes_u32(file, (uint32_t) type);
}

static inline void gguf_bytes_text(struct buffer *file, const char *key, const void *bytes, size_t size)
{
    gguf_bytes_key(file, key, GGUF_STRING);
    gguf_bytes_string(file, bytes, size);
}

static inline void gguf_bytes_int(struct buffer *file, const char *key, uint32_t value)
{
    gguf_bytes_key(file, key, GGUF_U32);
    gguf_bytes_u32(file, value);
}

static inline void gguf_bytes_bool(struct buffer *file, const char *key, bool value)
{
    gguf_bytes_key(file, key, GGUF_BOOL);
    buffer_append(file, value ? "\1" : "", 1);
}

/* An array's head; its n elements are to be appended. */
static inline void gguf_bytes_array(struct buffer *file, const char *key, enum gguf_type type, size_t n)
{
    gguf_bytes_key(file, key, GGUF_ARRAY);
    gguf_bytes_u32(file, (uint32_t) type);
    gguf_bytes_u64(file, n);
}

/* The character that stands for a byte in the tokens of byte-level BPE. */
static inline size_t gguf_bytes_mapped(int byte, char *to)
{
    /* 68 bytes that do not print are, in their order, the characters from 256 on. */
    int code = byte < 33 ? 256 + byte : byte >= 127 && byte <= 160 ? 256 + 33 + byte - 127 : byte == 173 ? 256 + 67 : byte;
    if (code < 128) {
        to[0] = (char) code;
        return 1;
    }
    to[0] = (char) (0xc0 | code >> 6);
    to[1] = (char) (0x80 | (code & 63));
    return 2;
}

/*
 * The keys of a tokenizer whose tokens are the 256 bytes (ids 0 to 255) and, from
 * 256 on, n special texts of one kind: 3 for control tokens, 4 for user-defined.
 */
static inline void gguf_bytes_tokenizer(struct buffer *file, const char *pre, const char *const *specials, size_t n,
                                        uint32_t kind)
{
    gguf_bytes_text(file, "tokenizer.ggml.model", "gpt2", 4);
    gguf_bytes_text(file, "tokenizer.ggml.pre", pre, strlen(pre));
    gguf_bytes_array(file, "tokenizer.ggml.tokens", GGUF_STRING, 256 + n);
    for (int byte = 0; byte < 256; byte++) {
        char text[2];
        size_t size = gguf_bytes_mapped(byte, text);
        gguf_bytes_string(file, text, size);
    }
    for (size_t i = 0; i < n; i++)
        gguf_bytes_string(file, specials[i], strlen(specials[i]));
    gguf_bytes_array(file, "tokenizer.ggml.token_type", GGUF_I32, 256 + n);
    for (size_t i = 0; i < 256 + n; i++)
        gguf_bytes_u32(file, i < 256 ? 1 : kind);
}

#endif
