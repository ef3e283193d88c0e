/*
 * merge.c - merge neighbouring symbols, best pair first, in n log n
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/merge.h"

#include "base/memory.h"

#include <stdlib.h>

bool merger_reserve(struct merger *m, size_t n)
{
    if (n > m->capacity) {
        struct merge_symbol *symbols = memory_resize(m->symbols, n, sizeof *symbols);
        if (!symbols)
            return false;
        m->symbols = symbols;
        m->capacity = n;
    }
    /* n - 1 pairs to begin with, and each of n - 1 merges makes up to two new ones. */
    if (3 * n > m->heap_capacity) {
        uint64_t *heap = memory_resize(m->heap, 3 * n, sizeof *heap);
        if (!heap)
            return false;
        m->heap = heap;
        m->heap_capacity = 3 * n;
    }
    return true;
}

void merger_free(struct merger *m)
{
    free(m->symbols);
    free(m->heap);
    *m = (struct merger){0};
}

static void push(struct merger *m, uint64_t entry)
{
    size_t at = m->n_heap++;
    for (; at > 0 && m->heap[(at - 1) / 2] > entry; at = (at - 1) / 2) {
        m->heap[at] = m->heap[(at - 1) / 2];
        m->work++;
    }
    m->heap[at] = entry;
    m->work++;
}

static uint64_t pop(struct merger *m)
{
    uint64_t top = m->heap[0], last = m->heap[--m->n_heap];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < m->n_heap; at = child) {
        if (child + 1 < m->n_heap && m->heap[child + 1] < m->heap[child])
            child++;
        if (m->heap[child] >= last)
            break;
        m->heap[at] = m->heap[child];
        m->work++;
    }
    m->heap[at] = last;
    m->work++;
    return top;
}

static void rank_pair(struct merger *m, uint32_t left, merge_rank_fn rank, const void *context)
{
    struct merge_symbol *symbol = &m->symbols[left];
    symbol->rank = MERGE_NONE;
    if (symbol->next == MERGE_NONE)
        return;
    rank(context, symbol, &m->symbols[symbol->next]);
    if (symbol->rank != MERGE_NONE)
        push(m, (uint64_t) symbol->rank << 32 | left);
}

void merger_run(struct merger *m, merge_rank_fn rank, const void *context)
{
    uint32_t n = (uint32_t) m->n;
    m->n_heap = 0;
    for (uint32_t i = 0; i < n; i++) {
        m->symbols[i].prev = i ? i - 1 : MERGE_NONE;
        m->symbols[i].next = i + 1 < n ? i + 1 : MERGE_NONE;
    }
    for (uint32_t i = 0; i < n; i++)
        rank_pair(m, i, rank, context);
    while (m->n_heap) {
        uint64_t entry = pop(m);
        uint32_t at = (uint32_t) entry;
        struct merge_symbol *left = &m->symbols[at];
        /* A symbol that was merged away has no rank, one whose pair changed has another. */
        if (left->rank != (uint32_t) (entry >> 32))
            continue;
        struct merge_symbol *right = &m->symbols[left->next];
        left->id = left->merged;
        left->size += right->size;
        left->next = right->next;
        right->size = 0;
        right->rank = MERGE_NONE;
        if (left->next != MERGE_NONE)
            m->symbols[left->next].prev = at;
        rank_pair(m, at, rank, context);
        if (left->prev != MERGE_NONE)
            rank_pair(m, left->prev, rank, context);
    }
}
