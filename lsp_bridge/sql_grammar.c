/*
 * sql_grammar.c - the part of a place's grammar that knows the database's tables
 *
 * A text is words with gaps between them; each word but the special ones is free.
 * That a word is not special needs a rule a letter: a trie of the special words,
 * left at any letter that leads out of it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sql_grammar.h"

#include "codepoint.h"
#include "sql_names.h"
#include "text/utf8.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NODES_MAX 600
#define FREE_COLUMNS 500        /* with more different columns, any may follow an unknown qualifier */
#define HIGH "\\x80-\\U0010FFFF"

/* Words with rules of their own. */
static const char *const special[] = {"from", "join", "insert", "distinct"};
/* Their parentheses have a FROM that names no table: extract(year FROM placed_at). */
static const char *const calls[] = {"extract", "trim", "substring", "overlay", "position"};
/* Behind these, names are made or come from elsewhere. */
static const char *const loose[] = {"with", "create", "grant", "revoke", "copy", "fetch", "move", "declare"};
/* Tables that are none of the schema's, or no tables at all. */
static const char *const others[] = {
    "unnest", "generate_series", "generate_subscripts", "json_each", "jsonb_each", "json_each_text", "jsonb_each_text",
    "json_array_elements", "jsonb_array_elements", "json_array_elements_text", "jsonb_array_elements_text",
    "json_to_recordset", "jsonb_to_recordset", "json_populate_recordset", "jsonb_populate_recordset", "json_object_keys",
    "jsonb_object_keys", "jsonb_path_query", "regexp_split_to_table", "regexp_matches", "string_to_table", "stdin", "current",
    "json_table", "xmltable"};
/* The cursor stands where a table's name belongs. */
static const char *const leads[] = {"from", "join", "into", "update", "references", "truncate", "analyze", "vacuum", "only"};

#define COUNT(words) (sizeof(words) / sizeof *(words))

static bool is_in(struct slice slice, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_is(slice, words[i]))
            return true;
    }
    return false;
}

/* ------------------------------------------------------------------ */
/* Names in GBNF                                                       */
/* ------------------------------------------------------------------ */

static void append_byte(struct buffer *out, char c)
{
    if (isalpha((unsigned char) c))
        buffer_printf(out, "[%c%c]", tolower((unsigned char) c), toupper((unsigned char) c));
    else if (c == '"' || c == '\\')
        buffer_printf(out, "\"\\%c\"", c);
    else
        buffer_printf(out, "\"%c\"", c);
}

/* In any case, but for what is quoted or beyond ASCII. Blanks stand between the letters: they are items of a sequence. */
static void append_name(struct buffer *out, struct slice name)
{
    bool quoted = false;
    for (size_t i = 0, n; i < name.n; i += n) {
        n = utf8_length((uint8_t) name.s[i]);
        n = n > 0 && n <= name.n - i ? n : 1;
        quoted ^= name.s[i] == '"';
        buffer_string(out, " ");
        if (n > 1 || (quoted && name.s[i] != '"' && name.s[i] != '\\'))
            buffer_printf(out, "\"%.*s\"", (int) n, name.s + i);
        else
            append_byte(out, name.s[i]);
    }
}

static void append_word(struct buffer *out, const char *word)
{
    append_name(out, (struct slice){word, strlen(word)});
}

/* A grammar is a text: a name that is none, or has control characters, cannot be said in it. */
static bool is_sayable(struct slice name)
{
    for (size_t i = 0, n; i < name.n; i += n) {
        uint32_t code;
        n = utf8_decode((const uint8_t *) name.s + i, name.n - i, &code);
        if (n == 0 || code < ' ' || utf8_size(code) != n || (code >= 0xd800 && code <= 0xdfff))
            return false;
    }
    return true;
}

/* One alternative: what is left of a name of which `typed` is written; false when it does not begin so or cannot be said. */
static bool append_rest(struct buffer *out, struct slice name, struct slice typed, bool *first)
{
    if (typed.n > name.n || strncasecmp(name.s, typed.s, typed.n) != 0)
        return false;
    struct slice rest = {name.s + typed.n, name.n - typed.n};
    if (!is_sayable(rest))
        return false;
    buffer_string(out, *first ? "" : " |");
    *first = false;
    if (rest.n == 0)
        buffer_string(out, " \"\"");
    append_name(out, rest);
    return true;
}

/* ------------------------------------------------------------------ */
/* Words that are not special                                          */
/* ------------------------------------------------------------------ */

struct trie {
    struct {
        char byte;
        bool ends;
        int child, sibling;     /* 0: none */
    } nodes[NODES_MAX];
    int n;
    bool overflow;
};

