/*
 * polish_brackets.c - brackets that close nothing, and text that stands behind the cursor already
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "polish_parts.h"

#include "codepoint.h"

#include <string.h>

struct brackets {
    int open[3];        /* opened and not closed */
    int unmatched[3];   /* closed and not opened */
};

/* Reads brackets outside of strings; false at a closer beyond `allowed` (may be NULL), with *at on it. */
static bool read_brackets(const char *s, size_t size, struct brackets *brackets, const int *allowed, size_t *at)
{
    static const char openers[] = "([{", closers[] = ")]}";
    for (size_t i = 0; i < size; i++) {
        if (s[i] == '"' || s[i] == '\'') {
            /* A quote without a partner on its line is an apostrophe. */
            size_t rest = line_size(s + i + 1, size - i - 1), j = 0;
            while (j < rest && s[i + 1 + j] != s[i])
                j += 1 + (s[i + 1 + j] == '\\');
            if (j < rest)
                i += j + 1;
            continue;
        }
        const char *kind = s[i] ? strchr(openers, s[i]) : NULL;
        if (kind)
            brackets->open[kind - openers]++;
        kind = s[i] ? strchr(closers, s[i]) : NULL;
        if (!kind)
            continue;
        int k = (int) (kind - closers);
        if (brackets->open[k] > 0) {
            brackets->open[k]--;
        } else if (allowed && brackets->unmatched[k] >= allowed[k]) {
            *at = i;
            return false;
        } else {
            brackets->unmatched[k]++;
        }
    }
    return true;
}

static bool only_closing(const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!strchr(")]}\"'`;,> \t", s[i]) || !s[i])
            return false;
    }
    return true;
}

/* Ends before a bracket that closes nothing, or something that the text behind the cursor closes already. */
void polish_brackets(struct polish *polish)
{
    const struct surroundings *around = polish->around;
    if (!around->top || polish->any_brackets)
        return; /* what is open above the window is not known */
    struct brackets before = {0}, after = {0}, own = {0};
    size_t at = 0, skip = only_closing(around->suffix.data, around->rest) ? around->rest : 0;
    read_brackets(around->prefix.data, around->prefix.size, &before, NULL, NULL);
    read_brackets(around->suffix.data + skip, around->suffix.size - skip, &after, NULL, NULL);
    int allowed[3];
    for (int k = 0; k < 3; k++) {
        allowed[k] = before.open[k] - after.unmatched[k];
        if (allowed[k] < 0 && before.open[k] > 0)
            allowed[k] = before.open[k];    /* the document does not balance: no advice from it */
    }
    if (!read_brackets(polish->text.data, polish->text.size, &own, allowed, &at))
        polish_cut(polish, at);
}

/* Do the bytes of `part` occur in s in this order? That is what editors can draw as ghost text around them. */
static bool is_subsequence(const char *part, size_t part_size, const char *s, size_t size)
{
    size_t i = 0;
    for (size_t j = 0; i < part_size && j < size; j++)
        i += part[i] == s[j];
    return i == part_size;
}

static int sum(const int *counts)
{
    return counts[0] + counts[1] + counts[2];
}

/* Are all closing brackets of s from `from` on partners of brackets that were opened before s? */
static bool closes_outer(const char *s, size_t size, size_t from)
{
    struct brackets head = {0}, all = {0};
    int closers = 0;
    read_brackets(s, from, &head, NULL, NULL);
    read_brackets(s, size, &all, NULL, NULL);
    for (size_t i = from; i < size; i++)
        closers += is_closer(s[i]);
    return sum(all.unmatched) - sum(head.unmatched) == closers;
}

/* Does s close as many outer brackets of each kind as the rest of the line? */
static bool closes_like(const char *s, size_t size, const char *rest, size_t rest_size)
{
    struct brackets own = {0}, after = {0};
    read_brackets(s, size, &own, NULL, NULL);
    read_brackets(rest, rest_size, &after, NULL, NULL);
    for (int k = 0; k < 3; k++) {
        if (own.unmatched[k] < after.unmatched[k])
            return false;
    }
    return true;
}

/*
 * What the text repeats of the rest of the line becomes part of the range that
 * it replaces: a bracket that the editor closed by itself must not stand there
 * twice. One that closes a bracket of the text's own is no repetition.
 */
void polish_overlap(struct polish *polish)
{
    const char *rest = polish->around->suffix.data, *s = polish->text.data;
    size_t rest_size = without_trailing_space(rest, polish->around->rest), size = polish->text.size;
    if (rest_size == 0 || size == 0)
        return;
    for (size_t k = rest_size < size ? rest_size : size; k > 0; k--) {
        if ((k == rest_size || !codepoint_continues(rest[k])) && memcmp(s + size - k, rest, k) == 0 &&
            closes_outer(s, size, size - k)) {
            polish->replaced = k;
            return;
        }
    }
    bool again = only_closing(rest, rest_size)
                     ? is_subsequence(rest, rest_size, s, size) && closes_like(s, size, rest, rest_size)
                     : rest_size > 2 && memmem(s, size, rest, rest_size);
    if (again)
        polish->replaced = rest_size;
}
