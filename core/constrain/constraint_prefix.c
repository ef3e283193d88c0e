/*
 * constraint_prefix.c - an answer that begins with given bytes: token healing
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "constrain/constraint_parts.h"

enum { PREFIX_SIZE_MAX = 4096 };

/* From the end: the cheapest token that agrees with the prefix, whether it ends within or goes beyond. */
static int32_t prefix_cost_at(const struct constraint *c, size_t at)
{
    const struct token_table *table = c->table;
    int32_t best = COST_NEVER;
    uint32_t trie = 0;
    for (size_t i = at; i < c->prefix_size; i++) {
        trie = token_table_child(table, trie, c->prefix[i]);
        if (!trie)
            break;
        int32_t cost = table->nodes[trie].token >= 0 ? cost_add(1, c->prefix_cost[i + 1]) : COST_NEVER;
        best = cost < best ? cost : best;
    }
    return best;
}

dsr1_status constraint_open_prefix(struct token_table *table, const void *bytes, size_t size, struct constraint *inner,
                                   struct constraint **result, dsr1_error *err)
{
    *result = NULL;
    if (size > PREFIX_SIZE_MAX || (inner && inner->prefix))
        return error_set(err, DSR1_ERR_LIMIT, "a prefix is too long, or has one itself");
    struct constraint *c = constraint_allocate(table);
    if (!c)
        return error_nomem(err, "a constraint");
    c->inner = inner ? constraint_hold(inner) : NULL;
    c->prefix_size = size;
    c->prefix = memory_array(size + 1, 1);
    c->prefix_cost = memory_array(size + 1, sizeof *c->prefix_cost);
    if (!c->prefix || !c->prefix_cost) {
        constraint_close(c);
        return error_nomem(err, "a constraint");
    }
    if (size)
        memcpy(c->prefix, bytes, size);
    c->prefix_cost[size] = inner ? constraint_shortest(inner) : 0;
    for (size_t i = size; i-- > 0;)
        c->prefix_cost[i] = prefix_cost_at(c, i);
    if (c->prefix_cost[0] == COST_NEVER) {
        constraint_close(c);
        return error_set(err, DSR1_ERR_UNSUPPORTED, "the vocabulary cannot write the prefix");
    }
    *result = c;
    return DSR1_OK;
}

bool constraint_prefix_mask(struct constraint_state *s, int32_t left)
{
    const struct constraint *p = s->constraint;
    const struct token_table *table = p->table;
    uint32_t trie = 0;
    for (size_t i = s->prefix_at; i < p->prefix_size; i++) {
        trie = token_table_child(table, trie, p->prefix[i]);
        if (!trie)
            return true;
        if (p->prefix_cost[i + 1] <= left)
            mask_set(table, s->bits, table->nodes[trie].token);
    }
    if (s->c)
        return mask_below(&s->c->machine, table, trie, s->at, left, s->bits);
    mask_all(table, trie, s->bits);
    return true;
}
