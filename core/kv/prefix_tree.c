/*
 * prefix_tree.c - what the cache remembers of earlier requests
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kv/prefix_tree.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

dsr1_status prefix_tree_open(struct prefix_tree *tree, struct kv_cache *cache, dsr1_error *err)
{
    *tree = (struct prefix_tree){.cache = cache, .n_buckets = 64};
    while (tree->n_buckets < (size_t) cache->n_pages)
        tree->n_buckets *= 2;
    tree->buckets = memory_array(tree->n_buckets, sizeof *tree->buckets);
    return tree->buckets ? DSR1_OK : error_nomem(err, "the prefix tree");
}

void prefix_tree_close(struct prefix_tree *tree)
{
    while (tree->newest) {
        struct prefix_node *node = tree->newest;
        tree->newest = node->older;
        kv_page_drop(tree->cache, node->page);
        free(node);
    }
    free(tree->buckets);
    *tree = (struct prefix_tree){0};
}

/* ------------------------------------------------------------------ */
/* Order of use                                                        */
/* ------------------------------------------------------------------ */

static void unlink_use(struct prefix_tree *tree, struct prefix_node *node)
{
    if (node->newer)
        node->newer->older = node->older;
    else
        tree->newest = node->older;
    if (node->older)
        node->older->newer = node->newer;
    else
        tree->oldest = node->newer;
}

static void link_newest(struct prefix_tree *tree, struct prefix_node *node)
{
    node->newer = NULL;
    node->older = tree->newest;
    if (tree->newest)
        tree->newest->newer = node;
    else
        tree->oldest = node;
    tree->newest = node;
}

/* From the leaf up, so that a parent is always newer than its children and the oldest node is a leaf. */
static void touch_path(struct prefix_tree *tree, struct prefix_node *node)
{
    for (; node; node = node->parent) {
        unlink_use(tree, node);
        link_newest(tree, node);
    }
}

/* ------------------------------------------------------------------ */
/* Nodes                                                               */
/* ------------------------------------------------------------------ */

static struct prefix_node **bucket(const struct prefix_tree *tree, uint64_t scope, const struct prefix_node *parent,
                                   int32_t first)
{
    uint64_t hash = rng_mix(scope ^ rng_mix((uint64_t) (uintptr_t) parent ^ rng_mix((uint64_t) (uint32_t) first)));
    return &tree->buckets[hash & (tree->n_buckets - 1)];
}

static int common(const int32_t *a, int n_a, const int32_t *b, int n_b)
{
    int n = n_a < n_b ? n_a : n_b, i = 0;
    while (i < n && a[i] == b[i])
        i++;
    return i;
}

/* The child that shares most with tokens; *n_common of them, 0 and NULL when none begins alike. */
static struct prefix_node *best_child(const struct prefix_tree *tree, uint64_t scope, const struct prefix_node *parent,
                                      const int32_t *tokens, int n, int *n_common)
{
    struct prefix_node *best = NULL;
    *n_common = 0;
    if (n == 0)
        return NULL;
    for (struct prefix_node *node = *bucket(tree, scope, parent, tokens[0]); node; node = node->next_in_bucket) {
        if (node->parent != parent || node->scope != scope)
            continue;
        int c = common(node->tokens, node->n_tokens, tokens, n);
        if (c > *n_common) {
            *n_common = c;
            best = node;
        }
    }
    return best;
}

static struct prefix_node *add_child(struct prefix_tree *tree, uint64_t scope, struct prefix_node *parent,
                                     const int32_t *tokens, int n, int page)
{
    struct prefix_node *node = memory_array(1, sizeof *node);
    if (!node)
        return NULL;
    *node = (struct prefix_node){.parent = parent, .scope = scope, .page = page, .n_tokens = n};
    memcpy(node->tokens, tokens, (size_t) n * sizeof *tokens);
    struct prefix_node **head = bucket(tree, scope, parent, tokens[0]);
    node->next_in_bucket = *head;
    *head = node;
    if (parent)
        parent->n_children++;
    kv_page_hold(tree->cache, page);
    link_newest(tree, node);
    tree->n_nodes++;
    return node;
}

static void remove_leaf(struct prefix_tree *tree, struct prefix_node *node)
{
    struct prefix_node **at = bucket(tree, node->scope, node->parent, node->tokens[0]);
    while (*at != node)
        at = &(*at)->next_in_bucket;
    *at = node->next_in_bucket;
    unlink_use(tree, node);
    if (node->parent)
        node->parent->n_children--;
    kv_page_drop(tree->cache, node->page);
    tree->n_nodes--;
    free(node);
}

