/*
 * gap_text.c - the text of a document, cheap to change where it was changed last
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "gap_text.h"

#include "base/memory.h"
#include "base/size.h"
#include "codepoint.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void gap_text_free(struct gap_text *text)
{
    free(text->bytes);
    free(text->breaks);
    *text = (struct gap_text){0};
}

/* Where byte offset is stored. */
static size_t place(const struct gap_text *text, size_t offset)
{
    return offset < text->gap ? offset : offset + (text->capacity - text->size);
}

char gap_text_byte(const struct gap_text *text, size_t offset)
{
    return text->bytes[place(text, offset)];
}

const char *gap_text_span(const struct gap_text *text, size_t offset, size_t *size)
{
    *size = (offset < text->gap ? text->gap : text->size) - offset;
    return text->bytes + (*size ? place(text, offset) : 0);
}

void gap_text_append(const struct gap_text *text, size_t from, size_t to, struct buffer *out)
{
    while (from < to) {
        size_t n;
        const char *span = gap_text_span(text, from, &n);
        if (n > to - from)
            n = to - from;
        buffer_append(out, span, n);
        from += n;
    }
}

/* ------------------------------------------------------------------ */
/* Lines                                                               */
/* ------------------------------------------------------------------ */

static size_t break_at(const struct gap_text *text, size_t i)
{
    if (i < text->break_gap)
        return text->breaks[i];
    return text->size - text->breaks[i + (text->break_capacity - text->n_breaks)];
}

