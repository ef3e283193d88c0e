/*
 * utf8.h - code points from bytes and back
 *
 * Tokenisers were trained on whatever text there was, so decoding is lenient in
 * the way the reference is: overlong forms and surrogates are computed, only
 * what cannot be a sequence at all, or lies beyond U+10FFFF, is refused.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_UTF8_H
#define TEXT_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that a sequence with this first byte has; 0 for a byte that begins none. */
static inline size_t utf8_length(uint8_t lead)
{
    return lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 0;
}

/* The code point at `at`; returns its bytes, or 0 when no sequence begins here. */
static inline size_t utf8_decode(const uint8_t *at, size_t left, uint32_t *code)
{
    size_t size = left ? utf8_length(at[0]) : 0;
    if (size == 0 || size > left)
        return 0;
    *code = size == 1 ? at[0] : at[0] & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if (at[i] >> 6 != 2)
            return 0;
        *code = *code << 6 | (at[i] & 63);
    }
    return *code <= 0x10ffff ? size : 0;
}

/* Bytes that a code point takes. */
static inline size_t utf8_size(uint32_t code)
{
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

/* Writes a code point of at most U+10FFFF, in at most 4 bytes; returns how many. */
static inline size_t utf8_encode(uint32_t code, uint8_t *to)
{
    static const uint8_t leads[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t size = utf8_size(code);
    for (size_t i = size - 1; i > 0; i--) {
        to[i] = (uint8_t) (0x80 | (code & 63));
        code >>= 6;
    }
    to[0] = (uint8_t) (leads[size] | code);
    return size;
}

/*
 * How many of the first size bytes can be shown now: all but the beginning of a
 * sequence whose end has not come yet. For text that arrives token by token.
 */
static inline size_t utf8_whole(const char *bytes, size_t size)
{
    const uint8_t *at = (const uint8_t *) bytes;
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        uint8_t byte = at[size - back];
        if (byte >> 6 == 2)
            continue;
        return utf8_length(byte) > back ? size - back : size;
    }
    return size;
}

#endif