static void trie_add(struct trie *trie, struct slice word)
{
    int at = 0;
    for (size_t i = 0; i < word.n; i++) {
        char c = (char) tolower((unsigned char) word.s[i]);
        int child = trie->nodes[at].child;
        while (child && trie->nodes[child].byte != c)
            child = trie->nodes[child].sibling;
        if (!child) {
            if (trie->n == NODES_MAX) {
                trie->overflow = true;
                return;
            }
            child = trie->n++;
            trie->nodes[child].byte = c;
            trie->nodes[child].sibling = trie->nodes[at].child;
            trie->nodes[at].child = child;
        }
        at = child;
    }
    trie->nodes[at].ends = true;
}

static bool has_child(const struct trie *trie, int at, char c)
{
    for (int child = trie->nodes[at].child; child; child = trie->nodes[child].sibling) {
        if (trie->nodes[child].byte == c)
            return true;
    }
    return false;
}

/* Rule `free-N`: what may follow the letters that lead to node N so that the word is none of the trie's. */
static void append_node(const struct trie *trie, int at, struct buffer *out)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz", digits[] = "0123456789";
    buffer_printf(out, "free-%d ::= (", at);
    for (int child = trie->nodes[at].child; child; child = trie->nodes[child].sibling) {
        append_byte(out, trie->nodes[child].byte);
        buffer_printf(out, " free-%d | ", child);
    }
    buffer_string(out, "[" HIGH);
    for (const char *c = letters; *c; c++) {
        if (!has_child(trie, at, *c))
            buffer_printf(out, "%c%c", *c, toupper((unsigned char) *c));
    }
    buffer_string(out, has_child(trie, at, '_') ? "" : "_");
    for (const char *c = digits; *c && at > 0; c++)
        buffer_string(out, has_child(trie, at, *c) ? "" : (char[]){*c, 0});
    buffer_printf(out, "] w)%s\n", at == 0 || trie->nodes[at].ends ? "" : "?");
}

/* ------------------------------------------------------------------ */
/* Rules                                                               */
/* ------------------------------------------------------------------ */

static bool is_plain(struct slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (!codepoint_in_word(name.s[i]) || (unsigned char) name.s[i] >= 0x80)
            return false;
    }
    return name.n > 0;
}

/* free: words without a meaning here. owned: qualifiers of this statement, whose columns are known. */
static bool append_words(const struct sql_names *names, struct buffer *out)
{
    struct trie *trie = calloc(1, sizeof *trie);
    if (!trie)
        return false;
    trie->n = 1;
    for (size_t i = 0; i < COUNT(special); i++)
        trie_add(trie, (struct slice){special[i], strlen(special[i])});
    for (size_t i = 0; i < COUNT(calls); i++)
        trie_add(trie, (struct slice){calls[i], strlen(calls[i])});
    for (size_t i = 0; i < COUNT(loose); i++)
        trie_add(trie, (struct slice){loose[i], strlen(loose[i])});
    for (size_t i = 0; i < names->n_aliases; i++) {
        if (is_plain(names->aliases[i].name) && sql_names_resolve(names, names->aliases[i].name).n > 0)
            trie_add(trie, names->aliases[i].name);
    }
    for (int i = 0; i < trie->n; i++)
        append_node(trie, i, out);
    bool good = !trie->overflow;
    free(trie);
    return good;
}

/* The columns of one table, or of all, as alternatives; *first: none stands before them yet. */
static void append_columns(const struct sql_names *names, struct slice table, struct slice typed, bool *first, struct buffer *out)
{
    for (size_t i = 0; i < names->n_columns; i++) {
        struct slice name = names->columns[i].name;
        bool seen = table.n > 0 && names->tables[names->columns[i].table].s != table.s;
        for (size_t k = 0; k < i && !seen && table.n == 0; k++)
            seen = slice_same(names->columns[k].name, name);
        if (!seen)
            append_rest(out, name, typed, first);
    }
}

static size_t count_columns(const struct sql_names *names)
{
    size_t n = 0;
    for (size_t i = 0; i < names->n_columns; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = slice_same(names->columns[k].name, names->columns[i].name);
        n += !seen;
    }
    return n;
}

