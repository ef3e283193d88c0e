/*
 * token_table.h - the vocabulary as a tree of bytes
 *
 * All tokens that an answer may hold, in one array in depth-first order: a node's
 * descendants follow it, and `end` says where they end, so that a walk that fails
 * at a node skips all tokens that begin so. Built once per tokenizer, then shared.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_TOKEN_TABLE_H
#define CONSTRAIN_TOKEN_TABLE_H

#include "dsr1.h"
#include "text/tokenizer.h"

struct token_node {
    uint32_t end;               /* first node behind this one's descendants */
    int32_t token;              /* the token that ends here, or -1 */
    uint16_t depth;             /* bytes from the beginning; node 0 is the beginning */
    uint8_t byte;
};

struct token_table {
    const struct tokenizer *tokenizer;
    struct token_node *nodes;
    size_t n_nodes;
    int32_t n_tokens;
    int32_t *same;              /* another token with the same bytes, or -1; n_tokens */
    uint64_t *ends;             /* end tokens */
    uint32_t *offsets;          /* of a token's bytes in bytes; n_tokens + 1 */
    uint8_t *bytes;
    int32_t byte_token[256];    /* the token that is just this byte, or -1 */
    uint32_t first[256];        /* the node of depth 1 with this byte, or 0 */
    size_t longest;             /* bytes */
};

/* The tokenizer must outlive the table. Takes some milliseconds per 10,000 tokens. */
dsr1_status token_table_open(const struct tokenizer *tokenizer, struct token_table **table, dsr1_error *err);
void token_table_close(struct token_table *table);      /* accepts NULL */

/* Words of a mask. */
static inline size_t token_table_words(const struct token_table *table)
{
    return ((size_t) table->n_tokens + 63) / 64;
}

/* The child of node with this byte, or 0. */
uint32_t token_table_child(const struct token_table *table, uint32_t node, uint8_t byte);

#endif
