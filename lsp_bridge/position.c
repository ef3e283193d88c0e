/*
 * position.c - columns as clients count them
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "position.h"

#include "codepoint.h"

const char *position_encoding_name(enum position_encoding encoding)
{
    static const char *const names[] = {"utf-16", "utf-8", "utf-32"};
    return names[encoding];
}

/* Units of the code point at text, and its bytes in *n. */
static size_t step(enum position_encoding encoding, const char *text, size_t size, size_t *n)
{
    uint32_t codepoint;
    *n = codepoint_next(text, size, &codepoint);
    if (encoding == POSITION_UTF8)
        return *n;
    return encoding == POSITION_UTF16 && codepoint != CODEPOINT_BAD && codepoint > 0xffff ? 2 : 1;
}

size_t position_to_bytes(enum position_encoding encoding, const char *text, size_t size, size_t units, size_t *left)
{
    size_t i = 0;
    while (i < size && units > 0) {
        size_t n, u = step(encoding, text + i, size - i, &n);
        if (u > units) {
            units = 0; /* inside this code point: its start */
            break;
        }
        units -= u;
        i += n;
    }
    if (left)
        *left = units;
    return i;
}

size_t position_units(enum position_encoding encoding, const char *text, size_t size)
{
    size_t units = 0;
    for (size_t i = 0, n; i < size; i += n)
        units += step(encoding, text + i, size - i, &n);
    return units;
}
