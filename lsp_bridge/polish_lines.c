/*
 * polish_lines.c - lines of a suggestion that are too many: behind its block, there already, or repeated
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "polish_parts.h"

#include "codepoint.h"

#include <string.h>

/*
 * Where the block that the text continues ends. A cursor on an empty line is
 * inside a block of that indentation; behind code it opens one that is indented
 * deeper, and a closing bracket at its own indentation still belongs to it.
 */
static size_t block_end(const struct surroundings *around, const char *s, size_t size)
{
    const char *typed = surroundings_typed(around);
    size_t base = indentation(typed, around->typed);
    bool opens = !is_blank(typed, around->typed);
    size_t at = line_size(s, size), before_blanks = at;
    /* A line that starts the text anew: its first line stands where the cursor is. */
    if (!opens)
        base += indentation(s, at);
    while (at < size) {
        const char *line = s + at + 1;
        size_t n = line_size(line, size - at - 1), end = at + 1 + n;
        if (is_blank(line, n)) {
            at = end;
            continue;
        }
        size_t columns = indentation(line, n);
        bool after_blanks = before_blanks < at;
        if (columns < base || (opens && columns == base)) {
            bool closes = opens && columns == base && is_closer(line[strspn(line, " \t")]) && !after_blanks;
            return closes ? end : before_blanks;
        }
        if (!opens && columns == 0 && after_blanks)
            return before_blanks; /* at the top level, an empty line ends the paragraph */
        at = before_blanks = end;
    }
    return size;
}

void polish_mode(struct polish *polish)
{
    const char *s = polish->text.data;
    size_t size = polish->text.size;
    polish_cut(polish, polish->line_only ? line_size(s, size) : polish->any_indent ? size : block_end(polish->around, s, size));
}

bool polish_complete(const struct surroundings *around, bool line_only, const char *text, size_t size)
{
    if (line_only)
        return memchr(text, '\n', size) != NULL;
    return size > 0 && block_end(around, text, size) < without_trailing_space(text, size);
}

/* The first line below the cursor's that is not blank. */
static const char *line_below(const struct surroundings *around, size_t *size)
{
    size_t at = around->rest;
    while (at < around->suffix.size) {
        const char *line = around->suffix.data + at + 1;
        *size = line_size(line, around->suffix.size - at - 1);
        if (!is_blank(line, *size))
            return line;
        at += 1 + *size;
    }
    return NULL;
}

/* Is the cursor's line, with the first line of the text behind it, the same as this one? */
static bool first_line_is(const struct polish *polish, const char *line, size_t size)
{
    size_t typed = polish->around->typed, first = line_size(polish->text.data, polish->text.size);
    size = without_trailing_space(line, size);
    first = without_trailing_space(polish->text.data, first);
    return size > 0 && first > 0 && size == typed + first &&
           memcmp(line, surroundings_typed(polish->around), typed) == 0 &&
           memcmp(line + typed, polish->text.data, first) == 0;
}

/* Ends before a line that follows in the document anyway. */
void polish_following(struct polish *polish)
{
    size_t below_size, size = polish->text.size;
    const char *below = line_below(polish->around, &below_size), *s = polish->text.data;
    if (!below)
        return;
    if (first_line_is(polish, below, below_size)) {
        polish_cut(polish, 0);
        return;
    }
    for (size_t at = line_size(s, size); at < size;) {
        size_t n = line_size(s + at + 1, size - at - 1);
        if (same_line(s + at + 1, n, below, below_size)) {
            polish_cut(polish, at);
            return;
        }
        at += 1 + n;
    }
}

static size_t count_word_bytes(const char *s, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++)
        n += codepoint_in_word(s[i]);
    return n;
}

/* The size of `lines` whole lines at s, with their line ends; 0 when there are fewer. */
static size_t lines_size(const char *s, size_t size, int lines)
{
    size_t at = 0;
    while (lines-- > 0) {
        if (at >= size)
            return 0;
        at += line_size(s + at, size - at);
        if (at == size && lines > 0)
            return 0;
        at += at < size;
    }
    return at;
}

