/*
 * surroundings.c - what stands around the cursor, copied out of a document
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "surroundings.h"

#include "codepoint.h"

/* Appends from .. to with line ends as \n. */
static void append_lines(struct buffer *out, const struct gap_text *text, size_t from, size_t to)
{
    size_t n = out->size;
    gap_text_append(text, from, to, out);
    for (size_t i = n; i < out->size; i++) {
        char byte = out->data[i];
        if (byte == '\r' && i + 1 < out->size && out->data[i + 1] == '\n')
            continue;
        out->data[n++] = byte == '\r' ? '\n' : byte;
    }
    if (out->data)
        out->data[n] = 0;
    out->size = n;
}

/* The start of the first line from which on at most `bytes` bytes lie before the cursor. */
static size_t first_line_within(const struct gap_text *text, size_t cursor, size_t bytes)
{
    if (cursor <= bytes)
        return 0;
    size_t line = gap_text_line_at(text, cursor - bytes);
    if (gap_text_line_start(text, line) < cursor - bytes)
        line++;
    size_t own = gap_text_line_at(text, cursor);
    return gap_text_line_start(text, line < own ? line : own);
}

static void move_anchor(struct document *document, const struct window *window, size_t cursor)
{
    const struct gap_text *text = &document->text;
    size_t anchor = document->anchor;
    bool good = anchor <= cursor && cursor - anchor <= window->prefix_bytes &&
                (anchor == 0 || cursor - anchor >= window->prefix_bytes / 4) &&
                gap_text_line_start(text, gap_text_line_at(text, anchor)) == anchor;
    if (good)
        return;
    anchor = first_line_within(text, cursor, window->prefix_bytes);
    if (anchor > 0) {
        /* Leave room to grow: the next lines must not move the anchor again. At least half of the window stays. */
        size_t line = gap_text_line_at(text, anchor) + window->jump_lines;
        size_t half = first_line_within(text, cursor, window->prefix_bytes / 2);
        size_t jumped = line < gap_text_lines(text) ? gap_text_line_start(text, line) : half;
        anchor = jumped < half ? jumped : half;
    }
    document->anchor = anchor;
}

static size_t last_line_within(const struct gap_text *text, size_t cursor, size_t bytes)
{
    if (text->size - cursor <= bytes)
        return text->size;
    size_t own_end = gap_text_line_end(text, gap_text_line_at(text, cursor));
    size_t start = gap_text_line_start(text, gap_text_line_at(text, cursor + bytes));
    size_t end = start > own_end ? start : own_end;
    return end > cursor ? end : cursor; /* between \r and \n, the line has ended already */
}

/* A single line can be longer than the whole window: the part next to the cursor is kept, whole characters of it. */
static size_t whole_codepoint(const struct gap_text *text, size_t offset)
{
    for (int i = 0; i < 3 && offset < text->size && codepoint_continues(gap_text_byte(text, offset)); i++)
        offset++;
    return offset;
}

/* Finds the parts of the cursor's line. False, and nothing kept, when memory was short. */
static bool measure(struct surroundings *around)
{
    if (around->prefix.failed || around->suffix.failed) {
        surroundings_free(around);
        return false;
    }
    const struct buffer *prefix = &around->prefix, *suffix = &around->suffix;
    while (around->typed < prefix->size && prefix->data[prefix->size - around->typed - 1] != '\n')
        around->typed++;
    while (around->rest < suffix->size && suffix->data[around->rest] != '\n')
        around->rest++;
    while (around->word < around->typed && codepoint_in_word(prefix->data[prefix->size - around->word - 1]))
        around->word++;
    return true;
}

bool surroundings_after(struct surroundings *around, const struct surroundings *before, const struct buffer *text,
                        size_t replaced)
{
    *around = (struct surroundings){.line_end = before->line_end, .top = before->top, .bottom = before->bottom};
    buffer_append(&around->prefix, before->prefix.data, before->prefix.size);
    buffer_append(&around->prefix, text->data, text->size);
    buffer_append(&around->suffix, before->suffix.data + replaced, before->suffix.size - replaced);
    return measure(around);
}

bool surroundings_take(struct surroundings *around, struct document *document, const struct window *window,
                       size_t from, size_t to, const char *instead)
{
    const struct gap_text *text = &document->text;
    *around = (struct surroundings){.line_end = document_line_end(document)};
    move_anchor(document, window, from);
    size_t start = document->anchor, end = last_line_within(text, to, window->suffix_bytes);
    if (from - start > 2 * window->prefix_bytes)
        start = whole_codepoint(text, from - window->prefix_bytes);
    if (end - to > 2 * window->suffix_bytes)
        end = whole_codepoint(text, to + window->suffix_bytes);
    append_lines(&around->prefix, text, start, from);
    buffer_append(&around->prefix, instead, __builtin_strlen(instead));
    append_lines(&around->suffix, text, to, end);
    buffer_append(&around->suffix, "", 0);
    around->top = start == 0;
    around->bottom = end == text->size;
    return measure(around);
}

void surroundings_free(struct surroundings *around)
{
    buffer_free(&around->prefix);
    buffer_free(&around->suffix);
}

const char *surroundings_typed(const struct surroundings *around)
{
    return around->prefix.data + around->prefix.size - around->typed;
}
