/*
 * header_reader.c - cut the bytes of stdin into messages
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "header_reader.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HEADER_BYTES 8192u  /* no client sends a header this long */

static const char name_wanted[] = "Content-Length";
#define NAME_SIZE (sizeof name_wanted - 1)

void header_reader_open(struct header_reader *reader, size_t limit)
{
    *reader = (struct header_reader){.limit = limit};
}

void header_reader_close(struct header_reader *reader)
{
    buffer_free(&reader->input);
}

static const char *bytes(const struct header_reader *reader)
{
    return reader->input.data + reader->used;
}

static size_t available(const struct header_reader *reader)
{
    return reader->input.size - reader->used;
}

/* Better to lose a message than the session. */
static void give_up_body(struct header_reader *reader)
{
    snprintf(reader->reason, sizeof reader->reason, "out of memory for a message of %zu bytes", reader->body);
    reader->skip = reader->body - available(reader);
    reader->in_body = false;
    reader->no_memory = true;
    reader->used = 0;
    buffer_free(&reader->input);
}

char *header_reader_room(struct header_reader *reader, size_t size)
{
    /* Move what is left to the front once that costs less than it frees. */
    if (reader->used > 0 && reader->used >= available(reader)) {
        buffer_drop(&reader->input, reader->used);
        reader->used = 0;
    }
    if (reader->input.size == 0 && reader->input.capacity > (1u << 20))
        buffer_free(&reader->input);
    char *room = buffer_reserve(&reader->input, size);
    if (!room && reader->in_body) {
        give_up_body(reader);
        room = buffer_reserve(&reader->input, size);
    }
    return room;
}

void header_reader_filled(struct header_reader *reader, size_t size)
{
    reader->input.size += size;
    reader->input.data[reader->input.size] = 0;
}

/* Bytes up to and with the blank line that ends a header; 0 when it is not there yet. */
static size_t header_size(const char *s, size_t size)
{
    if (size > HEADER_BYTES)
        size = HEADER_BYTES;
    for (const char *p = s; (p = memchr(p, '\n', size - (size_t) (p - s))); p++) {
        size_t next = (size_t) (p - s) + 1;
        if (next < size && s[next] == '\r')
            next++;
        if (next < size && s[next] == '\n')
            return next + 1;
    }
    return 0;
}

/* The decimal number that fills s; false for anything else. Saturates: too large is still a number. */
static bool parse_length(const char *s, size_t size, uint64_t *length)
{
    while (size > 0 && (*s == ' ' || *s == '\t'))
        s++, size--;
    while (size > 0 && (s[size - 1] == ' ' || s[size - 1] == '\t' || s[size - 1] == '\r'))
        size--;
    if (size == 0)
        return false;
    *length = 0;
    for (size_t i = 0; i < size; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        if (__builtin_mul_overflow(*length, 10u, length) ||
            __builtin_add_overflow(*length, (uint64_t) (s[i] - '0'), length))
            *length = UINT64_MAX / 16;
    }
    return true;
}

/* Is s a line "Content-Length: VALUE"? Then the value. */
static bool is_length_line(const char *s, size_t size, const char **value, size_t *value_size)
{
    if (size < NAME_SIZE || strncasecmp(s, name_wanted, NAME_SIZE) != 0)
        return false;
    size_t i = NAME_SIZE;
    while (i < size && (s[i] == ' ' || s[i] == '\t'))
        i++;
    if (i == size || s[i] != ':')
        return false;
    *value = s + i + 1;
    *value_size = size - i - 1;
    return true;
}

enum header_kind { HEADER_GOOD, HEADER_NO_LENGTH, HEADER_TWO_LENGTHS, HEADER_BAD_LENGTH };

/* Reads a whole header; lines that it does not know are ignored. */
static enum header_kind parse_header(const char *s, size_t size, uint64_t *length)
{
    enum header_kind kind = HEADER_NO_LENGTH;
    for (size_t i = 0; i < size;) {
        const char *end = memchr(s + i, '\n', size - i);
        size_t line = end ? (size_t) (end - s) - i : size - i;
        const char *value;
        size_t value_size;
        if (is_length_line(s + i, line, &value, &value_size)) {
            if (kind != HEADER_NO_LENGTH)
                return HEADER_TWO_LENGTHS;
            kind = parse_length(value, value_size, length) ? HEADER_GOOD : HEADER_BAD_LENGTH;
        }
        i += line + 1;
    }
    return kind;
}