/* column: what may follow an unknown qualifier. Any column, any word of the text, and the tables of a schema. */
static void append_any_column(const struct sql_names *names, bool in_string, struct buffer *out)
{
    bool first = false;
    buffer_printf(out, "column ::= \"*\"%s", in_string ? " | open" : "");
    if (names->n_columns == 0 || names->overflow || count_columns(names) > FREE_COLUMNS) {
        buffer_string(out, " | wc w | \"\\\"\" [^\"\\n]* \"\\\"\"\n");
        return;
    }
    append_columns(names, (struct slice){"", 0}, (struct slice){"", 0}, &first, out);
    for (size_t i = 0; i < names->n_tables + names->n_tokens; i++) {
        bool is_table = i < names->n_tables;
        struct slice name = is_table ? names->tables[i] : names->tokens[i - names->n_tables].text;
        const char *dot = is_table ? memchr(name.s, '.', name.n) : NULL;
        if (dot)
            name = (struct slice){dot + 1, name.n - (size_t) (dot + 1 - name.s)};
        if (is_table || names->tokens[i - names->n_tables].word)
            append_rest(out, name, (struct slice){"", 0}, &first);
    }
    buffer_string(out, "\n");
}

static void append_tables(const struct sql_names *names, struct slice typed, bool *any, struct buffer *out)
{
    bool first = true;
    for (size_t i = 0; i < names->n_tables; i++)
        append_rest(out, names->tables[i], typed, &first);
    for (size_t i = 0; i < names->n_locals; i++)
        append_rest(out, names->locals[i], typed, &first);
    for (size_t i = 0; i < COUNT(others); i++)
        append_rest(out, (struct slice){others[i], strlen(others[i])}, typed, &first);
    *any = !first;
}

static void append_choice(struct buffer *out, const char *rule, const char *const *words, size_t n)
{
    buffer_printf(out, "%s ::=", rule);
    for (size_t i = 0; i < n; i++) {
        buffer_string(out, i > 0 ? " |" : "");
        append_word(out, words[i]);
    }
    buffer_string(out, "\n");
}

/* own: a qualifier of this statement, one of its columns behind a dot, and what follows. */
static void append_own(const struct sql_names *names, bool in_string, struct buffer *out)
{
    buffer_string(out, "own ::=");
    bool first = true;
    for (size_t i = 0; i < names->n_aliases; i++) {
        struct slice table = sql_names_resolve(names, names->aliases[i].name);
        if (!is_plain(names->aliases[i].name) || table.n == 0)
            continue;
        bool none = false;
        size_t size = out->size;
        buffer_string(out, first ? "" : " |");
        append_name(out, names->aliases[i].name);
        size_t before = out->size;
        buffer_printf(out, " (agap seq | \".\" (\"*\"%s", in_string ? " | open" : "");
        size_t columns = out->size;
        append_columns(names, table, (struct slice){"", 0}, &none, out);
        bool any = out->size > columns;
        buffer_string(out, ") after)?");
        if (!any) { /* they are not known */
            out->size = before;
            buffer_string(out, " after");
        }
        first = false;
        if (out->failed)
            out->size = size;
    }
    buffer_string(out, first ? " \"\\n\" nl nl\n" : "\n"); /* something that never comes where a word does */
}

/* open: where a name belongs in another language's string, what that language puts in its place. */
static bool append_rules(const struct sql_names *names, bool in_string, struct buffer *out)
{
    bool any;
    if (in_string)
        buffer_string(out, "plain ::= [^()\\[\\]{}\"'`\\\\\\n.A-Za-z0-9_" HIGH "] | esc\nopen ::= [%$:?] w | esc | end\n"
                           "blank ::= ([ \\t] | nl | comment | esc)+\n");
    else
        buffer_string(out, "plain ::= [^()\\[\\]{}\"'\\n.A-Za-z0-9_" HIGH "]\nblank ::= ([ \\t] | nl | comment)+\n");
    buffer_string(out, "wc ::= [A-Za-z0-9_" HIGH "]\nw ::= wc*\n"
                       "gap ::= plain | \".\" | str | comment | nl | pair\nagap ::= plain | str | comment | nl | pair\n"
                       "seq ::= (gap seq | unit after | own)?\nafter ::= (agap seq | \".\" column after)?\n"
                       "unit ::= number | free-0 | from | insert | distinct | call | loose\n"
                       "number ::= [0-9] w (\".\" [0-9] w)?\n"
                       "inner ::= ([^()] | \"(\" inner \")\")*\n"
                       "call ::= call-name ([ ]* \"(\" inner \")\")?\nloose ::= loose-name .*\n");
    append_choice(out, "call-name", calls, COUNT(calls));
    append_choice(out, "loose-name", loose, COUNT(loose));
    buffer_string(out, "from ::= (");
    append_word(out, "from");
    buffer_string(out, " |");
    append_word(out, "join");
    buffer_string(out, ") blank table\ninsert ::=");
    append_word(out, "insert");
    buffer_string(out, " (blank");
    append_word(out, "into");
    buffer_string(out, " blank table | blank? [^A-Za-z \\t\\n])\ndistinct ::=");
    append_word(out, "distinct");
    buffer_string(out, " (blank");
    append_word(out, "from");
    buffer_string(out, ")?\ntable ::= name | pair | str | (");
    append_word(out, "only");
    buffer_string(out, " |");
    append_word(out, "lateral");
    buffer_string(out, ") blank table | (");
    append_word(out, "pg_");
    buffer_string(out, " |");
    append_word(out, "dsr1_");
    buffer_string(out, ") w |");
    append_word(out, "information_schema.");
    buffer_string(out, " w |");
    append_word(out, "public.");
    buffer_printf(out, " name%s\nname ::=", in_string ? " | open" : "");
    append_tables(names, (struct slice){"", 0}, &any, out);
    buffer_string(out, "\n");
    append_any_column(names, in_string, out);
    append_own(names, in_string, out);
    return append_words(names, out);
}

