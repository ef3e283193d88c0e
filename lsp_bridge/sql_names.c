/*
 * sql_names.c - the names that an SQL statement can mean: tables, columns, aliases
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sql_names.h"

#include "base/memory.h"
#include "codepoint.h"
#include "syntax.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool slice_same(struct slice a, struct slice b)
{
    return a.n == b.n && strncasecmp(a.s, b.s, a.n) == 0;
}

bool slice_is(struct slice slice, const char *word)
{
    return slice_same(slice, (struct slice){word, strlen(word)});
}

static bool slice_in(struct slice slice, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_is(slice, words[i]))
            return true;
    }
    return false;
}
#define SLICE_IN(slice, words) slice_in(slice, words, sizeof(words) / sizeof *(words))

/* ------------------------------------------------------------------ */
/* The schema                                                          */
/* ------------------------------------------------------------------ */

/* Bytes of the name at s: quoted, or up to a blank, comma or parenthesis. Qualified names have dots in them. */
static size_t name_size(const char *s, const char *end)
{
    size_t n = 0;
    bool quoted = false;
    for (; s + n < end; n++) {
        if (s[n] == '"')
            quoted = !quoted;
        else if (!quoted && strchr(" ,()", s[n]))
            break;
    }
    return n;
}

/* name type, name type -> table, ...: a type may have parentheses of its own. */
static void read_columns(struct sql_names *names, const char *s, const char *end)
{
    while (s < end) {
        while (s < end && *s == ' ')
            s++;
        size_t n = name_size(s, end);
        if (n > 0 && names->n_columns < SQL_COLUMNS_MAX)
            names->columns[names->n_columns++] = (struct sql_column){{s, n}, names->n_tables - 1};
        else
            names->overflow |= n > 0;
        bool quoted = false;
        for (int depth = 0; s < end && (quoted || depth > 0 || *s != ','); s++) {
            quoted ^= *s == '"';
            depth += quoted ? 0 : (*s == '(') - (*s == ')');
        }
        s += s < end;
    }
}

static void read_tables(struct sql_names *names, const char *text)
{
    for (const char *line = text; *line;) {
        const char *end = line + strcspn(line, "\n");
        size_t n = name_size(line, end);
        if (n > 0 && names->n_tables < SQL_TABLES_MAX)
            names->tables[names->n_tables++] = (struct slice){line, n};
        else
            names->overflow |= n > 0;
        if (line + n < end && line[n] == '(' && !names->overflow)
            read_columns(names, line + n + 1, end - 1);
        line = end + (*end == '\n');
    }
}

/* ------------------------------------------------------------------ */
/* The text                                                            */
/* ------------------------------------------------------------------ */

static void add_token(struct sql_names *names, struct sql_token token)
{
    if (names->n_tokens < SQL_TOKENS_MAX)
        names->tokens[names->n_tokens++] = token;
    else
        names->overflow = true;
}

/* Up to the end of the text; behind the cursor, of the statement. */
static void read_tokens(struct sql_names *names, const char *s, size_t size, bool behind)
{
    for (size_t i = 0; i < size && !names->overflow;) {
        size_t after = syntax_skip("sql", s, size, i), n = 1;
        if (after > i) {
            if (s[i] == '"')
                add_token(names, (struct sql_token){{s + i, after - i}, false, true, behind});
            i = after;
        } else if (codepoint_in_word(s[i])) {
            while (i + n < size && codepoint_in_word(s[i + n]))
                n++;
            add_token(names, (struct sql_token){{s + i, n}, true, false, behind});
            i += n;
        } else {
            if (behind && s[i] == ';')
                return;
            if (!strchr(" \t\n\r", s[i]))
                add_token(names, (struct sql_token){{s + i, 1}, false, false, behind});
            i++;
        }
    }
}

static struct slice token_at(const struct sql_names *names, size_t i)
{
    return i < names->n_tokens ? names->tokens[i].text : (struct slice){"", 0};
}

static bool is_name(const struct sql_names *names, size_t i)
{
    return i < names->n_tokens && (names->tokens[i].word || names->tokens[i].quoted);
}

static void add_local(struct sql_names *names, struct slice name)
{
    if (names->n_locals < SQL_LOCALS_MAX)
        names->locals[names->n_locals++] = name;
    else
        names->overflow = true;
}

