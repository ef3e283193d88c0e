/*
 * long_text.c - read a message that carries a whole file
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "long_text.h"

#include "base/buffer.h"
#include "codepoint.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TEXTS_MAX 8                     /* long strings of one message; clients send one */
#define STAND_IN "@dsr1-long-text-"     /* and a digit: what stands for one in the short body */

struct lift {
    struct buffer rest;                 /* the body with short strings in place of the long ones */
    json_t *texts[TEXTS_MAX];
    int n_texts;
};

/* ------------------------------------------------------------------ */
/* Strings                                                             */
/* ------------------------------------------------------------------ */

/* The closing quote of the string whose first byte behind its opening quote is s; NULL: there is none. */
static const char *string_end(const char *s, const char *end)
{
    const char *start = s;
    while ((s = memchr(s, '"', (size_t) (end - s)))) {
        size_t slashes = 0;
        while (s - slashes > start && s[-1 - (ptrdiff_t) slashes] == '\\')
            slashes++;
        if (slashes % 2 == 0)
            return s;
        s++;
    }
    return NULL;
}

/* In each byte of w that does not stand for itself, the high bit: backslashes, control characters, parts of code points. */
static uint64_t special_bytes(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x80 * ones;
    uint64_t slash = w ^ ('\\' * ones);
    return (((slash - ones) & ~slash) | ((w - 0x20 * ones) & ~w) | w) & high;
}

/* Bytes at s that stand for themselves are copied to out, which has room for 8 more than there are. Returns how many. */
static size_t copy_plain(const char *s, const char *end, char *out)
{
    size_t n = 0;
    while (end - s - (ptrdiff_t) n >= 8) {
        uint64_t w;
        memcpy(&w, s + n, sizeof w);
        memcpy(out + n, &w, sizeof w);
        uint64_t special = special_bytes(w);
        if (special)
            return n + (size_t) __builtin_ctzll(special) / 8;
        n += 8;
    }
    while (s + n < end && s[n] != '\\' && (unsigned char) s[n] >= 0x20 && (unsigned char) s[n] < 0x80) {
        out[n] = s[n];
        n++;
    }
    return n;
}

static int hex4(const char *s, const char *end)
{
    int value = 0;
    for (int i = 0; i < 4; i++, s++) {
        int digit = s >= end                  ? -1
                    : *s >= '0' && *s <= '9' ? *s - '0'
                    : (*s | 32) >= 'a' && (*s | 32) <= 'f' ? (*s | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* \uXXXX at s of the basic plane, which is what clients escape; others are jansson's. Returns the bytes of UTF-8, 0 for none. */
static size_t decode_unicode(const char *s, const char *end, char *out)
{
    int c = hex4(s + 2, end);
    if (c <= 0 || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    if (c < 0x80) {
        out[0] = (char) c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char) (0xc0 | c >> 6);
        out[1] = (char) (0x80 | (c & 0x3f));
        return 2;
    }
    out[0] = (char) (0xe0 | c >> 12);
    out[1] = (char) (0x80 | (c >> 6 & 0x3f));
    out[2] = (char) (0x80 | (c & 0x3f));
    return 3;
}

/* An escape at s becomes bytes of *out. Returns the bytes read, 0 for what is no escape. */
static size_t decode_escape(const char *s, const char *end, char **out)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (end - s < 2 || !s[1])
        return 0;
    const char *name = strchr(names, s[1]);
    if (name) {
        *(*out)++ = values[name - names];
        return 2;
    }
    size_t n = s[1] == 'u' ? decode_unicode(s, end, *out) : 0;
    *out += n;
    return n > 0 ? 6 : 0;
}

/* The string between two quotes as JSON means it; NULL where it is ill-formed, or memory short. */
static json_t *decode(const char *s, const char *end)
{
    char *text = malloc((size_t) (end - s) + 8), *out = text;
    bool good = text != NULL;
    while (good && s < end) {
        uint32_t codepoint;
        size_t plain = copy_plain(s, end, out), n;
        s += plain;
        out += plain;
        if (s == end)
            break;
        if (*s == '\\') {
            n = decode_escape(s, end, &out);
            good = n > 0;
        } else {
            n = codepoint_next(s, (size_t) (end - s), &codepoint);
            good = codepoint != CODEPOINT_BAD && codepoint >= 0x20;
            memcpy(out, s, n);
            out += n;
        }
        s += n;
    }
    json_t *json = good ? json_stringn_nocheck(text, (size_t) (out - text)) : NULL;
    free(text);
    return json;
}

/* ------------------------------------------------------------------ */
/* Bodies                                                              */
/* ------------------------------------------------------------------ */

/* A short string could be taken for what stands for a long one, or an escape spell that: not worth telling apart. */
static bool is_ambiguous(const char *s, size_t size)
{
    return memmem(s, size, STAND_IN, strlen(STAND_IN)) || memmem(s, size, "\\u", 2);
}

static bool is_key(const char *behind, const char *end)
{
    while (behind < end && strchr(" \t\r\n", *behind))
        behind++;
    return behind < end && *behind == ':';
}

static bool lift_string(struct lift *lift, const char *s, const char *quote, const char *end)
{
    size_t size = (size_t) (quote - s);
    if (size < LONG_TEXT_BYTES) {
        buffer_append(&lift->rest, s - 1, size + 2);
        return !is_ambiguous(s, size);
    }
    if (lift->n_texts == TEXTS_MAX || is_key(quote + 1, end))
        return false;
    json_t *text = decode(s, quote);
    if (!text)
        return false;
    buffer_printf(&lift->rest, "\"" STAND_IN "%d\"", lift->n_texts);
    lift->texts[lift->n_texts++] = text;
    return true;
}

static bool lift_body(struct lift *lift, const char *s, const char *end)
{
    while (s < end) {
        const char *quote = memchr(s, '"', (size_t) (end - s));
        buffer_append(&lift->rest, s, (size_t) ((quote ? quote : end) - s));
        if (!quote)
            break;
        const char *closing = string_end(quote + 1, end);
        if (!closing || !lift_string(lift, quote + 1, closing, end))
            return false;
        s = closing + 1;
    }
    return lift->n_texts > 0 && !lift->rest.failed;
}

/* The long text that this value stands for, or NULL. */
static json_t *stands_for(const struct lift *lift, const json_t *value)
{
    const char *s = json_string_value(value);
    return s && strncmp(s, STAND_IN, strlen(STAND_IN)) == 0 ? lift->texts[s[strlen(STAND_IN)] - '0'] : NULL;
}

/* Puts the long texts back. jansson refused what is nested too deeply. */
static bool put_back(const struct lift *lift, json_t *json)
{
    const char *key;
    json_t *value, *text;
    size_t i;
    void *next;
    bool good = true;
    json_object_foreach_safe(json, next, key, value) {
        text = stands_for(lift, value);
        good &= text ? json_object_set(json, key, text) == 0 : put_back(lift, value);
    }
    json_array_foreach(json, i, value) {
        text = stands_for(lift, value);
        good &= text ? json_array_set(json, i, text) == 0 : put_back(lift, value);
    }
    return good;
}

json_t *long_text_parse(const char *body, size_t size)
{
    struct lift lift = {0};
    json_t *root = NULL;
    if (size >= LONG_TEXT_BYTES && lift_body(&lift, body, body + size))
        root = json_loadb(lift.rest.data, lift.rest.size, 0, NULL);
    if (root && !put_back(&lift, root)) {
        json_decref(root);
        root = NULL;
    }
    for (int i = 0; i < lift.n_texts; i++)
        json_decref(lift.texts[i]);
    buffer_free(&lift.rest);
    return root;
}
