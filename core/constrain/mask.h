/*
 * mask.h - which tokens may come next
 *
 * Most tokens can be judged by the top of a stack alone, whatever stands below:
 * inside a JSON string nearly all of them. That part is computed once for a
 * local state (its leaf); what is left are tokens that return to the frame
 * below in their middle. The idea of XGrammar (arXiv:2411.15100), with masks
 * found as states are met instead of all beforehand.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_MASK_H
#define CONSTRAIN_MASK_H

#include "constrain/machine.h"

struct mask {
    struct mask *next;  /* of the same state, for less */
    int32_t left;       /* those after which at most so many tokens are needed; COST_MAX: all */
    int32_t worst;      /* tokens to the end of the answer after the dearest of these */
    uint64_t bits[];
};

/*
 * The tokens that may come in this state, without end tokens, and after which at
 * most `left` are needed to the end of the answer: kept with the state, NULL when
 * memory is short. Few values of `left` make a difference, near the budget's end.
 */
const struct mask *mask_get(struct machine *machine, const struct token_table *table, uint32_t state, int32_t left);

/* Sets those bits for an answer that first needs the bytes of the trie's node `from`, in which `state` begins. */
bool mask_below(struct machine *machine, const struct token_table *table, uint32_t from, uint32_t state, int32_t left,
                uint64_t *bits);

static inline void mask_set(const struct token_table *table, uint64_t *bits, int32_t token)
{
    for (; token >= 0; token = table->same[token])
        bits[token / 64] |= 1ull << (token % 64);
}

/* Every token of the trie below this node. */
static inline void mask_all(const struct token_table *table, uint32_t from, uint64_t *bits)
{
    for (uint32_t i = from + 1; i < table->nodes[from].end; i++)
        mask_set(table, bits, table->nodes[i].token);
}

void mask_free_all(struct machine *machine);

#endif
