/*
 * token_table.c - the vocabulary as a tree of bytes
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/token_table.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

/* Longer tokens are not worth a deeper walk; the bytes of all of them fit 32 bits. */
enum { TOKEN_BYTES_MAX = 1024 };

/* User-defined tokens are text, but those in angle brackets stand for turns, thoughts, tools: no part of an answer. */
static bool is_marker(const struct tokenizer *tokenizer, int32_t token, const char *bytes, size_t size)
{
    char text[TOKEN_BYTES_MAX + 1];
    if (size < 3 || bytes[0] != '<' || bytes[size - 1] != '>')
        return false;
    memcpy(text, bytes, size);
    text[size] = 0;
    return tokenizer_find(tokenizer, text) == token;
}

/* Bytes of a token that answers may hold, else 0. */
static size_t usable_bytes(const struct tokenizer *tokenizer, int32_t token, char *bytes)
{
    if (tokenizer_is_end(tokenizer, token) || tokenizer_is_unused(tokenizer, token))
        return 0;
    size_t size = tokenizer_token_bytes(tokenizer, token, false, bytes, TOKEN_BYTES_MAX);
    if (size > TOKEN_BYTES_MAX || is_marker(tokenizer, token, bytes, size))
        return 0;
    return size;
}

static dsr1_status read_tokens(struct token_table *t, dsr1_error *err)
{
    char bytes[TOKEN_BYTES_MAX];
    size_t size = 0, capacity = 0;
    memset(t->byte_token, 0xff, sizeof t->byte_token);
    for (int32_t token = 0; token < t->n_tokens; token++) {
        size_t n = usable_bytes(t->tokenizer, token, bytes);
        t->offsets[token] = (uint32_t) size;
        if (tokenizer_is_end(t->tokenizer, token))
            t->ends[token / 64] |= (uint64_t) 1 << token % 64;
        if (size + n > capacity) {
            capacity = (size + n) * 2 + 65536;
            uint8_t *more = capacity <= UINT32_MAX ? memory_resize(t->bytes, capacity, 1) : NULL;
            if (!more)
                return error_nomem(err, "the bytes of a vocabulary");
            t->bytes = more;
        }
        memcpy(t->bytes + size, bytes, n);
        size += n;
        t->longest = n > t->longest ? n : t->longest;
        if (n == 1 && t->byte_token[(uint8_t) bytes[0]] < 0)
            t->byte_token[(uint8_t) bytes[0]] = token;
    }
    t->offsets[t->n_tokens] = (uint32_t) size;
    return DSR1_OK;
}

static int by_bytes(const void *a, const void *b, void *context)
{
    const struct token_table *t = context;
    int32_t x = *(const int32_t *) a, y = *(const int32_t *) b;
    size_t n_x = t->offsets[x + 1] - t->offsets[x], n_y = t->offsets[y + 1] - t->offsets[y];
    int order = memcmp(t->bytes + t->offsets[x], t->bytes + t->offsets[y], n_x < n_y ? n_x : n_y);
    if (order)
        return order;
    if (n_x != n_y)
        return n_x < n_y ? -1 : 1;
    return x < y ? -1 : 1;
}

/* Adds the nodes of a token behind those of the one before it, with which it shares `shared` bytes. */
static void add_token(struct token_table *t, int32_t token, size_t shared, uint32_t *path)
{
    size_t n = t->offsets[token + 1] - t->offsets[token];
    const uint8_t *bytes = t->bytes + t->offsets[token];
    for (size_t depth = shared; depth < n; depth++) {
        path[depth] = (uint32_t) t->n_nodes;
        t->nodes[t->n_nodes++] = (struct token_node){0, -1, (uint16_t) (depth + 1), bytes[depth]};
    }
    struct token_node *node = &t->nodes[path[n - 1]];
    if (node->token >= 0) {
        t->same[token] = t->same[node->token];
        t->same[node->token] = token;
    } else {
        node->token = token;
    }
}

