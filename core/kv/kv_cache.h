/*
 * kv_cache.h - keys and values of all running requests, in pages
 *
 * A page holds KV_PAGE consecutive positions of one sequence for every layer.
 * A sequence is a list of pages, so sequences grow without moving and share
 * what they have in common (Kwon et al. 2023, PagedAttention). A page is also
 * the piece in which attention walks (kernel.h): sums then depend on positions
 * alone, never on where a page lies or whether it was computed just now.
 *
 * Layout of a page: for each layer, for each KV head, KV_PAGE key rows; then for
 * each KV head, KV_PAGE value rows. A latent cache (MLA) has one head and no
 * values of its own: they are the first n_v numbers of the key row.
 *
 * Not locked: one engine owns it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef KV_KV_CACHE_H
#define KV_KV_CACHE_H

#include "dsr1.h"
#include "kernel/kernel.h"

enum { KV_PAGE = 32 };

struct kv_shape {
    enum kv_type type;
    int n_layers;
    int n_heads;
    int n_k, n_v;           /* values per row */
    bool latent;            /* values alias keys */
};

struct kv_cache {
    struct kv_shape shape;
    size_t k_row, v_row;    /* bytes */
    size_t layer_size;      /* bytes of one layer in a page */
    size_t page_size;
    int n_pages;
    uint8_t *block;
    int *refs;              /* sequences and others that hold each page; 0 = free */
    int *free_list;
    int n_free;
};

/* The pages of one request. Start with {0}. */
struct kv_seq {
    int *pages;
    int n_pages, capacity;
};

/* Bytes that n_tokens of one sequence take, in whole pages. */
size_t kv_cache_bytes(const struct kv_shape *shape, int n_tokens);

/* size bytes of cache, rounded down to pages but at least min_pages. */
dsr1_status kv_cache_open(struct kv_cache *cache, const struct kv_shape *shape, size_t size, int min_pages,
                          dsr1_error *err);
void kv_cache_close(struct kv_cache *cache);

/* How many pages n_tokens take. */
static inline int kv_pages_for(int n_tokens)
{
    return (n_tokens + KV_PAGE - 1) / KV_PAGE;
}

/*
 * Grows the sequence to hold n_tokens. DSR1_ERR_LIMIT when the cache has no
 * page left; the sequence is then unchanged.
 */
dsr1_status kv_seq_reserve(struct kv_cache *cache, struct kv_seq *seq, int n_tokens, dsr1_error *err);

/* Appends a page that another holder has, sharing it. */
dsr1_status kv_seq_share(struct kv_cache *cache, struct kv_seq *seq, int page, dsr1_error *err);

/* Gives every page back. */
void kv_seq_release(struct kv_cache *cache, struct kv_seq *seq);

void kv_page_hold(struct kv_cache *cache, int page);
void kv_page_drop(struct kv_cache *cache, int page);

/* Copies the first n positions of page from to page to, in every layer. */
void kv_page_copy(struct kv_cache *cache, int from, int to, int n);

/* Copies one layer's keys and values of a page's position `at`. */
void kv_row_copy(struct kv_cache *cache, int layer, int from, int to, int at);

/* Row of position 0 of a page; position p lies p * cache->k_row (v_row) further on. */
static inline uint8_t *kv_k_rows(const struct kv_cache *cache, int page, int layer, int head)
{
    return cache->block + (size_t) page * cache->page_size + (size_t) layer * cache->layer_size +
           (size_t) head * KV_PAGE * cache->k_row;
}

static inline uint8_t *kv_v_rows(const struct kv_cache *cache, int page, int layer, int head)
{
    if (cache->shape.latent)
        return kv_k_rows(cache, page, layer, head);
    return kv_k_rows(cache, page, layer, cache->shape.n_heads) + (size_t) head * KV_PAGE * cache->v_row;
}

/* Distance of two value rows: a latent's values are spaced like its keys. */
static inline size_t kv_v_stride(const struct kv_cache *cache)
{
    return cache->shape.latent ? cache->k_row : cache->v_row;
}

#endif
