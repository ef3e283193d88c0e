/*
 * blank.h - what can be seen and what cannot
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_BLANK_H
#define LSP_BLANK_H

#include <stdbool.h>
#include <stddef.h>

static inline bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* How many bytes can be seen. */
static inline size_t count_visible(const char *s, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++)
        n += !is_space(s[i]);
    return n;
}

static inline bool is_blank(const char *s, size_t size)
{
    while (size > 0 && is_space(*s))
        s++, size--;
    return size == 0;
}

static inline size_t without_trailing_space(const char *s, size_t size)
{
    while (size > 0 && is_space(s[size - 1]))
        size--;
    return size;
}

#endif
