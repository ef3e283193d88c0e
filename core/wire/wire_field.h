/*
 * wire_field.h - numbers and texts inside a frame's payload
 *
 * Putting appends to a buffer, whose failure sticks. Getting moves a cursor,
 * which never passes its end: what is missing reads as zero and sets `failed`,
 * so that a message is read in one go and checked once.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef WIRE_FIELD_H
#define WIRE_FIELD_H

#include "base/buffer.h"

#include <stdint.h>

/* Bytes inside a frame, UTF-8 where it is text, not zero-terminated. */
struct wire_text {
    const char *data;
    size_t size;
};

struct wire_cursor {
    const unsigned char *next;
    size_t left;
    bool failed;
};

static inline struct wire_cursor wire_cursor(const void *data, size_t size)
{
    return (struct wire_cursor){data, size, false};
}

struct wire_text wire_text(const char *string);

void wire_put_u8(struct buffer *out, uint8_t value);
void wire_put_u16(struct buffer *out, uint16_t value);
void wire_put_u32(struct buffer *out, uint32_t value);
void wire_put_u64(struct buffer *out, uint64_t value);
void wire_put_i32(struct buffer *out, int32_t value);
void wire_put_f32(struct buffer *out, float value);
void wire_put_f64(struct buffer *out, double value);
void wire_put_text(struct buffer *out, struct wire_text text);  /* u32 size, bytes */

uint8_t wire_get_u8(struct wire_cursor *cursor);
uint16_t wire_get_u16(struct wire_cursor *cursor);
uint32_t wire_get_u32(struct wire_cursor *cursor);
uint64_t wire_get_u64(struct wire_cursor *cursor);
int32_t wire_get_i32(struct wire_cursor *cursor);
float wire_get_f32(struct wire_cursor *cursor);
double wire_get_f64(struct wire_cursor *cursor);
struct wire_text wire_get_text(struct wire_cursor *cursor);

/* Read without a failure, and to the last byte? */
static inline bool wire_cursor_done(const struct wire_cursor *cursor)
{
    return !cursor->failed && cursor->left == 0;
}

#endif