bool prefix_tree_evict(struct prefix_tree *tree, int n)
{
    struct prefix_node *node = tree->oldest;
    while (tree->cache->n_free < n && node) {
        struct prefix_node *newer = node->newer;
        /* A page that a running sequence shares would not become free; its node stays useful. */
        if (node->n_children == 0 && tree->cache->refs[node->page] == 1)
            remove_leaf(tree, node);
        node = newer;
    }
    return tree->cache->n_free >= n;
}

/* ------------------------------------------------------------------ */
/* Match, attach, insert                                               */
/* ------------------------------------------------------------------ */

int prefix_tree_match(const struct prefix_tree *tree, uint64_t scope, const int32_t *tokens, int n)
{
    struct prefix_node *parent = NULL;
    int at = 0, c;
    for (;;) {
        struct prefix_node *child = best_child(tree, scope, parent, tokens + at, n - at, &c);
        at += c;
        if (!child || c < KV_PAGE)
            return at;
        parent = child;
    }
}

/* Shares full pages; returns the node where the request departs and, in *c, how far it goes along. */
static struct prefix_node *share_pages(struct prefix_tree *tree, uint64_t scope, const int32_t *tokens, int n,
                                       struct kv_seq *seq, int *at, int *c, dsr1_status *status, dsr1_error *err)
{
    struct prefix_node *parent = NULL, *child;
    *at = 0;
    while ((child = best_child(tree, scope, parent, tokens + *at, n - *at, c)) && *c == KV_PAGE) {
        *status = kv_seq_share(tree->cache, seq, child->page, err);
        if (*status < 0)
            return NULL;
        *at += KV_PAGE;
        parent = child;
    }
    if (parent)
        touch_path(tree, parent);
    return child;
}

int prefix_tree_attach(struct prefix_tree *tree, uint64_t scope, const int32_t *tokens, int n, int n_reserve,
                       struct kv_seq *seq, dsr1_error *err)
{
    int at, c;
    dsr1_status status = DSR1_OK;
    struct prefix_node *departs = share_pages(tree, scope, tokens, n, seq, &at, &c, &status, err);
    if (departs) {
        /* Held while others are evicted, since its page is about to be copied. */
        kv_page_hold(tree->cache, departs->page);
        touch_path(tree, departs);
    }
    int source = departs ? departs->page : -1;
    if (status == DSR1_OK && !prefix_tree_evict(tree, kv_pages_for(n_reserve) - seq->n_pages))
        status = error_set(err, DSR1_ERR_LIMIT, "the KV cache is full");
    if (status == DSR1_OK)
        status = kv_seq_reserve(tree->cache, seq, n_reserve, err);
    if (status == DSR1_OK && departs)
        kv_page_copy(tree->cache, source, seq->pages[at / KV_PAGE], c);
    if (departs)
        kv_page_drop(tree->cache, source);
    if (status != DSR1_OK) {
        kv_seq_release(tree->cache, seq);
        return status;
    }
    return at + (departs ? c : 0);
}

/* A leaf that a longer page continues makes way for it. */
static void replace_page(struct prefix_tree *tree, struct prefix_node *node, const int32_t *tokens, int n, int page)
{
    kv_page_hold(tree->cache, page);
    kv_page_drop(tree->cache, node->page);
    node->page = page;
    node->n_tokens = n;
    memcpy(node->tokens, tokens, (size_t) n * sizeof *tokens);
}

void prefix_tree_insert(struct prefix_tree *tree, uint64_t scope, const int32_t *tokens, int n,
                        const struct kv_seq *seq, bool partial)
{
    struct prefix_node *parent = NULL;
    for (int at = 0; at < n; at += KV_PAGE) {
        int m = n - at < KV_PAGE ? n - at : KV_PAGE, c;
        if (m < KV_PAGE && !partial)
            break;
        struct prefix_node *child = best_child(tree, scope, parent, tokens + at, m, &c);
        if (child && c == child->n_tokens && c < m)
            replace_page(tree, child, tokens + at, m, seq->pages[at / KV_PAGE]);
        else if (!child || c < m)
            child = add_child(tree, scope, parent, tokens + at, m, seq->pages[at / KV_PAGE]);
        if (!child)
            break;
        parent = child;
    }
    if (parent)
        touch_path(tree, parent);
}