/* ------------------------------------------------------------------ */
/* The cursor                                                          */
/* ------------------------------------------------------------------ */

static struct slice token_before(const struct sql_names *names, size_t back)
{
    return names->cursor >= names->statement + back ? names->tokens[names->cursor - back].text : (struct slice){"", 0};
}

/* Is token i a FROM that names no table: in extract(..), or of IS DISTINCT FROM? */
static bool is_other_from(const struct sql_names *names, size_t i)
{
    int depth = 0;
    if (i > names->statement && slice_is(names->tokens[i - 1].text, "distinct"))
        return true;
    for (size_t k = i; k-- > names->statement;) {
        depth += slice_is(names->tokens[k].text, ")") - slice_is(names->tokens[k].text, "(");
        if (depth < 0)
            return k > names->statement && is_in(names->tokens[k - 1].text, calls, COUNT(calls));
    }
    return false;
}

/* Does a table's name belong behind the token `back` before the cursor? */
static bool leads_to_table(const struct sql_names *names, size_t back)
{
    struct slice word = token_before(names, back);
    size_t at = names->cursor - back;
    if (!is_in(word, leads, COUNT(leads)) || is_other_from(names, at))
        return false;
    struct slice earlier = token_before(names, back + 1);
    if (slice_is(word, "update"))
        return at == names->statement || slice_is(earlier, "(");
    return !slice_is(word, "into") || slice_is(earlier, "insert") || slice_is(earlier, "merge");
}

/* start: what may follow the cursor, in whose front the end of a word may stand. */
static void append_start(const struct sql_names *names, const struct buffer *before, bool in_string, struct buffer *out)
{
    struct slice typed = {before->data + before->size, 0};
    while (typed.s > before->data && codepoint_in_word(typed.s[-1]))
        typed.s--, typed.n++;
    size_t back = 1 + (typed.n > 0), size = out->size;
    bool any = false, first = true;
    buffer_string(out, "start ::= (");
    if (slice_is(token_before(names, back), ".") && typed.s > before->data && typed.s[-1] == '.') {
        struct slice table = sql_names_resolve(names, token_before(names, back + 1));
        if (table.n > 0)
            append_columns(names, table, typed, &first, out);
        any = !first;
        if (any)
            buffer_string(out, typed.n > 0 ? ") after\n" : in_string ? " | \"*\" | open) after\n" : " | \"*\") after\n");
    } else if (leads_to_table(names, back)) {
        append_tables(names, typed, &any, out);
        if (any)
            buffer_string(out, typed.n > 0 ? ") after\n" : " | blank? table) after\n");
    } else if (typed.n > 0 && leads_to_table(names, 1)) {
        any = true; /* right behind the word itself */
        buffer_string(out, "blank table | wc w) after\n");
    }
    if (!any) {
        out->size = size;
        buffer_string(out, typed.n > 0 ? "start ::= w after\n" : "start ::= seq\n");
    }
}

bool sql_grammar(const char *tables, const struct buffer *before, const struct buffer *behind, bool in_string, struct buffer *out)
{
    struct sql_names *names = sql_names_read(tables, before->data ? before->data : "", before->size,
                                             behind->data ? behind->data : "", behind->size);
    size_t size = out->size;
    bool good = names && names->n_tables > 0;
    struct slice first = good && names->statement < names->cursor ? names->tokens[names->statement].text : (struct slice){"", 0};
    /* WITH and CREATE have been read; what the others name is not known. */
    good = good && !(is_in(first, loose, COUNT(loose)) && !slice_is(first, "with") && !slice_is(first, "create"));
    good = good && append_rules(names, in_string, out);
    if (good)
        append_start(names, before, in_string, out);
    free(names);
    if (!good || out->failed) {
        out->size = size;
        return false;
    }
    return true;
}
