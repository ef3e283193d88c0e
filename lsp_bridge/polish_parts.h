/*
 * polish_parts.h - what the steps of polish.c share
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_POLISH_PARTS_H
#define LSP_POLISH_PARTS_H

#include "blank.h"
#include "polish.h"

#include <string.h>

#define TAB_COLUMNS 4       /* as code_grammar.c counts */

/* polish_lines.c: one line or a block, lines that are there already, repetitions, tabs or blanks. */
void polish_mode(struct polish *polish);
void polish_following(struct polish *polish);
void polish_repetition(struct polish *polish);
void polish_indentation(struct polish *polish);

/* polish_brackets.c: what closes nothing, and what stands behind the cursor already. */
void polish_brackets(struct polish *polish);
void polish_overlap(struct polish *polish);

static inline void polish_cut(struct polish *polish, size_t size)
{
    polish->text.size = size;
    if (polish->text.data)
        polish->text.data[size] = 0;
}

static inline bool is_closer(char c)
{
    return c == ')' || c == ']' || c == '}';
}

/* Bytes up to the end of the line, without it. */
static inline size_t line_size(const char *s, size_t size)
{
    const char *end = memchr(s, '\n', size);
    return end ? (size_t) (end - s) : size;
}

static inline size_t indentation(const char *s, size_t size)
{
    size_t columns = 0;
    for (size_t i = 0; i < size && (s[i] == ' ' || s[i] == '\t'); i++)
        columns += s[i] == '\t' ? TAB_COLUMNS : 1;
    return columns;
}

static inline bool same_line(const char *a, size_t a_size, const char *b, size_t b_size)
{
    a_size = without_trailing_space(a, a_size);
    b_size = without_trailing_space(b, b_size);
    return a_size > 0 && a_size == b_size && memcmp(a, b, a_size) == 0;
}

#endif