static enum header_event lose(struct header_reader *reader, size_t drop, const char *reason)
{
    reader->lost = true;
    reader->used += drop;
    reader->dropped += drop;
    snprintf(reader->reason, sizeof reader->reason, "%s", reason);
    return HEADER_SKIPPED;
}

enum found { FOUND_YES, FOUND_NO, FOUND_MAYBE };

/* Does a whole good header, with the start of an object behind it, begin at s? */
static enum found is_header(const char *s, size_t size)
{
    size_t compare = size < NAME_SIZE ? size : NAME_SIZE;
    if (strncasecmp(s, name_wanted, compare) != 0)
        return FOUND_NO;
    size_t header = header_size(s, size);
    if (header == 0)
        return size >= HEADER_BYTES ? FOUND_NO : FOUND_MAYBE;
    uint64_t length;
    if (parse_header(s, header, &length) != HEADER_GOOD)
        return FOUND_NO;
    if (header == size)
        return FOUND_MAYBE;
    return s[header] == '{' ? FOUND_YES : FOUND_NO;
}

/* Drops bytes up to the next header. True when it is there. */
static bool find_header(struct header_reader *reader)
{
    while (available(reader) > 0) {
        const char *s = bytes(reader);
        size_t size = available(reader), i = 0;
        while (i < size && (s[i] | 32) != 'c')
            i++;
        reader->used += i;
        reader->dropped += i;
        if (i == size)
            return false;
        enum found found = is_header(s + i, size - i);
        if (found == FOUND_YES) {
            reader->lost = false;
            reader->dropped = 0;
            return true;
        }
        if (found == FOUND_MAYBE)
            return false;
        reader->used++;
        reader->dropped++;
    }
    return false;
}

/* A header begins at the first unused byte: reads it, or says what is wrong with it. */
static enum header_event read_header(struct header_reader *reader)
{
    while (available(reader) > 0 && (*bytes(reader) == '\r' || *bytes(reader) == '\n'))
        reader->used++;
    if (available(reader) == 0)
        return HEADER_MORE;
    size_t header = header_size(bytes(reader), available(reader));
    if (header == 0 && available(reader) < HEADER_BYTES)
        return HEADER_MORE;
    if (header == 0)
        return lose(reader, 1, "header longer than 8 KiB");
    uint64_t length = 0;
    switch (parse_header(bytes(reader), header, &length)) {
    case HEADER_NO_LENGTH: return lose(reader, 1, "header without Content-Length");
    case HEADER_TWO_LENGTHS: return lose(reader, header, "header with two Content-Length lines");
    case HEADER_BAD_LENGTH: return lose(reader, header, "Content-Length is not a number");
    case HEADER_GOOD: break;
    }
    if (length > 4 * (uint64_t) reader->limit)
        return lose(reader, header, "Content-Length is absurd");
    reader->used += header;
    if (length > reader->limit) {
        reader->skip = length;
        snprintf(reader->reason, sizeof reader->reason, "message of %llu bytes is over the limit of %zu",
                 (unsigned long long) length, reader->limit);
        return HEADER_SKIPPED;
    }
    reader->in_body = true;
    reader->body = (size_t) length;
    return HEADER_MESSAGE;
}

enum header_event header_reader_next(struct header_reader *reader, const char **body, size_t *size)
{
    if (reader->no_memory) {
        reader->no_memory = false;
        return HEADER_SKIPPED;
    }
    if (reader->skip > 0) {
        size_t n = available(reader) < reader->skip ? available(reader) : (size_t) reader->skip;
        reader->used += n;
        reader->skip -= n;
    }
    if (reader->lost && !find_header(reader)) {
        if (reader->dropped <= reader->limit)
            return HEADER_MORE;
        snprintf(reader->reason, sizeof reader->reason, "no header within %zu bytes", reader->limit);
        return HEADER_FATAL;
    }
    if (!reader->in_body) {
        if (available(reader) == 0)
            return HEADER_MORE;
        enum header_event event = read_header(reader);
        if (event != HEADER_MESSAGE)
            return event;
    }
    if (available(reader) < reader->body)
        return HEADER_MORE;
    *body = bytes(reader);
    *size = reader->body;
    reader->used += reader->body;
    reader->in_body = false;
    return HEADER_MESSAGE;
}
