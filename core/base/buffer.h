/*
 * buffer.h - bytes that grow
 *
 * A failed allocation sticks: later appends do nothing, and the owner checks
 * `failed` once at the end. Start with {0}, end with buffer_free().
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *data;         /* always followed by a zero byte once anything was appended */
    size_t size;
    size_t capacity;
    bool failed;
};

void buffer_append(struct buffer *buffer, const void *bytes, size_t size);
void buffer_string(struct buffer *buffer, const char *string);
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Room for size more bytes at the end, which the caller writes and then counts by itself; NULL on failure. */
char *buffer_reserve(struct buffer *buffer, size_t size);

/* Drops the first size bytes. */
void buffer_drop(struct buffer *buffer, size_t size);

void buffer_free(struct buffer *buffer);

#endif
