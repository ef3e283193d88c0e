/*
 * json_repair.c - make document text readable that JSON does not allow
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "json_repair.h"

#include "blank.h"
#include "codepoint.h"

#include <stdbool.h>
#include <string.h>

/* The value of \uXXXX at s, or -1. */
static int escape_value(const char *s, size_t size)
{
    if (size < 6 || s[0] != '\\' || s[1] != 'u')
        return -1;
    int value = 0;
    for (int i = 2; i < 6; i++) {
        int c = s[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* An escape at s: copies it, or U+FFFD for half a pair or a zero. Returns the bytes read. */
static size_t repair_escape(const char *s, size_t size, struct buffer *out)
{
    int value = escape_value(s, size);
    size_t n = value < 0 ? (size < 2 ? size : 2) : 6;
    if (value >= 0xd800 && value <= 0xdbff) {
        int low = escape_value(s + 6, size - 6);
        if (low >= 0xdc00 && low <= 0xdfff)
            n = 12;
    }
    if (value == 0 || (value >= 0xd800 && value <= 0xdfff && n == 6))
        buffer_string(out, "\\ufffd");
    else
        buffer_append(out, s, n);
    return n;
}

static void repair_string(const char *s, size_t size, struct buffer *out)
{
    for (size_t i = 0; i < size;) {
        uint32_t codepoint;
        size_t n;
        if (s[i] == '\\') {
            n = repair_escape(s + i, size - i, out);
        } else {
            n = codepoint_next(s + i, size - i, &codepoint);
            if (codepoint == CODEPOINT_BAD)
                buffer_string(out, "\xef\xbf\xbd");
            else
                buffer_append(out, s + i, n);
        }
        i += n;
    }
}

/* Bytes of the string whose opening quote is at s, with both quotes where the second is there. */
static size_t string_size(const char *s, size_t size)
{
    for (size_t i = 1; i < size; i++) {
        if (s[i] == '\\')
            i++;
        else if (s[i] == '"')
            return i + 1;
    }
    return size;
}

void json_repair(const char *json, size_t size, struct buffer *out)
{
    bool key_is_text = false; /* the last key was "text", and its value comes next */
    for (size_t i = 0; i < size;) {
        if (json[i] != '"') {
            if (json[i] != ':' && !is_space(json[i]))
                key_is_text = false;
            buffer_append(out, json + i, 1);
            i++;
            continue;
        }
        size_t n = string_size(json + i, size - i);
        if (key_is_text)
            repair_string(json + i, n, out);
        else
            buffer_append(out, json + i, n);
        size_t next = i + n;
        while (next < size && is_space(json[next]))
            next++;
        key_is_text = n == 6 && memcmp(json + i, "\"text\"", 6) == 0 && next < size && json[next] == ':';
        i += n;
    }
}