/* The same one to four lines over and over: the first time stays. */
static size_t repeated_lines(const char *s, size_t size)
{
    for (size_t at = 0; at < size; at += line_size(s + at, size - at) + 1) {
        for (int period = 1; period <= 4; period++) {
            size_t n = lines_size(s + at, size - at, period), copies = 1;
            if (n == 0 || count_word_bytes(s + at, n) < 2)
                continue;
            while (at + (copies + 1) * n <= size && memcmp(s + at, s + at + copies * n, n) == 0)
                copies++;
            /* The last copy may lack its line end. */
            if (at + (copies + 1) * n == size + 1 && memcmp(s + at, s + at + copies * n, n - 1) == 0)
                copies++;
            if (copies >= (period == 1 ? 3 : 2))
                return at + n;
        }
    }
    return size;
}

/* The same few bytes four times or more up to the end of the text: "x, x, x, x, ". */
static size_t repeated_bytes(const char *s, size_t size)
{
    for (size_t period = 2; period <= 32 && 4 * period <= size; period++) {
        size_t same = 0;
        while (same + period < size && s[size - 1 - same] == s[size - 1 - same - period])
            same++;
        if (same >= 3 * period && count_word_bytes(s + size - period, period) > 0)
            return size - same;
    }
    return size;
}

void polish_repetition(struct polish *polish)
{
    const struct surroundings *around = polish->around;
    const char *line_start = surroundings_typed(around);
    if (line_start > around->prefix.data) {
        const char *above = line_start - 1;
        size_t n = 0;
        while (above - n > around->prefix.data && above[-(ptrdiff_t) n - 1] != '\n')
            n++;
        if (count_word_bytes(above - n, n) >= 4 && first_line_is(polish, above - n, n)) {
            polish_cut(polish, 0); /* small models love to write the line above once more */
            return;
        }
    }
    polish_cut(polish, repeated_lines(polish->text.data, polish->text.size));
    size_t kept = repeated_bytes(polish->text.data, polish->text.size);
    while (kept > 0 && kept < polish->text.size && codepoint_continues(polish->text.data[kept]))
        kept--;
    polish_cut(polish, kept);
}

enum indent_style { INDENT_UNKNOWN, INDENT_TABS, INDENT_SPACES };

static enum indent_style indent_style(const char *s, size_t size)
{
    int tabs = 0, spaces = 0;
    for (size_t at = 0; at < size; at += line_size(s + at, size - at) + 1) {
        tabs += s[at] == '\t';
        spaces += s[at] == ' ' && at + 1 < size && s[at + 1] == ' ';
    }
    return tabs > spaces ? INDENT_TABS : spaces > 0 ? INDENT_SPACES : INDENT_UNKNOWN;
}

/* Continuation lines are indented with what the document uses, tabs or spaces. */
void polish_indentation(struct polish *polish)
{
    const char *s = polish->text.data;
    size_t size = polish->text.size, at = line_size(s, size);
    enum indent_style style = indent_style(polish->around->prefix.data, polish->around->prefix.size);
    if (style == INDENT_UNKNOWN || at == size)
        return;
    struct buffer out = {0};
    buffer_append(&out, s, at);
    while (at < size) {
        const char *line = s + at + 1;
        size_t n = line_size(line, size - at - 1), lead = 0;
        while (lead < n && (line[lead] == ' ' || line[lead] == '\t'))
            lead++;
        size_t columns = indentation(line, lead);
        buffer_string(&out, "\n");
        for (; style == INDENT_TABS && columns >= TAB_COLUMNS; columns -= TAB_COLUMNS)
            buffer_string(&out, "\t");
        buffer_printf(&out, "%*s", (int) columns, "");
        buffer_append(&out, line + lead, n - lead);
        at += 1 + n;
    }
    if (out.failed) {
        buffer_free(&out);
        return;
    }
    buffer_free(&polish->text);
    polish->text = out;
}
