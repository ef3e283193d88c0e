/*
 * token_table.h - the vocabulary as a trie of bytes
 *
 * Nodes stand in depth-first order, so that a walk over the trie reads memory
 * from front to back, and a branch that cannot be is one jump.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_TOKEN_TABLE_H
#define CONSTRAIN_TOKEN_TABLE_H

#include "constrain/constraint.h"

struct trie_node {
    uint32_t end;       /* first node that is not below this one */
    int32_t token;      /* first token that ends here, or -1; more by table->same */
    uint16_t depth;     /* bytes */
    uint8_t byte;
};

struct token_text {
    uint32_t at, size;  /* in table->bytes; size 0: never written */
};

struct constraint_shelf;

struct token_table {
    const struct tokenizer *tokenizer;
    int n_vocab;
    size_t n_words;             /* of a mask */
    struct trie_node *nodes;    /* node 0 is the root */
    uint32_t n_nodes;
    int32_t *same;              /* of each token: another with the same bytes, or -1 */
    struct token_text *texts;
    uint8_t *bytes;
    int32_t *ends;              /* tokens that end an answer */
    int n_ends;
    uint32_t longest;           /* bytes of a token */
    bool single[256];           /* bytes that are a token */
    struct constraint_shelf *shelf;     /* constraint.c: what was compiled last */
};

/* The node below `at` by this byte, or 0. */
static inline uint32_t token_table_child(const struct token_table *table, uint32_t at, uint8_t byte)
{
    for (uint32_t i = at + 1; i < table->nodes[at].end; i = table->nodes[i].end)
        if (table->nodes[i].byte >= byte)
            return table->nodes[i].byte == byte ? i : 0;
    return 0;
}

#endif
