/*
 * code_grammar.c - what the model may write at a place, as a grammar for its mask
 *
 * The grammar knows no language, only what its lines are made of: brackets in
 * pairs, strings and comments, in which brackets do not count, and line breaks
 * with the indentation that must follow. Where a text can be read in two ways
 * (an apostrophe, or a string that is not closed) both are allowed, and a token is
 * forbidden only when every reading forbids it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "code_grammar.h"

#include "sql_grammar.h"
#include "sql_string.h"
#include "syntax.h"

#include <string.h>

#define TAB_COLUMNS 4           /* as in polish.c */
#define COLUMNS_MAX 200
#define DEPTH_MAX 64

/* ------------------------------------------------------------------ */
/* Languages                                                           */
/* ------------------------------------------------------------------ */

enum { HASH = 1, SLASHES = 2, DASHES = 4, SINGLE = 8, TRIPLE = 16, BACKTICK = 32, DOUBLED = 64 };

/* How comments begin, and which quotes make strings. Languages that are not here (prose, shells) get no bracket rules. */
static const struct language {
    const char *name;
    int has;
} languages[] = {
    {"c", SLASHES | SINGLE},          {"cpp", SLASHES | SINGLE},
    {"csharp", SLASHES | SINGLE},     {"css", SLASHES | SINGLE},
    {"go", SLASHES | SINGLE | BACKTICK}, {"java", SLASHES | SINGLE},
    {"javascript", SLASHES | SINGLE | BACKTICK}, {"javascriptreact", SLASHES | BACKTICK},
    {"json", 0},                      {"kotlin", SLASHES | SINGLE},
    {"lua", DASHES | SINGLE},         {"php", SLASHES | HASH | SINGLE},
    {"python", HASH | SINGLE | TRIPLE}, {"rust", SLASHES},
    {"sql", DASHES | SINGLE | DOUBLED},         {"swift", SLASHES},
    {"typescript", SLASHES | SINGLE | BACKTICK}, {"typescriptreact", SLASHES | BACKTICK},
};

static const struct language *find_language(const char *name)
{
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++) {
        if (strcmp(languages[i].name, name) == 0)
            return &languages[i];
    }
    return NULL;
}

/* ------------------------------------------------------------------ */
/* Brackets around the cursor                                          */
/* ------------------------------------------------------------------ */

struct open_brackets {
    char closers[DEPTH_MAX];    /* that the open ones need, the outermost first */
    int depth;
    char unmatched[DEPTH_MAX];  /* closers without a partner, in order */
    int n_unmatched;
    bool confused;              /* a closer of another kind, or too deep: no advice */
};

static char closer_of(char opener)
{
    return opener == '(' ? ')' : opener == '[' ? ']' : opener == '{' ? '}' : 0;
}

static bool is_closer(char c)
{
    return c == ')' || c == ']' || c == '}';
}

static void read_bracket(struct open_brackets *b, char c)
{
    char closer = closer_of(c);
    if (closer && b->depth < DEPTH_MAX)
        b->closers[b->depth++] = closer;
    else if (is_closer(c) && b->depth > 0 && b->closers[b->depth - 1] == c)
        b->depth--;
    else if (is_closer(c) && b->depth == 0 && b->n_unmatched < DEPTH_MAX)
        b->unmatched[b->n_unmatched++] = c;
    else if (closer || is_closer(c))
        b->confused = true;
}

static void read_brackets(const char *language, const char *s, size_t size, struct open_brackets *b)
{
    for (size_t i = 0; i < size;) {
        bool may_skip = s[i] && strchr("\"'`#-/;%", s[i]); /* all that comments and strings begin with */
        size_t after = may_skip ? syntax_skip(language, s, size, i) : i;
        if (after == i)
            read_bracket(b, s[i++]);
        i = after > i ? after : i;
    }
}

static bool only_closing(const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!s[i] || !strchr(")]}\"'`;,> \t", s[i]))
            return false;
    }
    return true;
}

/*
 * The closers that may still be written, the next one first; -1 where that cannot be told. What follows in the document
 * closes some of the open brackets by itself, but for those that the editor put right behind the cursor.
 */
