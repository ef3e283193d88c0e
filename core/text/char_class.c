/*
 * char_class.c - from text to one class byte a character
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/char_class.h"

#include "text/char_class_table.h"
#include "text/utf8.h"

#include <pthread.h>
#include <string.h>

enum { N_RANGES = sizeof char_class_ranges / sizeof *char_class_ranges };

/* The basic plane spread out, once per process: nearly all text is in it. */
static uint8_t plane[0x10000];
static pthread_once_t plane_once = PTHREAD_ONCE_INIT;

static void spread_plane(void)
{
    for (uint32_t code = 0; code < 0x80; code++)
        plane[code] = (uint8_t) code;
    for (size_t i = 0; i < N_RANGES; i++) {
        uint32_t from = char_class_ranges[i] >> 8;
        uint32_t to = i + 1 < N_RANGES ? char_class_ranges[i + 1] >> 8 : 0x110000;
        for (uint32_t code = from; code < to && code < 0x10000; code++)
            plane[code] = (uint8_t) char_class_ranges[i];
    }
}

static uint8_t search(uint32_t code)
{
    size_t low = 0, high = N_RANGES;        /* the last range that begins at or before code */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (char_class_ranges[middle] >> 8 <= code)
            low = middle;
        else
            high = middle;
    }
    return (uint8_t) char_class_ranges[low];
}

static inline uint8_t class_of(uint32_t code)
{
    return code < 0x10000 ? plane[code] : search(code);
}

uint8_t char_class(uint32_t code)
{
    pthread_once(&plane_once, spread_plane);
    return class_of(code);
}

size_t char_classify(const uint8_t *text, size_t size, uint8_t *classes)
{
    uint8_t *to = classes;
    size_t at = 0;
    pthread_once(&plane_once, spread_plane);
    while (at < size) {
        uint64_t word;
        if (size - at >= sizeof word) {
            memcpy(&word, text + at, sizeof word);
            if ((word & 0x8080808080808080u) == 0) {
                memcpy(to, &word, sizeof word);
                to += sizeof word;
                at += sizeof word;
                continue;
            }
        }
        uint32_t code;
        size_t n = utf8_decode(text + at, size - at, &code);
        if (n == 0 || utf8_size(code) != n)
            return SIZE_MAX;
        *to++ = class_of(code);
        at += n;
    }
    return (size_t) (to - classes);
}

size_t char_normalize(const uint8_t *text, size_t size, uint8_t *to)
{
    size_t at = 0, done = 0;
    while (at < size) {
        uint32_t code;
        size_t n = utf8_decode(text + at, size - at, &code);
        done += utf8_encode(n ? code : 0xfffd, to + done);
        at += n ? n : 1;
    }
    return done;
}

bool char_is_space(uint32_t code)
{
    static const char spaces[] = CLASS_SPACE_BYTES;
    if (code >= 0x1c && code <= 0x1f)
        return true;
    uint8_t class = char_class(code);
    return class && strchr(spaces, (char) class) != NULL;
}
