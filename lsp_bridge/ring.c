/*
 * ring.c - pieces of the other files that were looked at lately
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "ring.h"

#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 4000        /* a piece with longer lines ends earlier */
#define SET_LINES 128           /* lines of a text that are compared */

struct ring_chunk {
    char *uri, *text;
    char language[32];
    size_t size;
};

/* ------------------------------------------------------------------ */
/* How alike are two texts?                                            */
/* ------------------------------------------------------------------ */

struct line_set {
    uint64_t hashes[SET_LINES];
    size_t n;
};

static bool holds(const struct line_set *set, uint64_t hash)
{
    for (size_t i = 0; i < set->n; i++) {
        if (set->hashes[i] == hash)
            return true;
    }
    return false;
}

/* The last lines of a text, without indentation; lines that only close something say nothing. */
static void read_lines(struct line_set *set, const char *s, size_t size)
{
    set->n = 0;
    while (size > 0 && set->n < SET_LINES) {
        size_t start = size - 1;
        while (start > 0 && s[start - 1] != '\n')
            start--;
        uint64_t hash = 14695981039346656037u;
        size_t visible = 0;
        for (size_t i = start; i < size; i++) {
            if (s[i] != ' ' && s[i] != '\t' && s[i] != '\n') {
                hash = (hash ^ (unsigned char) s[i]) * 1099511628211u;
                visible++;
            }
        }
        if (visible > 2 && !holds(set, hash))
            set->hashes[set->n++] = hash;
        size = start;
    }
}

/* The part of a's lines that b has, too. */
static double likeness(const struct line_set *a, const struct line_set *b)
{
    size_t common = 0;
    for (size_t i = 0; i < a->n; i++)
        common += holds(b, a->hashes[i]);
    return a->n > 0 ? (double) common / (double) a->n : 1;
}

/* ------------------------------------------------------------------ */
/* Keeping                                                             */
/* ------------------------------------------------------------------ */

static void drop(struct ring *ring, size_t i)
{
    free(ring->chunks[i].uri);
    free(ring->chunks[i].text);
    ring->n_chunks--;
    memmove(ring->chunks + i, ring->chunks + i + 1, (ring->n_chunks - i) * sizeof *ring->chunks);
}

void ring_forget(struct ring *ring, const char *uri)
{
    for (size_t i = ring->n_chunks; i-- > 0;) {
        if (strcmp(ring->chunks[i].uri, uri) == 0)
            drop(ring, i);
    }
}

void ring_free(struct ring *ring)
{
    while (ring->n_chunks > 0)
        drop(ring, ring->n_chunks - 1);
    free(ring->chunks);
    ring->chunks = NULL;
}

/* The lines around the place, with \n as their ends. */
static void copy_lines(const struct document *document, size_t lines, struct buffer *out)
{
    const struct gap_text *text = &document->text;
    size_t place = document->place < text->size ? document->place : text->size;
    size_t n_lines = gap_text_lines(text), own = gap_text_line_at(text, place);
    size_t first = own > lines / 2 ? own - lines / 2 : 0;
    if (first + lines > n_lines)
        first = n_lines > lines ? n_lines - lines : 0;
    for (size_t line = first; line < n_lines && line < first + lines && out->size < CHUNK_BYTES; line++) {
        size_t from = gap_text_line_start(text, line), to = gap_text_line_end(text, line);
        if (to - from > CHUNK_BYTES)
            continue; /* data */
        gap_text_append(text, from, to, out);
        buffer_string(out, "\n");
    }
}

void ring_take(struct ring *ring, const struct document *document, size_t limit, size_t lines)
{
    struct buffer text = {0};
    struct line_set fresh, old;
    if (limit == 0 || document->off)
        return;
    copy_lines(document, lines, &text);
    read_lines(&fresh, text.data, text.size);
    if (text.failed || fresh.n < 3) {
        buffer_free(&text);
        return;
    }
    for (size_t i = 0; i < ring->n_chunks; i++) {
        const struct ring_chunk *chunk = &ring->chunks[i];
        read_lines(&old, chunk->text, chunk->size);
        if (strcmp(chunk->uri, document->uri) == 0 && likeness(&fresh, &old) > 0.9) {
            buffer_free(&text); /* looked at again: nothing new, and the order stays */
            return;
        }
    }
    while (ring->n_chunks >= limit) {
        for (size_t i = (ring->n_chunks + 1) / 2; i > 0; i--)
            drop(ring, 0);
    }
    struct ring_chunk *chunks = memory_resize(ring->chunks, ring->n_chunks + 1, sizeof *chunks);
    char *uri = strdup(document->uri);
    if (chunks)
        ring->chunks = chunks;
    if (!chunks || !uri) {
        free(uri);
        buffer_free(&text);
        return;
    }
    struct ring_chunk *chunk = &chunks[ring->n_chunks++];
    *chunk = (struct ring_chunk){.uri = uri, .text = text.data, .size = text.size};
    memcpy(chunk->language, document->language, sizeof chunk->language);
}

/* ------------------------------------------------------------------ */
/* Using                                                               */
/* ------------------------------------------------------------------ */

const char *ring_comment(const char *language)
{
    static const struct {
        const char *language, *comment;
    } comments[] = {
        {"python", "#"}, {"shellscript", "#"}, {"ruby", "#"}, {"perl", "#"}, {"yaml", "#"}, {"toml", "#"},
        {"makefile", "#"}, {"dockerfile", "#"}, {"r", "#"}, {"sql", "--"}, {"lua", "--"}, {"haskell", "--"},
        {"plsql", "--"}, {"elisp", ";"}, {"lisp", ";"}, {"clojure", ";"}, {"latex", "%"}, {"erlang", "%"},
    };
    for (size_t i = 0; i < sizeof comments / sizeof *comments; i++) {
        if (strcmp(comments[i].language, language) == 0)
            return comments[i].comment;
    }
    return "//";
}

void ring_append(const struct ring *ring, const struct document *document, const char *nearby, size_t nearby_size,
                 struct buffer *out)
{
    struct line_set here, there;
    read_lines(&here, nearby, nearby_size);
    for (size_t i = 0; i < ring->n_chunks; i++) {
        const struct ring_chunk *chunk = &ring->chunks[i];
        if (strcmp(chunk->uri, document->uri) == 0 || strcmp(chunk->language, document->language) != 0)
            continue;
        read_lines(&there, chunk->text, chunk->size);
        if (likeness(&there, &here) > 0.5)
            continue; /* the model would copy it */
        const char *name = strrchr(chunk->uri, '/');
        buffer_printf(out, "%s %.100s\n", ring_comment(chunk->language), name ? name + 1 : chunk->uri);
        buffer_append(out, chunk->text, chunk->size);
        buffer_string(out, "\n");
    }
}