/* The number of breaks before offset. */
static size_t breaks_before(const struct gap_text *text, size_t offset)
{
    size_t low = 0, high = text->n_breaks;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (break_at(text, middle) < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t gap_text_lines(const struct gap_text *text)
{
    return text->n_breaks + 1;
}

size_t gap_text_line_start(const struct gap_text *text, size_t line)
{
    return line == 0 ? 0 : break_at(text, line - 1);
}

size_t gap_text_line_end(const struct gap_text *text, size_t line)
{
    if (line == text->n_breaks)
        return text->size;
    size_t start = gap_text_line_start(text, line), end = break_at(text, line) - 1;
    if (end > start && gap_text_byte(text, end) == '\n' && gap_text_byte(text, end - 1) == '\r')
        end--;
    return end;
}

size_t gap_text_line_at(const struct gap_text *text, size_t offset)
{
    return breaks_before(text, offset + 1);
}

/* Does a line start at offset (> 0)? It depends on the bytes on both sides. */
static bool is_break(const struct gap_text *text, size_t offset)
{
    char before = gap_text_byte(text, offset - 1);
    return before == '\n' || (before == '\r' && (offset == text->size || gap_text_byte(text, offset) != '\n'));
}

static void move_break_gap(struct gap_text *text, size_t to)
{
    size_t gap = text->break_capacity - text->n_breaks;
    for (; text->break_gap > to; text->break_gap--)
        text->breaks[text->break_gap - 1 + gap] = text->size - text->breaks[text->break_gap - 1];
    for (; text->break_gap < to; text->break_gap++)
        text->breaks[text->break_gap] = text->size - text->breaks[text->break_gap + gap];
}

/* Adds the breaks of from .. to to the left of the break gap. There is room for them. */
static void scan_breaks(struct gap_text *text, size_t from, size_t to)
{
    for (size_t offset = from ? from : 1; offset <= to && offset <= text->size; offset++) {
        if (is_break(text, offset)) {
            text->breaks[text->break_gap++] = offset;
            text->n_breaks++;
        }
    }
}

/* ------------------------------------------------------------------ */
/* Changes                                                             */
/* ------------------------------------------------------------------ */

static bool reserve_bytes(struct gap_text *text, size_t more)
{
    size_t need, capacity;
    if (text->capacity - text->size >= more)
        return true;
    if (!size_add(text->size, more, &need) || !size_add(need, need / 4 + 256, &capacity))
        return false;
    char *bytes = malloc(capacity);
    if (!bytes)
        return false;
    size_t behind = text->size - text->gap;
    if (text->gap > 0)
        memcpy(bytes, text->bytes, text->gap);
    if (behind > 0)
        memcpy(bytes + capacity - behind, text->bytes + text->capacity - behind, behind);
    free(text->bytes);
    text->bytes = bytes;
    text->capacity = capacity;
    return true;
}

static bool reserve_breaks(struct gap_text *text, size_t more)
{
    size_t need, capacity;
    if (text->break_capacity - text->n_breaks >= more)
        return true;
    if (!size_add(text->n_breaks, more, &need) || !size_add(need, need / 4 + 32, &capacity))
        return false;
    size_t *breaks = memory_array(capacity, sizeof *breaks);
    if (!breaks)
        return false;
    size_t behind = text->n_breaks - text->break_gap;
    if (text->break_gap > 0)
        memcpy(breaks, text->breaks, text->break_gap * sizeof *breaks);
    if (behind > 0)
        memcpy(breaks + capacity - behind, text->breaks + text->break_capacity - behind, behind * sizeof *breaks);
    free(text->breaks);
    text->breaks = breaks;
    text->break_capacity = capacity;
    return true;
}

static void move_gap(struct gap_text *text, size_t to)
{
    size_t gap = text->capacity - text->size;
    if (to < text->gap)
        memmove(text->bytes + to + gap, text->bytes + to, text->gap - to);
    else if (to > text->gap)
        memmove(text->bytes + text->gap, text->bytes + text->gap + gap, to - text->gap);
    text->gap = to;
}

bool gap_text_replace(struct gap_text *text, size_t from, size_t to, const char *bytes, size_t size)
{
    assert(from <= to && to <= text->size);
    size_t n_new = 2; /* the places before and behind the new bytes may become breaks, too */
    for (size_t i = 0; i < size; i++)
        n_new += bytes[i] == '\n' || bytes[i] == '\r';
    if (!reserve_bytes(text, size) || !reserve_breaks(text, n_new))
        return false;

    /* Whether from .. to are breaks depends on bytes that change: forget them, and look again afterwards. */
    size_t first = breaks_before(text, from), last = breaks_before(text, to + 1);
    move_break_gap(text, first);
    text->n_breaks -= last - first;

    move_gap(text, from);
    text->size -= to - from;
    if (size > 0)
        memcpy(text->bytes + from, bytes, size);
    text->size += size;
    text->gap = from + size;
    scan_breaks(text, from, from + size);
    return true;
}

/* Files are compared in pieces that the C library compares faster than a loop does. */
#define PIECE 256

/* How many bytes agree from the beginning, at most limit. */
static size_t common_start(const struct gap_text *text, const char *bytes, size_t limit)
{
    size_t i = 0;
    while (i < limit) {
        size_t n;
        const char *span = gap_text_span(text, i, &n);
        n = n < limit - i ? n : limit - i;
        size_t j = 0;
        while (j + PIECE <= n && memcmp(span + j, bytes + i + j, PIECE) == 0)
            j += PIECE;
        while (j < n && span[j] == bytes[i + j])
            j++;
        i += j;
        if (j < n)
            break;
    }
    return i;
}

static size_t common_end(const struct gap_text *text, const char *bytes, size_t size, size_t limit)
{
    size_t i = 0;
    while (i < limit) {
        size_t behind = text->size - i;     /* not compared yet */
        size_t n = behind > text->gap ? behind - text->gap : behind, j = 0;
        n = n < limit - i ? n : limit - i;
        const char *s = text->bytes + place(text, behind - 1) + 1, *t = bytes + size - i;
        while (j + PIECE <= n && memcmp(s - j - PIECE, t - j - PIECE, PIECE) == 0)
            j += PIECE;
        while (j < n && s[-1 - (ptrdiff_t) j] == t[-1 - (ptrdiff_t) j])
            j++;
        i += j;
        if (j < n)
            break;
    }
    return i;
}

void gap_text_differs(const struct gap_text *text, const char *bytes, size_t size, size_t *from, size_t *removed)
{
    size_t shorter = size < text->size ? size : text->size;
    size_t start = common_start(text, bytes, shorter);
    while (start > 0 && start < size && codepoint_continues(bytes[start]))
        start--;
    size_t end = common_end(text, bytes, size, shorter - start);
    while (end > 0 && codepoint_continues(bytes[size - end]))
        end--;
    *from = start;
    *removed = text->size - end - start;
}

bool gap_text_update(struct gap_text *text, const char *bytes, size_t size, size_t *from, size_t *removed)
{
    size_t start, old;
    gap_text_differs(text, bytes, size, &start, &old);
    if (from)
        *from = start;
    if (removed)
        *removed = old;
    return gap_text_replace(text, start, start + old, bytes + start, size + old - text->size);
}
