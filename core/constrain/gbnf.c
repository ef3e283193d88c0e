/*
 * gbnf.c - grammars in llama.cpp's notation as trees
 *
 *     root  ::= "yes" | "no" because?      # a comment
 *     because ::= ", because " [a-z ]{1,80} "."
 *
 * Rules, alternatives, groups, ? * + {m} {m,} {m,n}, literals, classes of code
 * points, '.', and the escapes \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH. A
 * rule ends with its line, unless a parenthesis is open or `|` stands at the end
 * of the line or begins the next.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "base/memory.h"
#include "constrain/compile.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { RULES_MAX = 4096, GROUPS_MAX = 100, CLASS_MAX = 512 };

struct gbnf {
    struct expr_store *s;
    const char *text;
    size_t size, at;
    int depth;
    char **names;               /* of each rule of the store */
    bool *defined;
    size_t n_names;
    dsr1_error *err;
    dsr1_status status;
};

static expr_id fail(struct gbnf *g, dsr1_status status, const char *what, const char *name)
{
    int line = 1;
    for (size_t i = 0; i < g->at && i < g->size; i++)
        line += g->text[i] == '\n';
    if (g->status == DSR1_OK)
        g->status = error_set(g->err, status, "grammar, line %d: %s%.60s", line, what, name);
    return EXPR_NOTHING;
}

static expr_id broken(struct gbnf *g, const char *what)
{
    return fail(g, DSR1_ERR_ARGUMENT, what, "");
}

static char peek(const struct gbnf *g)
{
    return g->at < g->size && g->status == DSR1_OK ? g->text[g->at] : 0;
}

static bool take(struct gbnf *g, char c)
{
    bool there = c && peek(g) == c;
    g->at += there;
    return there;
}

