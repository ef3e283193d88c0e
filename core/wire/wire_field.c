/*
 * wire_field.c - numbers and texts inside a frame's payload
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "wire/wire_field.h"

#include <string.h>

struct wire_text wire_text(const char *string)
{
    return (struct wire_text){string, string ? strlen(string) : 0};
}

static void put_integer(struct buffer *out, uint64_t value, int size)
{
    char bytes[8];
    for (int i = 0; i < size; i++)
        bytes[i] = (char) (value >> 8 * i);
    buffer_append(out, bytes, (size_t) size);
}

void wire_put_u8(struct buffer *out, uint8_t value)
{
    put_integer(out, value, 1);
}

void wire_put_u16(struct buffer *out, uint16_t value)
{
    put_integer(out, value, 2);
}

void wire_put_u32(struct buffer *out, uint32_t value)
{
    put_integer(out, value, 4);
}

void wire_put_u64(struct buffer *out, uint64_t value)
{
    put_integer(out, value, 8);
}

void wire_put_i32(struct buffer *out, int32_t value)
{
    put_integer(out, (uint32_t) value, 4);
}

void wire_put_f32(struct buffer *out, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_integer(out, bits, 4);
}

void wire_put_f64(struct buffer *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_integer(out, bits, 8);
}

void wire_put_text(struct buffer *out, struct wire_text text)
{
    /* No frame can hold so much; the size below must not wrap either. */
    if (text.size > UINT32_MAX) {
        out->failed = true;
        return;
    }
    put_integer(out, text.size, 4);
    buffer_append(out, text.data, text.size);
}

static uint64_t get_integer(struct wire_cursor *cursor, int size)
{
    uint64_t value = 0;
    if (cursor->left < (size_t) size) {
        cursor->failed = true;
        cursor->left = 0;
        return 0;
    }
    for (int i = 0; i < size; i++)
        value |= (uint64_t) cursor->next[i] << 8 * i;
    cursor->next += size;
    cursor->left -= (size_t) size;
    return value;
}

uint8_t wire_get_u8(struct wire_cursor *cursor)
{
    return (uint8_t) get_integer(cursor, 1);
}

uint16_t wire_get_u16(struct wire_cursor *cursor)
{
    return (uint16_t) get_integer(cursor, 2);
}

uint32_t wire_get_u32(struct wire_cursor *cursor)
{
    return (uint32_t) get_integer(cursor, 4);
}

uint64_t wire_get_u64(struct wire_cursor *cursor)
{
    return get_integer(cursor, 8);
}

int32_t wire_get_i32(struct wire_cursor *cursor)
{
    return (int32_t) get_integer(cursor, 4);
}

float wire_get_f32(struct wire_cursor *cursor)
{
    uint32_t bits = (uint32_t) get_integer(cursor, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double wire_get_f64(struct wire_cursor *cursor)
{
    uint64_t bits = get_integer(cursor, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

struct wire_text wire_get_text(struct wire_cursor *cursor)
{
    size_t size = wire_get_u32(cursor);
    if (cursor->failed || size > cursor->left) {
        cursor->failed = true;
        cursor->left = 0;
        return (struct wire_text){"", 0};
    }
    struct wire_text text = {(const char *) cursor->next, size};
    cursor->next += size;
    cursor->left -= size;
    return text;
}
