/*
 * document.c - the open documents, as the client's notifications describe them
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "document.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Languages of files that some clients (Neovim) open without saying what they are. */
static const struct {
    const char *suffix, *language;
} languages[] = {
    {".bash", "shellscript"}, {".c", "c"},           {".cc", "cpp"},       {".cpp", "cpp"},      {".cs", "csharp"},
    {".css", "css"},          {".cxx", "cpp"},       {".go", "go"},        {".h", "c"},          {".hpp", "cpp"},
    {".html", "html"},        {".java", "java"},     {".js", "javascript"},{".json", "json"},    {".jsx", "javascriptreact"},
    {".kt", "kotlin"},        {".lua", "lua"},       {".md", "markdown"},  {".php", "php"},      {".pl", "perl"},
    {".py", "python"},        {".rb", "ruby"},       {".rs", "rust"},      {".sh", "shellscript"},{".sql", "sql"},
    {".swift", "swift"},      {".toml", "toml"},     {".ts", "typescript"},{".tsx", "typescriptreact"},
    {".txt", "plaintext"},    {".yaml", "yaml"},     {".yml", "yaml"},
};

static const char *guess_language(const char *uri)
{
    const char *name = strrchr(uri, '/');
    const char *dot = strrchr(name ? name : uri, '.');
    for (size_t i = 0; dot && i < sizeof languages / sizeof *languages; i++) {
        if (strcmp(dot, languages[i].suffix) == 0)
            return languages[i].language;
    }
    return "";
}

static void document_free(struct document *document)
{
    if (!document)
        return;
    gap_text_free(&document->text);
    free(document->uri);
    free(document);
}

struct document *documents_find(const struct documents *documents, const char *uri)
{
    for (size_t i = 0; i < documents->n_open; i++) {
        if (strcmp(documents->open[i]->uri, uri) == 0)
            return documents->open[i];
    }
    return NULL;
}

static struct document *documents_add(struct documents *documents, const char *uri)
{
    if (documents->n_open == documents->capacity) {
        size_t capacity = documents->capacity * 2 + 8;
        struct document **open = memory_resize(documents->open, capacity, sizeof *open);
        if (!open)
            return NULL;
        documents->open = open;
        documents->capacity = capacity;
    }
    struct document *document = memory_array(1, sizeof *document);
    if (!document || !(document->uri = strdup(uri))) {
        free(document);
        return NULL;
    }
    documents->open[documents->n_open++] = document;
    return document;
}

struct document *documents_open(struct documents *documents, const char *uri, const char *language)
{
    struct document *document = documents_find(documents, uri);
    if (!document && !(document = documents_add(documents, uri)))
        return NULL;
    gap_text_free(&document->text);
    char *name = document->uri;
    *document = (struct document){.uri = name};
    snprintf(document->language, sizeof document->language, "%s", *language ? language : guess_language(uri));
    return document;
}

void documents_close(struct documents *documents, const char *uri)
{
    for (size_t i = 0; i < documents->n_open; i++) {
        if (strcmp(documents->open[i]->uri, uri) == 0) {
            document_free(documents->open[i]);
            documents->open[i] = documents->open[--documents->n_open];
            return;
        }
    }
}

void documents_free(struct documents *documents)
{
    for (size_t i = 0; i < documents->n_open; i++)
        document_free(documents->open[i]);
    free(documents->open);
    *documents = (struct documents){0};
}

size_t document_offset(const struct document *document, enum position_encoding encoding, size_t line, size_t column)
{
    const struct gap_text *text = &document->text;
    if (line >= gap_text_lines(text))
        return text->size;
    size_t offset = gap_text_line_start(text, line), end = gap_text_line_end(text, line);
    while (offset < end && column > 0) {
        size_t n;
        const char *span = gap_text_span(text, offset, &n);
        n = n < end - offset ? n : end - offset;
        size_t used = position_to_bytes(encoding, span, n, column, &column);
        offset += used;
        if (used < n)
            break;
    }
    return offset;
}

/* Keeps the anchor on the text it stood on. */
static void follow(struct document *document, size_t from, size_t removed, size_t added)
{
    if (document->anchor >= from + removed)
        document->anchor += added - removed;
    else if (document->anchor > from)
        document->anchor = from;
}

bool document_set(struct document *document, const char *bytes, size_t size)
{
    size_t from, removed, before = document->text.size;
    if (!gap_text_update(&document->text, bytes, size, &from, &removed))
        return false;
    follow(document, from, removed, document->text.size + removed - before);
    return true;
}

bool document_change(struct document *document, size_t from, size_t to, const char *bytes, size_t size)
{
    if (from > to) {
        size_t swap = from;
        from = to;
        to = swap;
    }
    if (!gap_text_replace(&document->text, from, to, bytes, size))
        return false;
    follow(document, from, to - from, size);
    return true;
}

void document_touch(struct document *document, double now)
{
    double interval = now - document->changed_at;
    if (document->changed_at > 0 && interval < 2) /* longer: a pause, not typing */
        document->key_interval = document->key_interval > 0 ? 0.7 * document->key_interval + 0.3 * interval : interval;
    document->changed_at = now;
}

const char *document_line_end(const struct document *document)
{
    const struct gap_text *text = &document->text;
    if (gap_text_lines(text) < 2)
        return "\n";
    size_t start = gap_text_line_start(text, 1), end = gap_text_line_end(text, 0);
    if (start - end == 2)
        return "\r\n";
    return gap_text_byte(text, end) == '\r' ? "\r" : "\n";
}