/* Blanks and comments; line breaks only where the rule goes on behind them. */
static void skip(struct gbnf *g, bool lines)
{
    for (char c; (c = peek(g)) != 0;) {
        if (c == '#')
            while (peek(g) && peek(g) != '\n' && peek(g) != '\r')
                g->at++;
        else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')))
            g->at++;
        else
            return;
    }
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* ------------------------------------------------------------------ */
/* Names                                                               */
/* ------------------------------------------------------------------ */

static uint32_t new_name(struct gbnf *g, const char *name, size_t size)
{
    char *copy = strndup(name, size);
    if (g->n_names == RULES_MAX || !copy) {
        free(copy);
        fail(g, copy ? DSR1_ERR_LIMIT : DSR1_ERR_NOMEM, "too many rules", "");
        return 0;
    }
    g->names[g->n_names++] = copy;
    return expr_new_rule(g->s);
}

/* The rule of a name, which may be defined later. */
static uint32_t rule_of(struct gbnf *g, const char *name, size_t size)
{
    for (size_t i = 0; i < g->n_names; i++)
        if (strlen(g->names[i]) == size && memcmp(g->names[i], name, size) == 0)
            return (uint32_t) i;
    return new_name(g, name, size);
}

static uint32_t read_name(struct gbnf *g)
{
    size_t from = g->at;
    while (is_name_char(peek(g)))
        g->at++;
    if (g->at == from) {
        broken(g, "a rule's name is missing");
        return 0;
    }
    return rule_of(g, g->text + from, g->at - from);
}

/* ------------------------------------------------------------------ */
/* Characters                                                          */
/* ------------------------------------------------------------------ */

static uint32_t read_hex(struct gbnf *g, int n)
{
    uint32_t code = 0;
    for (int i = 0; i < n; i++, g->at++) {
        char c = peek(g);
        int value = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (value < 0) {
            broken(g, "hexadecimal digits are missing");
            return 0;
        }
        code = code << 4 | (uint32_t) value;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        broken(g, "an escape is no character");
    return code;
}

static uint32_t read_escape(struct gbnf *g)
{
    static const char from[] = "nrt\\\"[]-^", to[] = "\n\r\t\\\"[]-^";
    char c = peek(g);
    const char *named = c ? strchr(from, c) : NULL;
    g->at++;
    if (named)
        return (uint8_t) to[named - from];
    if (c == 'x' || c == 'u' || c == 'U')
        return read_hex(g, c == 'x' ? 2 : c == 'u' ? 4 : 8);
    broken(g, "an unknown escape");
    return 0;
}

static uint32_t read_char(struct gbnf *g)
{
    uint32_t code = 0;
    if (take(g, '\\'))
        return read_escape(g);
    size_t n = utf8_decode((const uint8_t *) g->text + g->at, g->size - g->at, &code);
    if (n == 0 || utf8_size(code) != n || (code >= 0xd800 && code <= 0xdfff))
        broken(g, "not UTF-8");
    g->at += n;
    return code;
}

static expr_id read_literal(struct gbnf *g)
{
    struct expr_list list = {0};
    while (peek(g) && peek(g) != '"') {
        uint8_t bytes[4];
        uint32_t code = read_char(g);
        if (g->status == DSR1_OK)
            expr_list_add(g->s, &list, expr_bytes(g->s, bytes, utf8_encode(code, bytes)));
    }
    expr_id id = expr_sequence(g->s, list.ids, list.n);
    free(list.ids);
    return take(g, '"') ? id : broken(g, "a literal is not closed");
}

static expr_id read_class(struct gbnf *g)
{
    struct code_range ranges[CLASS_MAX];
    size_t n = 0;
    bool negated = take(g, '^');
    while (peek(g) && peek(g) != ']' && n < CLASS_MAX) {
        uint32_t lo = read_char(g), hi = lo;
        if (peek(g) == '-' && g->at + 1 < g->size && g->text[g->at + 1] != ']') {
            g->at++;
            hi = read_char(g);
        }
        if (hi < lo)
            return broken(g, "a range in a class is out of order");
        ranges[n++] = (struct code_range){lo, hi};
    }
    if (n == CLASS_MAX)
        return fail(g, DSR1_ERR_LIMIT, "a class has too many ranges", "");
    return take(g, ']') ? expr_class(g->s, ranges, n, negated) : broken(g, "a class is not closed");
}

/* ------------------------------------------------------------------ */
/* Structure                                                           */
/* ------------------------------------------------------------------ */

static expr_id read_choice(struct gbnf *g, bool nested);

static expr_id read_group(struct gbnf *g)
{
    if (++g->depth > GROUPS_MAX)
        return fail(g, DSR1_ERR_LIMIT, "groups are nested too deeply", "");
    skip(g, true);
    expr_id id = read_choice(g, true);
    g->depth--;
    skip(g, true);
    return take(g, ')') ? id : broken(g, "a group is not closed");
}

static bool starts_item(char c)
{
    return c == '"' || c == '[' || c == '(' || c == '.' || is_name_char(c);
}

static expr_id read_item(struct gbnf *g)
{
    if (take(g, '"'))
        return read_literal(g);
    if (take(g, '['))
        return read_class(g);
    if (take(g, '('))
        return read_group(g);
    if (take(g, '.'))
        return expr_class(g->s, NULL, 0, true);
    return expr_rule(g->s, read_name(g));
}

static bool read_number(struct gbnf *g, int32_t *n)
{
    int64_t value = 0;
    size_t from = g->at;
    for (; peek(g) >= '0' && peek(g) <= '9'; g->at++)
        value = value > EXPR_REPEAT_MAX ? value : 10 * value + peek(g) - '0';
    if (value > EXPR_REPEAT_MAX)
        fail(g, DSR1_ERR_LIMIT, "a repetition is too long", "");
    *n = (int32_t) value;
    return g->at > from;
}

static expr_id read_braces(struct gbnf *g, expr_id id)
{
    int32_t lo = 0, hi;
    skip(g, false);
    bool has_lo = read_number(g, &lo), has_hi = has_lo;
    hi = lo;
    skip(g, false);
    if (take(g, ',')) {
        skip(g, false);
        has_hi = read_number(g, &hi);
        if (!has_hi)
            hi = -1;
    }
    skip(g, false);
    if ((!has_lo && !has_hi) || !take(g, '}') || (hi >= 0 && lo > hi))
        return broken(g, "a repetition in braces cannot be read");
    return expr_repeat(g->s, id, lo, hi);
}

static expr_id read_sequence(struct gbnf *g, bool nested)
{
    struct expr_list list = {0};
    while (starts_item(peek(g))) {
        expr_id id = read_item(g);
        skip(g, nested);
        for (bool more = true; more && peek(g); skip(g, nested)) {
            more = true;
            if (take(g, '*'))
                id = expr_repeat(g->s, id, 0, -1);
            else if (take(g, '+'))
                id = expr_repeat(g->s, id, 1, -1);
            else if (take(g, '?'))
                id = expr_optional(g->s, id);
            else if (take(g, '{'))
                id = read_braces(g, id);
            else
                more = false;
        }
        expr_list_add(g->s, &list, id);
    }
    expr_id id = expr_sequence(g->s, list.ids, list.n);
    free(list.ids);
    return id;
}

/* Also at the beginning of a later line: nothing else can begin with it. */
static bool take_bar(struct gbnf *g)
{
    size_t from = g->at;
    skip(g, true);
    if (take(g, '|'))
        return true;
    g->at = from;
    return false;
}

static expr_id read_choice(struct gbnf *g, bool nested)
{
    struct expr_list list = {0};
    do {
        skip(g, list.n > 0 || nested);
        expr_list_add(g->s, &list, read_sequence(g, nested));
    } while (take_bar(g));
    expr_id id = expr_choice(g->s, list.ids, list.n);
    free(list.ids);
    return id;
}

static void read_rule(struct gbnf *g)
{
    uint32_t rule = read_name(g);
    skip(g, false);
    if (g->status == DSR1_OK && (g->size - g->at < 3 || memcmp(g->text + g->at, "::=", 3) != 0))
        broken(g, "::= is missing");
    if (g->status < 0)
        return;
    g->at += 3;
    skip(g, true);
    expr_id tree = read_choice(g, false);
    if (g->status == DSR1_OK && g->defined[rule])
        fail(g, DSR1_ERR_ARGUMENT, "a second definition of ", g->names[rule]);
    g->defined[rule] = true;
    if (g->s->status == DSR1_OK)
        g->s->rules[rule] = tree;
    skip(g, false);
    if (peek(g) && peek(g) != '\n' && peek(g) != '\r')
        broken(g, "something stands behind a rule that is none of its parts");
}

dsr1_status gbnf_compile(struct expr_store *s, const char *text, char ***names, dsr1_error *err)
{
    struct gbnf g = {.s = s, .text = text, .size = strlen(text), .err = err};
    g.names = memory_array(RULES_MAX, sizeof *g.names);
    g.defined = memory_array(RULES_MAX, sizeof *g.defined);
    *names = g.names;
    if (!g.names || !g.defined) {
        free(g.defined);
        return error_nomem(err, "a grammar");
    }
    uint32_t root = rule_of(&g, "root", 4);
    for (skip(&g, true); peek(&g) && s->status == DSR1_OK; skip(&g, true))
        read_rule(&g);
    for (size_t i = 0; i < g.n_names && g.status == DSR1_OK; i++)
        if (!g.defined[i])
            fail(&g, DSR1_ERR_ARGUMENT, i == root ? "there is no rule " : "no definition of rule ", g.names[i]);
    free(g.defined);
    return g.status;
}

void gbnf_free_names(char **names)
{
    for (size_t i = 0; names && i < RULES_MAX; i++)
        free(names[i]);
    free(names);
}