static int outer_closers(const char *language, const struct buffer *before, const struct buffer *suffix, char *closers)
{
    struct open_brackets open = {.depth = 0}, behind = {.depth = 0};
    const char *line_end = suffix->size > 0 ? memchr(suffix->data, '\n', suffix->size) : NULL;
    size_t rest = line_end ? (size_t) (line_end - suffix->data) : suffix->size;
    size_t skip = only_closing(suffix->data, rest) ? rest : 0;
    read_brackets(language, before->data, before->size, &open);
    read_brackets(language, suffix->data + skip, suffix->size - skip, &behind);
    if (open.confused || behind.confused || open.n_unmatched > 0 || behind.n_unmatched > open.depth)
        return -1;
    for (int i = 0; i < behind.n_unmatched; i++) {
        if (behind.unmatched[behind.n_unmatched - 1 - i] != open.closers[i])
            return -1;
    }
    int n = 0;
    for (int i = open.depth; i-- > behind.n_unmatched;)
        closers[n++] = open.closers[i];
    return n;
}

/* ------------------------------------------------------------------ */
/* Indentation                                                         */
/* ------------------------------------------------------------------ */

struct indent {
    const char *text;           /* the line's own */
    size_t size, columns;
    bool opens;                 /* the cursor stands behind code that opens a block: its lines are deeper */
};

static struct indent line_indent(const struct surroundings *around)
{
    struct indent indent = {.text = surroundings_typed(around)};
    for (; indent.size < around->typed; indent.size++) {
        char c = indent.text[indent.size];
        if (c != ' ' && c != '\t')
            break;
        indent.columns += c == '\t' ? TAB_COLUMNS : 1;
    }
    indent.opens = indent.size < around->typed;
    return indent;
}

static void append_literal(struct buffer *out, const char *s, size_t size)
{
    buffer_string(out, "\"");
    for (size_t i = 0; i < size; i++) {
        if (s[i] == '\t')
            buffer_string(out, "\\t");
        else
            buffer_append(out, s + i, 1);
    }
    buffer_string(out, "\"");
}

/*
 * nl: a line's end, blank lines, and at least the indentation that the block has, spelled with blanks, with tabs or as the
 * line itself has it. nlc: the same before a bracket that closes the block, exactly as deep as the line that opened it.
 */
static void append_newline(const struct code_place *place, struct buffer *out)
{
    struct indent indent = line_indent(place->around);
    size_t least = indent.columns + indent.opens;
    bool free = place->line_only || place->any_indent || least == 0 || least > COLUMNS_MAX;
    if (free) {
        buffer_string(out, "nl ::= \"\\n\"\nnlc ::= \"\"\n");
        return;
    }
    buffer_string(out, "br ::= \"\\n\" ([ \\t]* \"\\n\")*\nnl ::= br (");
    append_literal(out, indent.text, indent.size);
    buffer_printf(out, "%s | \" \"{%zu} | \"\\t\"{%zu}) [ \\t]*\n", indent.opens ? " [ \\t]" : "", least,
                  (least + TAB_COLUMNS - 1) / TAB_COLUMNS);
    buffer_string(out, "nlc ::= \"\"");
    if (indent.opens) {
        buffer_string(out, " | br ");
        append_literal(out, indent.text, indent.size);
    }
    buffer_string(out, "\n");
}

/* ------------------------------------------------------------------ */
/* Text                                                                */
/* ------------------------------------------------------------------ */

/* Strings that are not closed on their line were none: they end with it. */
static void append_strings(int has, struct buffer *out)
{
    const char *escape = has & DOUBLED ? "" : " | esc", *inside = has & DOUBLED ? "" : "\\\\";
    buffer_string(out, "esc ::= \"\\\\\" .\nstr ::= ");
    buffer_printf(out, "\"\\\"\" ([^\"%s\\n]%s)* (\"\\\"\" | nl)", inside, escape);
    if (has & SINGLE)
        buffer_printf(out, " | \"'\" ([^'%s\\n]%s)* (\"'\" | nl)", inside, escape);
    if (has & TRIPLE)
        buffer_string(out, " | \"\\\"\\\"\\\"\" ([^\"\\\\] | esc | \"\\\"\" [^\"\\\\] | \"\\\"\\\"\" [^\"\\\\])* \"\\\"\\\"\\\"\""
                           " | \"'''\" ([^'\\\\] | esc | \"'\" [^'\\\\] | \"''\" [^'\\\\])* \"'''\"");
    if (has & BACKTICK)
        buffer_string(out, " | \"`\" ([^`\\\\] | esc)* \"`\"");
    buffer_string(out, "\n");
}

