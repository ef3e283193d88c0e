/*
 * codepoint.h - one step through UTF-8, with ill-formed bytes made visible
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_CODEPOINT_H
#define LSP_CODEPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CODEPOINT_BAD 0xffffffffu

/*
 * Bytes of the code point at s (size > 0), and the code point itself. Ill-formed
 * input is CODEPOINT_BAD and as many bytes as Unicode's "maximal subpart" has
 * (chapter 3.9, table 3-8), so that one U+FFFD stands for each, as in browsers.
 */
static inline size_t codepoint_next(const char *s, size_t size, uint32_t *codepoint)
{
    const unsigned char *u = (const unsigned char *) s;
    uint32_t c = u[0];
    if (c < 0x80) {
        *codepoint = c;
        return 1;
    }
    *codepoint = CODEPOINT_BAD;
    size_t n = c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 1;
    if (n == 1)
        return 1;
    unsigned low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    c &= 0x7fu >> n;
    for (size_t i = 1; i < n; i++) {
        if (i >= size || u[i] < low || u[i] > high)
            return i;
        c = c << 6 | (u[i] & 0x3f);
        low = 0x80;
        high = 0xbf;
    }
    *codepoint = c;
    return n;
}

/* Is this byte the second or a later one of its code point? */
static inline bool codepoint_continues(char byte)
{
    return ((unsigned char) byte & 0xc0) == 0x80;
}

/* A letter, digit or underscore of any script: what editors call a word. */
static inline bool codepoint_in_word(char byte)
{
    unsigned char u = (unsigned char) byte;
    return u >= 0x80 || u == '_' || (u >= '0' && u <= '9') || ((u | 32) >= 'a' && (u | 32) <= 'z');
}

#endif