/* CREATE ... TABLE [IF NOT EXISTS] name, and name AS [NOT MATERIALIZED] ( of a WITH. */
static void read_locals(struct sql_names *names)
{
    static const char *const kinds[] = {"table", "view"}, *const between[] = {"if", "not", "exists", "only"};
    static const char *const materialized[] = {"not", "materialized"};
    for (size_t i = 0; i < names->n_tokens; i++) {
        if (slice_is(token_at(names, i), "create")) {
            size_t k = i + 1;
            for (; k < i + 4 && !SLICE_IN(token_at(names, k), kinds); k++)
                ;
            for (k++; k < i + 8 && SLICE_IN(token_at(names, k), between); k++)
                ;
            if (is_name(names, k))
                add_local(names, token_at(names, k));
        }
        if (is_name(names, i) && slice_is(token_at(names, i + 1), "as")) {
            size_t k = i + 2;
            while (SLICE_IN(token_at(names, k), materialized))
                k++;
            if (slice_is(token_at(names, k), "("))
                add_local(names, token_at(names, i));
        }
    }
}

/* Name and dot and name, as it stands there. */
static struct slice qualified(const struct sql_names *names, size_t i, size_t *next)
{
    struct slice name = token_at(names, i);
    *next = i + 1;
    if (slice_is(token_at(names, i + 1), ".") && is_name(names, i + 2) &&
        names->tokens[i].behind == names->tokens[i + 2].behind) {
        name.n = (size_t) (token_at(names, i + 2).s - name.s) + token_at(names, i + 2).n;
        *next = i + 3;
    }
    return name;
}

static void add_alias(struct sql_names *names, struct slice name, struct slice table)
{
    if (names->n_aliases < SQL_ALIASES_MAX)
        names->aliases[names->n_aliases++] = (struct sql_alias){name, table};
}

/* What follows FROM, JOIN, UPDATE, INTO: table [AS] alias, and after a comma the next. */
static void read_aliases(struct sql_names *names)
{
    static const char *const leads[] = {"from", "join", "update", "into"};
    static const char *const no_alias[] = {"where", "on", "join", "left", "right", "inner", "outer", "full", "cross", "natural",
                                           "using", "group", "order", "limit", "set", "values", "select", "union", "having",
                                           "window", "for", "returning", "offset", "fetch", "except", "intersect", "default",
                                           "tablesample", "from", "when", "do", "conflict", "overriding", "lateral", "as"};
    for (size_t i = names->statement; i < names->n_tokens; i++) {
        if (!SLICE_IN(token_at(names, i), leads))
            continue;
        for (size_t k = i + 1; is_name(names, k);) {
            struct slice table = qualified(names, k, &k);
            k += slice_is(token_at(names, k), "as");
            size_t dot = table.n;
            while (dot > 0 && table.s[dot - 1] != '.')
                dot--;
            if (is_name(names, k) && !SLICE_IN(token_at(names, k), no_alias))
                add_alias(names, token_at(names, k++), table);
            add_alias(names, (struct slice){table.s + dot, table.n - dot}, table);
            if (!slice_is(token_at(names, k), ","))
                break;
            k++;
        }
    }
}

static bool is_local(const struct sql_names *names, struct slice name)
{
    for (size_t i = 0; i < names->n_locals; i++) {
        if (slice_same(names->locals[i], name))
            return true;
    }
    return false;
}

struct slice sql_names_resolve(const struct sql_names *names, struct slice qualifier)
{
    for (size_t i = 0; i < names->n_aliases; i++) {
        if (!slice_same(names->aliases[i].name, qualifier))
            continue;
        if (is_local(names, names->aliases[i].table))
            break;
        for (size_t k = 0; k < names->n_tables; k++) {
            if (slice_same(names->tables[k], names->aliases[i].table))
                return names->tables[k];
        }
        break;
    }
    return (struct slice){"", 0};
}

struct sql_names *sql_names_read(const char *tables, const char *before, size_t before_size, const char *behind,
                                 size_t behind_size)
{
    struct sql_names *names = memory_array(1, sizeof *names);
    if (!names)
        return NULL;
    read_tables(names, tables);
    read_tokens(names, before, before_size, false);
    names->cursor = names->n_tokens;
    for (size_t i = 0; i < names->n_tokens; i++) {
        if (slice_is(token_at(names, i), ";"))
            names->statement = i + 1;
    }
    read_tokens(names, behind, behind_size, true);
    read_locals(names);
    read_aliases(names);
    if (names->overflow) {
        free(names);
        return NULL;
    }
    return names;
}
