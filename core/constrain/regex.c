/*
 * regex.c - regular expressions as trees
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/regex.h"

#include "base/error.h"
#include "base/memory.h"
#include "constrain/compile.h"
#include "constrain/json_expr.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS_MAX = 100, RANGES_MAX = 512 };

struct regex {
    struct expr_store *s;
    const char *text;
    size_t size, at;
    int flags, depth;
    dsr1_error *err;
    dsr1_status status;
};

struct class {
    struct code_range ranges[RANGES_MAX];
    size_t n;
    bool full;
};

static expr_id fail(struct regex *r, dsr1_status status, const char *what)
{
    if (r->status == DSR1_OK)
        r->status = error_set(r->err, status, "expression, byte %zu: %s", r->at + 1, what);
    return EXPR_NOTHING;
}

static bool at_end(const struct regex *r)
{
    return r->at >= r->size || r->status < 0;
}

static bool next_is(const struct regex *r, const char *what)
{
    size_t n = strlen(what);
    return r->size - r->at >= n && memcmp(r->text + r->at, what, n) == 0;
}

static bool take(struct regex *r, const char *what)
{
    bool there = next_is(r, what);
    if (there)
        r->at += strlen(what);
    return there;
}

/* ------------------------------------------------------------------ */
/* Classes                                                             */
/* ------------------------------------------------------------------ */

static void add_range(struct class *c, uint32_t lo, uint32_t hi)
{
    if (c->n < RANGES_MAX)
        c->ranges[c->n++] = (struct code_range){lo, hi};
    else
        c->full = true;
}

