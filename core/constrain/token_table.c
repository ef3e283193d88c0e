/*
 * token_table.c - the vocabulary as a trie of bytes
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/token_table.h"

#include "base/error.h"
#include "base/memory.h"
#include "constrain/shelf.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 4096 };      /* longer tokens are left out: whatever they say can be said by shorter ones */

struct sorted {
    const uint8_t *bytes;
    uint32_t size;
    int32_t token;
};

static int compare_sorted(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, x->size < y->size ? x->size : y->size);
    if (order == 0)
        order = (x->size > y->size) - (x->size < y->size);
    return order ? order : (x->token > y->token) - (x->token < y->token);
}

/* A user-defined token such as <think> is text, but means something to those who read the answer. */
static bool is_mark(const struct tokenizer *t, int32_t token, const char *text, size_t size)
{
    return size > 2 && text[0] == '<' && text[size - 1] == '>' && tokenizer_find(t, text) == token;
}

static dsr1_status read_texts(struct token_table *table, dsr1_error *err)
{
    const struct tokenizer *t = table->tokenizer;
    size_t total = 0;
    for (int32_t i = 0; i < table->n_vocab; i++)
        total += tokenizer_token_bytes(t, i, false, NULL, 0);
    table->bytes = memory_array(total + 1, 1);
    table->texts = memory_array((size_t) table->n_vocab + 1, sizeof *table->texts);
    table->same = memory_array((size_t) table->n_vocab + 1, sizeof *table->same);
    table->ends = memory_array((size_t) table->n_vocab + 1, sizeof *table->ends);
    if (!table->bytes || !table->texts || !table->same || !table->ends)
        return error_nomem(err, "a table of tokens");
    size_t at = 0;
    for (int32_t i = 0; i < table->n_vocab; i++) {
        table->same[i] = -1;
        if (tokenizer_is_end(t, i)) {
            table->ends[table->n_ends++] = i;
            continue;
        }
        if (tokenizer_is_unused(t, i))
            continue;
        size_t size = tokenizer_token_bytes(t, i, false, (char *) table->bytes + at, total - at);
        table->bytes[at + size] = 0;
        if (size == 0 || size > DEPTH_MAX || is_mark(t, i, (char *) table->bytes + at, size))
            continue;
        table->texts[i] = (struct token_text){(uint32_t) at, (uint32_t) size};
        table->longest = size > table->longest ? (uint32_t) size : table->longest;
        if (size == 1)
            table->single[table->bytes[at]] = true;
        at += size;
    }
    return DSR1_OK;
}

/* Nodes that differ from the text before begin a branch; a node's end is where the walk leaves its depth. */
static uint32_t lay_nodes(struct token_table *table, const struct sorted *sorted, size_t n, struct trie_node *nodes)
{
    static const struct sorted none = {(const uint8_t *) "", 0, -1};
    const struct sorted *last = &none;
    uint32_t path[DEPTH_MAX + 1] = {0}, n_nodes = 1;
    for (size_t i = 0; i < n; i++) {
        const struct sorted *s = &sorted[i];
        uint32_t shared = 0;
        while (shared < s->size && shared < last->size && s->bytes[shared] == last->bytes[shared])
            shared++;
        for (uint32_t d = shared + 1; nodes && d <= last->size; d++)
            nodes[path[d]].end = n_nodes;
        for (uint32_t d = shared + 1; d <= s->size; d++) {
            if (nodes)
                nodes[n_nodes] = (struct trie_node){.token = -1, .depth = (uint16_t) d, .byte = s->bytes[d - 1]};
            path[d] = n_nodes++;
        }
        if (nodes) {
            table->same[s->token] = nodes[path[s->size]].token;
            nodes[path[s->size]].token = s->token;
        }
        last = s;
    }
    for (uint32_t d = 0; nodes && d <= last->size; d++)
        nodes[path[d]].end = n_nodes;
    return n_nodes;
}

static dsr1_status build_trie(struct token_table *table, dsr1_error *err)
{
    struct sorted *sorted = memory_array((size_t) table->n_vocab + 1, sizeof *sorted);
    size_t n = 0;
    if (!sorted)
        return error_nomem(err, "a table of tokens");
    for (int32_t i = 0; i < table->n_vocab; i++)
        if (table->texts[i].size)
            sorted[n++] = (struct sorted){table->bytes + table->texts[i].at, table->texts[i].size, i};
    qsort(sorted, n, sizeof *sorted, compare_sorted);
    table->n_nodes = lay_nodes(table, sorted, n, NULL);
    table->nodes = memory_array(table->n_nodes, sizeof *table->nodes);
    if (table->nodes) {
        table->nodes[0].token = -1;
        lay_nodes(table, sorted, n, table->nodes);
    }
    free(sorted);
    return table->nodes ? DSR1_OK : error_nomem(err, "a table of tokens");
}

dsr1_status token_table_open(const struct tokenizer *tokenizer, struct token_table **result, dsr1_error *err)
{
    *result = NULL;
    struct token_table *table = memory_array(1, sizeof *table);
    if (!table)
        return error_nomem(err, "a table of tokens");
    table->tokenizer = tokenizer;
    table->n_vocab = tokenizer_n_vocab(tokenizer);
    table->n_words = ((size_t) table->n_vocab + 63) / 64;
    dsr1_status status = read_texts(table, err);
    if (status == DSR1_OK)
        status = build_trie(table, err);
    if (status == DSR1_OK)
        status = shelf_open(&table->shelf, err);
    if (status < 0) {
        token_table_close(table);
        return status;
    }
    *result = table;
    return DSR1_OK;
}

void token_table_close(struct token_table *table)
{
    if (!table)
        return;
    shelf_close(table->shelf);
    free(table->nodes);
    free(table->same);
    free(table->texts);
    free(table->bytes);
    free(table->ends);
    free(table);
}
