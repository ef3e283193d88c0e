/*
 * syntax.c - code, comment or string? A guess that needs no parser
 *
 * One pass over the text with four states. It knows line comments, block
 * comments, quotes with backslashes, SQL's doubled quotes and Python's triple
 * ones, which is enough to tell whether the cursor stands in prose.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "syntax.h"

#include "ring.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

struct scan {
    const char *text;
    size_t size;
    const char *line_comment;
    bool block_comments, triple_quotes, sql, backticks;
};

static bool starts(const struct scan *scan, size_t i, const char *with)
{
    size_t n = strlen(with);
    return n <= scan->size - i && memcmp(scan->text + i, with, n) == 0;
}

/* The offset behind the closing `end`, or size + 1 when it does not come. */
static size_t behind(const struct scan *scan, size_t i, const char *end, bool escapes, bool one_line)
{
    for (; i < scan->size; i++) {
        if (escapes && scan->text[i] == '\\')
            i++;
        else if (starts(scan, i, end))
            return i + strlen(end);
        else if (one_line && scan->text[i] == '\n')
            return i + 1; /* never closed: an apostrophe, or broken code */
    }
    return scan->size + 1;
}

/* What begins at i: its kind, its size in *opening, and how it ends. */
static enum syntax_place begins(const struct scan *scan, size_t i, size_t *opening, const char **end)
{
    static const char *const singles[] = {"'", "\"", "`"};
    static const char *const triples[] = {"'''", "\"\"\""};
    if (starts(scan, i, scan->line_comment)) {
        *opening = strlen(scan->line_comment);
        *end = "\n";
        return SYNTAX_COMMENT;
    }
    if (scan->block_comments && starts(scan, i, "/*")) {
        *opening = 2;
        *end = "*/";
        return SYNTAX_COMMENT;
    }
    for (int k = 0; scan->triple_quotes && k < 2; k++) {
        if (starts(scan, i, triples[k])) {
            *opening = 3;
            *end = triples[k];
            return SYNTAX_STRING;
        }
    }
    for (int k = 0; k < (scan->backticks ? 3 : 2); k++) {
        if (starts(scan, i, singles[k])) {
            *opening = 1;
            *end = singles[k];
            return SYNTAX_STRING;
        }
    }
    return SYNTAX_CODE;
}

static struct scan scan_of(const char *language, const char *text, size_t size)
{
    bool script = strncmp(language, "javascript", 10) == 0 || strncmp(language, "typescript", 10) == 0;
    struct scan scan = {
        .text = text, .size = size, .line_comment = ring_comment(language),
        .triple_quotes = strcmp(language, "python") == 0,
        .sql = strcmp(language, "sql") == 0,
        .backticks = script || strcmp(language, "go") == 0,
    };
    scan.block_comments = scan.sql || strcmp(scan.line_comment, "//") == 0;
    return scan;
}

/* Behind what begins at i and ends with `end`; size + 1 when it does not end. */
static size_t skip(const struct scan *scan, enum syntax_place place, size_t i, size_t opening, const char *end)
{
    bool single = place == SYNTAX_STRING && opening == 1 && *end != '`' && !scan->sql;
    return behind(scan, i + opening, end, place == SYNTAX_STRING && !scan->sql, single);
}

size_t syntax_skip(const char *language, const char *text, size_t size, size_t i)
{
    struct scan scan = scan_of(language, text, size);
    const char *end = NULL;
    size_t opening = 0;
    enum syntax_place place = begins(&scan, i, &opening, &end);
    if (place == SYNTAX_CODE)
        return i;
    size_t after = skip(&scan, place, i, opening, end);
    return after > size ? size : after;
}

enum syntax_place syntax_at(const char *language, const char *text, size_t size, size_t *start)
{
    struct scan scan = scan_of(language, text, size);
    for (size_t i = 0; i < size;) {
        const char *end = NULL;
        size_t opening = 0;
        enum syntax_place place = begins(&scan, i, &opening, &end);
        if (place == SYNTAX_CODE) {
            i++;
            continue;
        }
        size_t after = skip(&scan, place, i, opening, end);
        if (after > size) {
            if (start)
                *start = i + opening < size ? i + opening : size;
            return place;
        }
        i = after;
    }
    if (start)
        *start = size;
    return SYNTAX_CODE;
}

bool syntax_is_sql(const char *text, size_t size)
{
    static const char *const words[] = {"select", "insert into", "update", "delete from", "with", "create table", "merge into"};
    while (size > 0 && isspace((unsigned char) *text))
        text++, size--;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i]);
        if (size > n && strncasecmp(text, words[i], n) == 0 && isspace((unsigned char) text[n]))
            return true;
    }
    return false;
}