static void append_comments(int has, struct buffer *out)
{
    buffer_string(out, "comment ::= ");
    const char *bar = "";
    if (has & HASH)
        buffer_printf(out, "\"#\" [^\\n]* nl"), bar = " | ";
    if (has & SLASHES)
        buffer_printf(out, "%s\"//\" [^\\n]* nl", bar), bar = " | ";
    if (has & DASHES)
        buffer_printf(out, "%s\"--\" [^\\n]* nl", bar), bar = " | ";
    if (has & (SLASHES | DASHES))
        buffer_printf(out, "%s\"/*\" ([^*] | \"*\"+ [^*/])* \"*\"+ \"/\"", bar), bar = " | ";
    buffer_printf(out, "%s\n", *bar ? "" : "\"\\n\" nl");
}

/* What is neither bracket nor quote nor line end. A '#' that begins a comment for sure is no plain text, either. */
static void append_plain(int has, struct buffer *out)
{
    buffer_printf(out, "plain ::= [^()\\[\\]{}\"\\\\\\n%s%s%s] | esc\n", has & SINGLE ? "'" : "", has & BACKTICK ? "`" : "",
                  has & HASH ? "#" : "");
}

static void append_brackets(struct buffer *out)
{
    buffer_string(out, "pair ::= \"(\" seq nlc \")\" | \"[\" seq nlc \"]\" | \"{\" seq nlc \"}\"\n");
}

/* The whole: text, and the brackets that may be closed in between. */
static void append_root(const char *first, const char *closers, int n_closers, struct buffer *out)
{
    buffer_printf(out, "root ::= %s", first);
    for (int i = 0; i < n_closers; i++)
        buffer_printf(out, " nlc \"%c\" seq", closers[i]);
    if (n_closers < 0)
        buffer_string(out, " (nlc [)\\]}] seq)*");
    buffer_string(out, "\n");
}

/* Only lines and their indentation. */
static bool indent_grammar(const struct code_place *place, struct buffer *out)
{
    struct indent indent = line_indent(place->around);
    if (place->line_only || place->any_indent || indent.columns + indent.opens == 0)
        return false;
    append_newline(place, out);
    buffer_string(out, "root ::= ([^\\n] | nl | nlc [)\\]}])*\n");
    return true;
}

static bool text_grammar(const struct code_place *place, const struct language *language, const struct buffer *before,
                         struct buffer *out)
{
    char closers[DEPTH_MAX];
    const struct buffer *suffix = &place->around->suffix;
    int n_closers = place->around->top ? outer_closers(place->language, before, suffix, closers) : -1;
    append_newline(place, out);
    append_strings(language->has, out);
    append_comments(language->has, out);
    append_brackets(out);
    bool sql = place->tables && strcmp(language->name, "sql") == 0 &&
               sql_grammar(place->tables, before, suffix, false, out);
    if (!sql) {
        append_plain(language->has, out);
        buffer_string(out, "seq ::= (plain | str | comment | nl | pair)*\n");
    }
    append_root(sql ? "start" : "seq", closers, n_closers, out);
    return true;
}

/* A statement in a string: the names in it, and what comes behind the string is free. */
static bool string_grammar(const struct code_place *place, const struct buffer *before, struct buffer *out)
{
    struct sql_string string;
    char closers[DEPTH_MAX];
    if (!place->tables || !sql_string_take(&string, place->language, before, &place->around->suffix))
        return false;
    sql_string_rules(&string, out);
    bool made = sql_grammar(place->tables, &string.before, &string.behind, true, out);
    if (made)
        append_root("start", closers, outer_closers("sql", &string.before, &string.behind, closers), out);
    sql_string_free(&string);
    return made;
}

bool code_grammar(const struct code_place *place, struct buffer *out)
{
    const struct language *language = find_language(place->language);
    struct buffer before = {0};
    size_t size = out->size;
    buffer_append(&before, place->around->prefix.data, place->around->prefix.size);
    buffer_append(&before, place->known, place->known_size);
    bool code = language && !place->any_brackets && !before.failed &&
                syntax_at(place->language, before.data ? before.data : "", before.size, NULL) == SYNTAX_CODE;
    bool made = code ? text_grammar(place, language, &before, out) : string_grammar(place, &before, out);
    if (!made) {
        out->size = size;
        made = indent_grammar(place, out);
    }
    buffer_free(&before);
    if (!made || out->failed) {
        out->size = size;
        return false;
    }
    return true;
}
