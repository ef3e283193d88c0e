/*
 * prefix_tree.h - what the cache remembers of earlier requests
 *
 * A node is one page of tokens below the pages before it, so a path from a root
 * spells a prefix (RadixAttention, arXiv:2312.07104, at page grain). A new
 * request shares the full pages it has in common with the tree and copies the
 * common part of the page where it departs. Pages in the tree are never written
 * again. Nodes that nobody uses go in order of last use when room is needed.
 *
 * Each scope has a root of its own: requests of different scopes never meet, so
 * that the time an answer takes tells nothing about another role's prompts.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef KV_PREFIX_TREE_H
#define KV_PREFIX_TREE_H

#include "kv/kv_cache.h"

struct prefix_node {
    struct prefix_node *parent;             /* NULL: top of a scope */
    struct prefix_node *next_in_bucket;
    struct prefix_node *newer, *older;      /* order of use */
    uint64_t scope;
    int n_children;
    int page;
    int n_tokens;                           /* KV_PAGE, or fewer in a leaf */
    int32_t tokens[KV_PAGE];
};

struct prefix_tree {
    struct kv_cache *cache;
    struct prefix_node **buckets;           /* by (scope, parent, first token) */
    size_t n_buckets;                       /* a power of two */
    size_t n_nodes;
    struct prefix_node *newest, *oldest;
};

dsr1_status prefix_tree_open(struct prefix_tree *tree, struct kv_cache *cache, dsr1_error *err);
void prefix_tree_close(struct prefix_tree *tree);

/* How many of n tokens the tree knows. */
int prefix_tree_match(const struct prefix_tree *tree, uint64_t scope, const int32_t *tokens, int n);

/*
 * Fills an empty sequence with what the tree knows of the first n tokens, and
 * room for n_reserve in all, evicting what nobody uses. Returns how many tokens
 * need no computing, or DSR1_ERR_LIMIT when the cache has no room at present
 * (the sequence is then empty again).
 */
int prefix_tree_attach(struct prefix_tree *tree, uint64_t scope, const int32_t *tokens, int n, int n_reserve,
                       struct kv_seq *seq, dsr1_error *err);

/*
 * Remembers the first n tokens of a sequence, whose keys and values are all
 * computed. With `partial` also a last page that is not full: the sequence must
 * not be written any more. Without memory for a node it remembers less.
 */
void prefix_tree_insert(struct prefix_tree *tree, uint64_t scope, const int32_t *tokens, int n,
                        const struct kv_seq *seq, bool partial);

/* Drops unused nodes until n pages are free; false when that many cannot be had. */
bool prefix_tree_evict(struct prefix_tree *tree, int n);

#endif
