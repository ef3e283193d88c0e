/*
 * buffer.c - bytes that grow
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/buffer.h"

#include "base/size.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *buffer_reserve(struct buffer *buffer, size_t size)
{
    size_t need;
    if (buffer->failed || !size_add(buffer->size, size, &need) || !size_add(need, 1, &need)) {
        buffer->failed = true;
        return NULL;
    }
    if (need > buffer->capacity) {
        size_t capacity = buffer->capacity < 128 ? 128 : buffer->capacity;
        while (capacity < need)
            capacity = capacity > need / 2 ? need + need / 2 : capacity * 2;
        char *data = realloc(buffer->data, capacity);
        if (!data) {
            buffer->failed = true;
            return NULL;
        }
        buffer->data = data;
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->size;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t size)
{
    char *to = buffer_reserve(buffer, size);
    if (!to)
        return;
    if (size)
        memcpy(to, bytes, size);
    buffer->size += size;
    buffer->data[buffer->size] = 0;
}

void buffer_string(struct buffer *buffer, const char *string)
{
    buffer_append(buffer, string, strlen(string));
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *to = n < 0 ? NULL : buffer_reserve(buffer, (size_t) n);
    if (to) {
        vsnprintf(to, (size_t) n + 1, format, again);
        buffer->size += (size_t) n;
    }
    va_end(again);
}

void buffer_drop(struct buffer *buffer, size_t size)
{
    if (size == 0)
        return;
    memmove(buffer->data, buffer->data + size, buffer->size - size);
    buffer->size -= size;
    buffer->data[buffer->size] = 0;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}
