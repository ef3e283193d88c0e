/*
 * sql_string.c - an SQL statement inside of another language's string
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sql_string.h"

#include "syntax.h"

#include <string.h>

static bool is_at(const char *s, size_t size, const char *what)
{
    size_t n = strlen(what);
    return n <= size && memcmp(s, what, n) == 0;
}

/* Up to the string's end, with escapes for what they mean; what is a blank to SQL becomes one. */
static void read_inside(const struct sql_string *string, const char *s, size_t size, struct buffer *out)
{
    buffer_string(out, "");
    for (size_t i = 0; i < size && !is_at(s + i, size - i, string->quote) && !(string->one_line && s[i] == '\n'); i++) {
        bool escaped = s[i] == '\\' && i + 1 < size;
        i += escaped;
        buffer_append(out, escaped && strchr("ntr\n", s[i]) ? " " : s + i, 1);
    }
}

bool sql_string_take(struct sql_string *string, const char *language, const struct buffer *before, const struct buffer *suffix)
{
    size_t start;
    const char *s = before->data ? before->data : "";
    *string = (struct sql_string){.one_line = true};
    if (syntax_at(language, s, before->size, &start) != SYNTAX_STRING || start == 0 ||
        !syntax_is_sql(s + start, before->size - start))
        return false;
    string->quote[0] = s[start - 1];
    if (start >= 3 && strcmp(language, "python") == 0 && s[start - 2] == s[start - 1] && s[start - 3] == s[start - 1]) {
        string->quote[1] = string->quote[2] = s[start - 1];
        string->one_line = false;
    }
    string->one_line = string->one_line && string->quote[0] != '`';
    read_inside(string, s + start, before->size - start, &string->before);
    read_inside(string, suffix->data ? suffix->data : "", suffix->size, &string->behind);
    if (!string->before.failed && !string->behind.failed)
        return true;
    sql_string_free(string);
    return false;
}

void sql_string_free(struct sql_string *string)
{
    buffer_free(&string->before);
    buffer_free(&string->behind);
}

/* A quote in a grammar's literals and sets. */
static const char *mark(char quote)
{
    return quote == '"' ? "\\\"" : quote == '\'' ? "'" : "`";
}

/* SQL's own strings and quoted names; one that is open when the host's string ends ends with it. */
static void append_quoted(const struct sql_string *string, char quote, struct buffer *out)
{
    bool triple = string->quote[1];
    if (quote == string->quote[0] && !triple)
        return;
    buffer_printf(out, "\"%s\" ([^%s%s\\\\%s] | esc)* (\"%s\" | end) | ", mark(quote), mark(quote),
                  triple ? "" : mark(string->quote[0]), string->one_line ? "\\n" : "", mark(quote));
}

void sql_string_rules(const struct sql_string *string, struct buffer *out)
{
    buffer_string(out, "esc ::= \"\\\\\" .\nend ::= \"");
    for (const char *c = string->quote; *c; c++)
        buffer_string(out, mark(*c));
    buffer_printf(out, "\" .*%s\n", string->one_line ? " | \"\\n\" .*" : "");
    buffer_printf(out, "nl ::= %s\nnlc ::= \"\"\n", string->one_line ? "end" : "\"\\n\"");
    buffer_string(out, "str ::= ");
    append_quoted(string, '\'', out);
    append_quoted(string, '"', out);
    buffer_string(out, "end\n");
    buffer_printf(out, "comment ::= \"--\" [^\\n%s]* (nl | end) | \"/*\" ([^*] | \"*\"+ [^*/])* \"*\"+ \"/\"\n",
                  mark(string->quote[0]));
    buffer_string(out, "pair ::= \"(\" seq nlc \")\" | \"[\" seq nlc \"]\" | \"{\" seq nlc \"}\"\n");
}
