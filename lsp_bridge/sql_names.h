/*
 * sql_names.h - the names that an SQL statement can mean: tables, columns, aliases
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_SQL_NAMES_H
#define LSP_SQL_NAMES_H

#include <stdbool.h>
#include <stddef.h>

struct slice {
    const char *s;
    size_t n;
};

/* A word, a quoted name, or one other character. */
struct sql_token {
    struct slice text;
    bool word, quoted;
    bool behind;                /* it stands behind the cursor */
};

struct sql_column {
    struct slice name;          /* quoted where SQL needs it */
    size_t table;
};

struct sql_alias {
    struct slice name;
    struct slice table;         /* of a table that is known */
};

enum { SQL_TABLES_MAX = 1000, SQL_COLUMNS_MAX = 4000, SQL_TOKENS_MAX = 4096, SQL_ALIASES_MAX = 64, SQL_LOCALS_MAX = 64 };

/* All slices point into the texts that it was read from. */
struct sql_names {
    struct slice tables[SQL_TABLES_MAX];    /* "schema.table" where the search path does not find it */
    struct sql_column columns[SQL_COLUMNS_MAX];
    struct sql_token tokens[SQL_TOKENS_MAX];
    struct sql_alias aliases[SQL_ALIASES_MAX];
    struct slice locals[SQL_LOCALS_MAX];    /* tables that the text itself makes: WITH, CREATE */
    size_t n_tables, n_columns, n_tokens, n_aliases, n_locals;
    size_t statement;           /* the first token of the cursor's statement */
    size_t cursor;              /* the first token behind the cursor */
    bool overflow;              /* there was more than fits: trust nothing */
};

/*
 * Reads what schema_text() says and the text on both sides of the cursor. NULL when memory is short or there is too much of
 * it. Free with free().
 */
struct sql_names *sql_names_read(const char *tables, const char *before, size_t before_size, const char *behind,
                                 size_t behind_size);

/* Letters in any case, as SQL compares names that are not quoted. */
bool slice_is(struct slice slice, const char *word);
bool slice_same(struct slice a, struct slice b);

/* The table that a qualifier stands for, or no text. */
struct slice sql_names_resolve(const struct sql_names *names, struct slice qualifier);

#endif