static size_t shared_bytes(const struct token_table *t, int32_t x, int32_t y)
{
    size_t n_x = t->offsets[x + 1] - t->offsets[x], n_y = t->offsets[y + 1] - t->offsets[y], n = 0;
    while (n < n_x && n < n_y && t->bytes[t->offsets[x] + n] == t->bytes[t->offsets[y] + n])
        n++;
    return n;
}

static void close_nodes(struct token_table *t)
{
    uint32_t path[TOKEN_BYTES_MAX + 1];
    size_t depth = 0;
    for (size_t i = 0; i < t->n_nodes; i++) {
        while (i > 0 && depth >= t->nodes[i].depth)
            t->nodes[path[depth--]].end = (uint32_t) i;
        depth = t->nodes[i].depth;
        path[depth] = (uint32_t) i;
        if (depth == 1)
            t->first[t->nodes[i].byte] = (uint32_t) i;
    }
    for (size_t i = 0; i <= depth; i++)
        t->nodes[path[i]].end = (uint32_t) t->n_nodes;
}

static dsr1_status build_tree(struct token_table *t, int32_t *order, dsr1_error *err)
{
    uint32_t path[TOKEN_BYTES_MAX];
    size_t n = 0, n_nodes = 1;
    for (int32_t token = 0; token < t->n_tokens; token++)
        if (t->offsets[token + 1] > t->offsets[token])
            order[n++] = token;
    qsort_r(order, n, sizeof *order, by_bytes, t);
    for (size_t i = 0; i < n; i++)
        n_nodes += t->offsets[order[i] + 1] - t->offsets[order[i]] - (i ? shared_bytes(t, order[i - 1], order[i]) : 0);
    t->nodes = memory_array(n_nodes, sizeof *t->nodes);
    if (!t->nodes)
        return error_nomem(err, "the tree of a vocabulary");
    t->nodes[t->n_nodes++] = (struct token_node){0, -1, 0, 0};
    for (size_t i = 0; i < n; i++)
        add_token(t, order[i], i ? shared_bytes(t, order[i - 1], order[i]) : 0, path);
    close_nodes(t);
    return DSR1_OK;
}

dsr1_status token_table_open(const struct tokenizer *tokenizer, struct token_table **table, dsr1_error *err)
{
    *table = NULL;
    struct token_table *t = memory_array(1, sizeof *t);
    size_t n = (size_t) tokenizer_n_vocab(tokenizer);
    int32_t *order = memory_array(n + 1, sizeof *order);
    dsr1_status status = DSR1_OK;
    if (t) {
        t->tokenizer = tokenizer;
        t->n_tokens = (int32_t) n;
        t->same = memory_array(n + 1, sizeof *t->same);
        t->offsets = memory_array(n + 1, sizeof *t->offsets);
        t->ends = memory_array(n / 64 + 1, sizeof *t->ends);
    }
    if (!t || !order || !t->same || !t->offsets || !t->ends) {
        status = error_nomem(err, "a vocabulary");
    } else {
        memset(t->same, 0xff, (n + 1) * sizeof *t->same);
        status = read_tokens(t, err);
    }
    if (status == DSR1_OK)
        status = build_tree(t, order, err);
    free(order);
    if (status < 0) {
        token_table_close(t);
        return status;
    }
    *table = t;
    return DSR1_OK;
}

void token_table_close(struct token_table *t)
{
    if (!t)
        return;
    free(t->nodes);
    free(t->same);
    free(t->ends);
    free(t->offsets);
    free(t->bytes);
    free(t);
}

uint32_t token_table_child(const struct token_table *t, uint32_t node, uint8_t byte)
{
    if (node == 0)
        return t->first[byte];
    for (uint32_t i = node + 1; i < t->nodes[node].end; i = t->nodes[i].end)
        if (t->nodes[i].byte == byte)
            return i;
    return 0;
}