static const struct code_range digit[] = {{'0', '9'}};
static const struct code_range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct code_range space[] = {{'\t', '\r'}, {' ', ' '}};
static const struct code_range ecma_space[] = {{'\t', '\r'}, {' ', ' '}, {0xa0, 0xa0}, {0x1680, 0x1680},
                                               {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
                                               {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
static const struct code_range line_end[] = {{'\n', '\n'}};
static const struct code_range ecma_line_end[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

static void add_ranges(struct class *c, const struct code_range *ranges, size_t n, bool negated)
{
    struct code_range from[16], to[20];
    memcpy(from, ranges, n * sizeof *from);
    if (negated)
        n = expr_negate_ranges(from, n, to);
    for (size_t i = 0; i < n; i++)
        add_range(c, negated ? to[i].lo : from[i].lo, negated ? to[i].hi : from[i].hi);
}

/* \d, \W and so on; false for another letter. */
static bool add_shorthand(const struct regex *r, struct class *c, char letter)
{
    bool negated = letter >= 'A' && letter <= 'Z';
    switch (letter | 32) {
    case 'd':
        add_ranges(c, digit, 1, negated);
        return true;
    case 'w':
        add_ranges(c, word, 4, negated);
        return true;
    case 's':
        if (r->flags & REGEX_ECMA)
            add_ranges(c, ecma_space, 10, negated);
        else
            add_ranges(c, space, 2, negated);
        return true;
    default:
        return false;
    }
}

static expr_id class_tree(struct regex *r, const struct class *c, bool negated)
{
    if (c->full)
        return fail(r, DSR1_ERR_LIMIT, "a class has too many ranges");
    return r->flags & REGEX_JSON ? json_expr_class(r->s, c->ranges, c->n, negated)
                                 : expr_class(r->s, c->ranges, c->n, negated);
}

static expr_id one_of(struct regex *r, const struct code_range *ranges, size_t n, bool negated)
{
    struct class c = {.n = 0};
    add_ranges(&c, ranges, n, false);
    return class_tree(r, &c, negated);
}

static uint32_t read_code(struct regex *r)
{
    uint32_t code = 0;
    size_t n = utf8_decode((const uint8_t *) r->text + r->at, r->size - r->at, &code);
    if (n == 0 || (code >= 0xd800 && code <= 0xdfff) || utf8_size(code) != n)
        fail(r, DSR1_ERR_ARGUMENT, "not UTF-8");
    r->at += n;
    return code;
}

/* n hexadecimal digits, or with n = 0 as many as stand before a closing brace. */
static uint32_t read_hex(struct regex *r, int n)
{
    uint32_t code = 0;
    int i = 0;
    for (; (n == 0 || i < n) && r->at < r->size; i++, r->at++) {
        char c = r->text[r->at];
        int value = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (value < 0 || code > 0x10ffff)
            break;
        code = code << 4 | (uint32_t) value;
    }
    if ((n > 0 && i < n) || (n == 0 && (i == 0 || !take(r, "}"))) || code > 0x10ffff)
        fail(r, DSR1_ERR_ARGUMENT, "hexadecimal digits are missing or too many");
    return code;
}

/* Two \u escapes may be the halves of one character. */
static uint32_t read_unicode(struct regex *r)
{
    if (take(r, "{"))
        return read_hex(r, 0);
    uint32_t code = read_hex(r, 4);
    if (code >> 10 == 0xd800 >> 10 && take(r, "\\u")) {
        uint32_t low = read_hex(r, 4);
        return 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
    }
    return code;
}

/* What stands behind a backslash, if it is a character. */
static uint32_t read_escape(struct regex *r)
{
    static const char from[] = "tnrfv", to[] = "\t\n\r\f\v";
    if (at_end(r)) {
        fail(r, DSR1_ERR_ARGUMENT, "it ends with a backslash");
        return 0;
    }
    char c = r->text[r->at];
    const char *named = c ? strchr(from, c) : NULL;
    if (named) {
        r->at++;
        return (uint8_t) to[named - from];
    }
    if (take(r, "x"))
        return take(r, "{") ? read_hex(r, 0) : read_hex(r, 2);
    if (take(r, "u"))
        return read_unicode(r);
    if (c == '0' && !(r->at + 1 < r->size && r->text[r->at + 1] >= '0' && r->text[r->at + 1] <= '9')) {
        r->at++;
        return 0;
    }
    if ((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z')) {
        char what[64];
        const char *why = c == 'p' || c == 'P' ? "classes of Unicode properties" : c >= '1' && c <= '9'
            ? "references to groups" : c == 'b' || c == 'B' ? "word boundaries" : "an escape of this letter";
        snprintf(what, sizeof what, "\\%c is not supported: %s", c, why);
        fail(r, DSR1_ERR_UNSUPPORTED, what);
    }
    return read_code(r);
}

/* [:alpha:] and so on, within a class. */
static bool add_posix(struct regex *r, struct class *c)
{
    static const struct {
        const char *name, *ranges;
    } kinds[] = {{"[:alpha:]", "AZaz"}, {"[:digit:]", "09"}, {"[:alnum:]", "09AZaz"}, {"[:upper:]", "AZ"},
                 {"[:lower:]", "az"}, {"[:space:]", "\t\r  "}, {"[:xdigit:]", "09AFaf"}, {"[:word:]", "09AZ__az"},
                 {"[:punct:]", "!/:@[`{~"}, {"[:blank:]", "\t\t  "}, {"[:print:]", " ~"}, {"[:graph:]", "!~"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (r->flags & REGEX_ECMA || !take(r, kinds[i].name))
            continue;
        for (const char *at = kinds[i].ranges; *at; at += 2)
            add_range(c, (uint8_t) at[0], (uint8_t) at[1]);
        return true;
    }
    return false;
}

/* One end of a range; *single: it stands for one character. */
static uint32_t read_class_item(struct regex *r, struct class *c, bool *single)
{
    *single = false;
    if (add_posix(r, c))
        return 0;
    if (!take(r, "\\")) {
        *single = true;
        return read_code(r);
    }
    if (!at_end(r) && add_shorthand(r, c, r->text[r->at])) {
        r->at++;
        return 0;
    }
    *single = true;
    return take(r, "b") ? '\b' : take(r, "-") ? '-' : read_escape(r);
}

static void read_class_range(struct regex *r, struct class *c)
{
    bool single, other;
    uint32_t lo = read_class_item(r, c, &single);
    bool dash = r->at + 1 < r->size && r->text[r->at] == '-' && r->text[r->at + 1] != ']';
    if (!single || !dash) {
        if (single)
            add_range(c, lo, lo);
        return;
    }
    r->at++;
    uint32_t hi = read_class_item(r, c, &other);
    if (r->status == DSR1_OK && (!other || hi < lo))
        fail(r, DSR1_ERR_ARGUMENT, "a range in a class is out of order");
    add_range(c, lo, hi);
}

static expr_id read_class(struct regex *r)
{
    struct class c = {.n = 0};
    bool negated = take(r, "^");
    if (!(r->flags & REGEX_ECMA) && take(r, "]"))
        add_range(&c, ']', ']');
    while (!at_end(r) && r->text[r->at] != ']')
        read_class_range(r, &c);
    if (!take(r, "]"))
        return fail(r, DSR1_ERR_ARGUMENT, "a class is not closed");
    return class_tree(r, &c, negated);
}

/* ------------------------------------------------------------------ */
/* Structure                                                           */
/* ------------------------------------------------------------------ */

static expr_id read_choice(struct regex *r);

static expr_id read_group(struct regex *r)
{
    if (take(r, "?")) {
        if (next_is(r, "<") && !next_is(r, "<=") && !next_is(r, "<!")) {
            while (!at_end(r) && r->text[r->at] != '>')
                r->at++;
            take(r, ">");
        } else if (!take(r, ":")) {
            return fail(r, DSR1_ERR_UNSUPPORTED, "groups that look around or set options are not supported");
        }
    }
    if (++r->depth > GROUPS_MAX)
        return fail(r, DSR1_ERR_LIMIT, "groups are nested too deeply");
    expr_id id = read_choice(r);
    r->depth--;
    return take(r, ")") ? id : fail(r, DSR1_ERR_ARGUMENT, "a group is not closed");
}

static expr_id read_atom(struct regex *r)
{
    if (take(r, "("))
        return read_group(r);
    if (take(r, "["))
        return read_class(r);
    if (take(r, "."))
        return r->flags & REGEX_ECMA ? one_of(r, ecma_line_end, 3, true) : one_of(r, line_end, 1, true);
    if (next_is(r, "*") || next_is(r, "+") || next_is(r, "?"))
        return fail(r, DSR1_ERR_ARGUMENT, "nothing to repeat");
    if (next_is(r, "^") || next_is(r, "$"))
        return fail(r, DSR1_ERR_UNSUPPORTED, "^ and $ are supported at the beginning and end of the expression only");
    struct class c = {.n = 0};
    if (!take(r, "\\")) {
        uint32_t code = read_code(r);
        add_range(&c, code, code);
    } else if (!at_end(r) && add_shorthand(r, &c, r->text[r->at])) {
        r->at++;
    } else {
        uint32_t code = read_escape(r);
        add_range(&c, code, code);
    }
    return r->status < 0 ? EXPR_NOTHING : class_tree(r, &c, false);
}

static bool read_number(struct regex *r, int32_t *n)
{
    int64_t value = 0;
    size_t from = r->at;
    for (; r->at < r->size && r->text[r->at] >= '0' && r->text[r->at] <= '9'; r->at++)
        value = value > EXPR_REPEAT_MAX ? value : 10 * value + r->text[r->at] - '0';
    *n = value > EXPR_REPEAT_MAX ? EXPR_REPEAT_MAX + 1 : (int32_t) value;
    return r->at > from;
}

/* {m}, {m,} or {m,n}; anything else in braces is text. */
static bool read_braces(struct regex *r, int32_t *lo, int32_t *hi)
{
    size_t from = r->at;
    if (take(r, "{") && read_number(r, lo)) {
        *hi = *lo;
        if (take(r, ",") && !read_number(r, hi))
            *hi = -1;
        if (take(r, "}"))
            return true;
    }
    r->at = from;
    return false;
}

/* One of * + ? {m,n}, and what it says. */
static bool read_quantifier(struct regex *r, int32_t *lo, int32_t *hi)
{
    *lo = 0;
    *hi = -1;
    if (take(r, "?"))
        *hi = 1;
    else if (take(r, "+"))
        *lo = 1;
    else if (!take(r, "*") && !read_braces(r, lo, hi))
        return false;
    return true;
}

static expr_id read_quantified(struct regex *r)
{
    expr_id id = read_atom(r);
    int32_t lo, hi, lo_again, hi_again;
    if (at_end(r) || !read_quantifier(r, &lo, &hi))
        return id;
    if (lo > EXPR_REPEAT_MAX || hi > EXPR_REPEAT_MAX)
        return fail(r, DSR1_ERR_LIMIT, "a repetition is too long");
    if (hi >= 0 && lo > hi)
        return fail(r, DSR1_ERR_ARGUMENT, "a repetition is out of order");
    take(r, "?");
    if (!at_end(r) && read_quantifier(r, &lo_again, &hi_again))
        return fail(r, DSR1_ERR_UNSUPPORTED, "a quantifier behind a quantifier is not supported");
    return expr_repeat(r->s, id, lo, hi);
}

static expr_id anything(struct regex *r)
{
    return expr_repeat(r->s, one_of(r, digit, 0, true), 0, -1);
}

/* At the outside, ^ and $ say whether something may stand before and behind. */
static expr_id read_sequence(struct regex *r)
{
    struct expr_list list = {0};
    bool outside = r->depth == 0, search = outside && r->flags & REGEX_SEARCH, closed = false;
    if (!(outside && take(r, "^")) && search)
        expr_list_add(r->s, &list, anything(r));
    while (!at_end(r) && r->text[r->at] != '|' && r->text[r->at] != ')') {
        bool last = r->at + 1 == r->size || r->text[r->at + 1] == '|';
        if (outside && last && take(r, "$")) {
            closed = true;
            break;
        }
        expr_list_add(r->s, &list, read_quantified(r));
    }
    if (search && !closed)
        expr_list_add(r->s, &list, anything(r));
    expr_id id = expr_sequence(r->s, list.ids, list.n);
    free(list.ids);
    return id;
}

static expr_id read_choice(struct regex *r)
{
    struct expr_list list = {0};
    do
        expr_list_add(r->s, &list, read_sequence(r));
    while (take(r, "|"));
    expr_id id = expr_choice(r->s, list.ids, list.n);
    free(list.ids);
    return id;
}

dsr1_status regex_read(struct expr_store *s, const char *text, size_t size, int flags, expr_id *tree, dsr1_error *err)
{
    struct regex r = {.s = s, .text = text, .size = size, .flags = flags, .err = err};
    *tree = read_choice(&r);
    if (r.status == DSR1_OK && r.at < size)
        fail(&r, DSR1_ERR_ARGUMENT, "a parenthesis is closed that was not opened");
    return r.status;
}

dsr1_status regex_compile(struct expr_store *s, const char *text, dsr1_error *err)
{
    uint32_t rule = expr_new_rule(s);
    expr_id tree;
    dsr1_status status = regex_read(s, text, strlen(text), 0, &tree, err);
    if (status == DSR1_OK && s->status == DSR1_OK)
        s->rules[rule] = tree;
    return status;
}
