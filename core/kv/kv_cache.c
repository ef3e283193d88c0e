/*
 * kv_cache.c - keys and values of all running requests, in pages
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kv/kv_cache.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

static void set_sizes(struct kv_cache *cache)
{
    const struct kv_shape *s = &cache->shape;
    cache->k_row = kv_row_size(s->type, (size_t) s->n_k);
    cache->v_row = s->latent ? 0 : kv_row_size(s->type, (size_t) s->n_v);
    cache->layer_size = size_align((size_t) s->n_heads * KV_PAGE * (cache->k_row + cache->v_row), 64);
    cache->page_size = cache->layer_size * (size_t) s->n_layers;
}

size_t kv_cache_bytes(const struct kv_shape *shape, int n_tokens)
{
    struct kv_cache cache = {.shape = *shape};
    set_sizes(&cache);
    return cache.page_size * (size_t) kv_pages_for(n_tokens);
}

dsr1_status kv_cache_open(struct kv_cache *cache, const struct kv_shape *shape, size_t size, int min_pages,
                          dsr1_error *err)
{
    *cache = (struct kv_cache){.shape = *shape};
    if (shape->type == KV_Q8_0 && (shape->n_k % 32 || shape->n_v % 32))
        return error_set(err, DSR1_ERR_UNSUPPORTED, "a q8_0 cache needs heads of a multiple of 32 values, not %d and %d",
                         shape->n_k, shape->n_v);
    set_sizes(cache);
    size_t pages = size / cache->page_size;
    if (pages < (size_t) min_pages)
        pages = (size_t) min_pages;
    if (pages > 1 << 24)
        pages = 1 << 24;
    cache->n_pages = cache->n_free = (int) pages;
    cache->refs = memory_array(pages, sizeof *cache->refs);
    cache->free_list = memory_array(pages, sizeof *cache->free_list);
    size_t bytes;
    if (size_mul(pages, cache->page_size, &bytes))
        cache->block = memory_map(bytes);
    if (!cache->refs || !cache->free_list || !cache->block) {
        kv_cache_close(cache);
        return error_nomem(err, "the KV cache");
    }
    /* The list is a stack: low pages are taken first, so that a quiet engine touches little memory. */
    for (int i = 0; i < cache->n_pages; i++)
        cache->free_list[i] = cache->n_pages - 1 - i;
    return DSR1_OK;
}

void kv_cache_close(struct kv_cache *cache)
{
    memory_unmap(cache->block, (size_t) cache->n_pages * cache->page_size);
    free(cache->refs);
    free(cache->free_list);
    *cache = (struct kv_cache){0};
}

static dsr1_status make_room(struct kv_seq *seq, int n_pages, dsr1_error *err)
{
    if (n_pages <= seq->capacity)
        return DSR1_OK;
    int capacity = n_pages < 8 ? 8 : n_pages + n_pages / 2;
    int *pages = memory_resize(seq->pages, (size_t) capacity, sizeof *pages);
    if (!pages)
        return error_nomem(err, "a list of pages");
    seq->pages = pages;
    seq->capacity = capacity;
    return DSR1_OK;
}

dsr1_status kv_seq_reserve(struct kv_cache *cache, struct kv_seq *seq, int n_tokens, dsr1_error *err)
{
    int wanted = kv_pages_for(n_tokens);
    if (wanted - seq->n_pages > cache->n_free)
        return error_set(err, DSR1_ERR_LIMIT, "the KV cache is full");
    dsr1_status status = make_room(seq, wanted, err);
    if (status < 0)
        return status;
    while (seq->n_pages < wanted) {
        int page = cache->free_list[--cache->n_free];
        cache->refs[page] = 1;
        seq->pages[seq->n_pages++] = page;
    }
    return DSR1_OK;
}

dsr1_status kv_seq_share(struct kv_cache *cache, struct kv_seq *seq, int page, dsr1_error *err)
{
    dsr1_status status = make_room(seq, seq->n_pages + 1, err);
    if (status < 0)
        return status;
    kv_page_hold(cache, page);
    seq->pages[seq->n_pages++] = page;
    return DSR1_OK;
}

void kv_seq_release(struct kv_cache *cache, struct kv_seq *seq)
{
    for (int i = 0; i < seq->n_pages; i++)
        kv_page_drop(cache, seq->pages[i]);
    free(seq->pages);
    *seq = (struct kv_seq){0};
}

void kv_page_hold(struct kv_cache *cache, int page)
{
    cache->refs[page]++;
}

void kv_page_drop(struct kv_cache *cache, int page)
{
    if (--cache->refs[page] == 0)
        cache->free_list[cache->n_free++] = page;
}

static void copy_rows(struct kv_cache *cache, int layer, int from, int to, int at, int n)
{
    size_t k = (size_t) at * cache->k_row, v = (size_t) at * cache->v_row;
    for (int head = 0; head < cache->shape.n_heads; head++) {
        memcpy(kv_k_rows(cache, to, layer, head) + k, kv_k_rows(cache, from, layer, head) + k,
               (size_t) n * cache->k_row);
        if (!cache->shape.latent)
            memcpy(kv_v_rows(cache, to, layer, head) + v, kv_v_rows(cache, from, layer, head) + v,
                   (size_t) n * cache->v_row);
    }
}

void kv_row_copy(struct kv_cache *cache, int layer, int from, int to, int at)
{
    copy_rows(cache, layer, from, to, at, 1);
}

void kv_page_copy(struct kv_cache *cache, int from, int to, int n)
{
    for (int layer = 0; layer < cache->shape.n_layers; layer++)
        copy_rows(cache, layer, from, to, 0, n);
}
