/*
 * bpe_merges.h - between the two halves of bpe: the table of merges
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_BPE_MERGES_H
#define TEXT_BPE_MERGES_H

#include "text/bpe.h"

static inline size_t bpe_slot(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    return (size_t) (((uint64_t) left << 32 | right) * bpe->factor >> bpe->shift);
}

/* The merge of a pair, or NULL. */
static inline const struct bpe_merge *bpe_find(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    for (size_t slot = bpe_slot(bpe, left, right);; slot = (slot + 1) & bpe->mask) {
        const struct bpe_merge *merge = &bpe->slots[slot];
        if (merge->merged == MERGE_NONE)
            return NULL;
        if (merge->left == left && merge->right == right)
            return merge;
    }
}

#endif
