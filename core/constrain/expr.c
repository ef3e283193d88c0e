/*
 * expr.c - what a constraint says, as a tree
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/expr.h"

#include "base/memory.h"
#include "constrain/dfa.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ */
/* The store                                                           */
/* ------------------------------------------------------------------ */

bool expr_grow(struct expr_store *s, void *items, uint32_t n, uint32_t more, uint32_t *size, size_t item)
{
    void **at = items;
    if (s->status < 0)
        return false;
    if (more > EXPR_MAX - n) {
        s->status = DSR1_ERR_LIMIT;
        return false;
    }
    if (n + more <= *size)
        return true;
    uint32_t wanted = 2 * (n + more) + 64;
    void *grown = memory_resize(*at, wanted, item);
    if (!grown) {
        s->status = DSR1_ERR_NOMEM;
        return false;
    }
    *at = grown;
    *size = wanted;
    return true;
}

static expr_id add(struct expr_store *s, struct expr expr)
{
    if (expr.depth > EXPR_DEPTH_MAX && s->status == DSR1_OK)
        s->status = DSR1_ERR_LIMIT;
    if (!expr_grow(s, &s->exprs, s->n_exprs, 1, &s->exprs_size, sizeof *s->exprs))
        return EXPR_NOTHING;
    s->exprs[s->n_exprs] = expr;
    return s->n_exprs++;
}

bool expr_open(struct expr_store *s)
{
    *s = (struct expr_store){0};
    add(s, (struct expr){.kind = EXPR_IS_NOTHING});
    add(s, (struct expr){.kind = EXPR_IS_EMPTY});
    return s->status == DSR1_OK;
}

void expr_close(struct expr_store *s)
{
    for (uint32_t i = 0; i < s->n_dfas; i++)
        dfa_close(s->dfas[i]);
    free(s->dfas);
    free(s->exprs);
    free(s->bytes);
    free(s->ranges);
    free(s->children);
    free(s->rules);
    *s = (struct expr_store){0};
}

/* ------------------------------------------------------------------ */
/* Leaves                                                              */
/* ------------------------------------------------------------------ */

expr_id expr_bytes(struct expr_store *s, const void *bytes, size_t size)
{
    if (size == 0)
        return EXPR_EMPTY;
    uint32_t n = size > EXPR_MAX ? EXPR_MAX + 1u : (uint32_t) size;
    if (!expr_grow(s, &s->bytes, s->n_bytes, n, &s->bytes_size, 1))
        return EXPR_NOTHING;
    memcpy(s->bytes + s->n_bytes, bytes, size);
    s->n_bytes += n;
    return add(s, (struct expr){.kind = EXPR_IS_BYTES, .at = s->n_bytes - n, .n = n});
}

expr_id expr_string(struct expr_store *s, const char *string)
{
    return expr_bytes(s, string, strlen(string));
}

expr_id expr_range(struct expr_store *s, uint8_t lo, uint8_t hi)
{
    return add(s, (struct expr){.kind = EXPR_IS_RANGE, .lo = lo, .hi = hi});
}

static int compare_ranges(const void *a, const void *b)
{
    const struct code_range *x = a, *y = b;
    return x->lo != y->lo ? (x->lo < y->lo ? -1 : 1) : (x->hi > y->hi) - (x->hi < y->hi);
}

/* Cuts U+D800 to U+DFFF out of ranges that are in order and apart. */
static size_t without_surrogates(struct code_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct code_range *r = &ranges[i];
        if (r->hi < 0xd800 || r->lo > 0xdfff)
            continue;
        if (r->lo < 0xd800 && r->hi > 0xdfff) {
            memmove(r + 1, r, (n - i) * sizeof *r);
            r[0].hi = 0xd7ff;
            r[1].lo = 0xe000;
            return n + 1;
        }
        if (r->lo < 0xd800) {
            r->hi = 0xd7ff;
        } else if (r->hi > 0xdfff) {
            r->lo = 0xe000;
        } else {
            memmove(r, r + 1, (n - i - 1) * sizeof *r);
            n--;
            i--;
        }
    }
    return n;
}

size_t expr_tidy_ranges(struct code_range *ranges, size_t n)
{
    size_t kept = 0;
    qsort(ranges, n, sizeof *ranges, compare_ranges);
    for (size_t i = 0; i < n; i++) {
        struct code_range r = ranges[i];
        if (r.lo > r.hi || r.lo > 0x10ffff)
            continue;
        if (r.hi > 0x10ffff)
            r.hi = 0x10ffff;
        if (kept && r.lo <= ranges[kept - 1].hi + 1) {
            if (r.hi > ranges[kept - 1].hi)
                ranges[kept - 1].hi = r.hi;
        } else {
            ranges[kept++] = r;
        }
    }
    return without_surrogates(ranges, kept);
}

size_t expr_negate_ranges(const struct code_range *ranges, size_t n, struct code_range *to)
{
    size_t m = 0;
    uint32_t from = 0;
    for (size_t i = 0; i < n; i++) {
        if (ranges[i].lo > from)
            to[m++] = (struct code_range){from, ranges[i].lo - 1};
        from = ranges[i].hi + 1;
    }
    if (from <= 0x10ffff)
        to[m++] = (struct code_range){from, 0x10ffff};
    return without_surrogates(to, m);
}

expr_id expr_class(struct expr_store *s, const struct code_range *ranges, size_t n, bool negated)
{
    struct code_range *tidy = memory_array(2 * n + 4, sizeof *tidy), *other = tidy ? tidy + n + 1 : NULL;
    if (!tidy) {
        s->status = DSR1_ERR_NOMEM;
        return EXPR_NOTHING;
    }
    if (n)
        memcpy(tidy, ranges, n * sizeof *ranges);
    size_t m = expr_tidy_ranges(tidy, n);
    if (negated) {
        m = expr_negate_ranges(tidy, m, other);
        memmove(tidy, other, m * sizeof *tidy);
    }
    expr_id id = EXPR_NOTHING;
    if (m && m <= EXPR_MAX && expr_grow(s, &s->ranges, s->n_ranges, (uint32_t) m, &s->ranges_size, sizeof *s->ranges)) {
        memcpy(s->ranges + s->n_ranges, tidy, m * sizeof *tidy);
        s->n_ranges += (uint32_t) m;
        id = add(s, (struct expr){.kind = EXPR_IS_CLASS, .at = s->n_ranges - (uint32_t) m, .n = (uint32_t) m});
    }
    free(tidy);
    return id;
}

/* ------------------------------------------------------------------ */
/* Trees                                                               */
/* ------------------------------------------------------------------ */

static expr_id add_list(struct expr_store *s, enum expr_kind kind, const expr_id *children, size_t n)
{
    uint16_t depth = 0;
    if (n > EXPR_MAX) {
        s->status = s->status < 0 ? s->status : DSR1_ERR_LIMIT;
        return EXPR_NOTHING;
    }
    if (!expr_grow(s, &s->children, s->n_children, (uint32_t) n, &s->children_size, sizeof *s->children))
        return EXPR_NOTHING;
    for (size_t i = 0; i < n; i++) {
        uint16_t below = s->exprs[children[i]].depth;
        depth = below > depth ? below : depth;
        s->children[s->n_children + i] = children[i];
    }
    s->n_children += (uint32_t) n;
    return add(s, (struct expr){.kind = kind, .depth = depth + 1, .at = s->n_children - (uint32_t) n,
                                .n = (uint32_t) n});
}

expr_id expr_sequence(struct expr_store *s, const expr_id *children, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (children[i] == EXPR_NOTHING)
            return EXPR_NOTHING;
    return n == 0 ? EXPR_EMPTY : n == 1 ? children[0] : add_list(s, EXPR_IS_SEQUENCE, children, n);
}

expr_id expr_choice(struct expr_store *s, const expr_id *children, size_t n)
{
    return n == 0 ? EXPR_NOTHING : n == 1 ? children[0] : add_list(s, EXPR_IS_CHOICE, children, n);
}

expr_id expr_pair(struct expr_store *s, expr_id a, expr_id b)
{
    return a == EXPR_EMPTY ? b : b == EXPR_EMPTY ? a : expr_sequence(s, (expr_id[]){a, b}, 2);
}

expr_id expr_either(struct expr_store *s, expr_id a, expr_id b)
{
    return a == EXPR_NOTHING ? b : b == EXPR_NOTHING ? a : expr_choice(s, (expr_id[]){a, b}, 2);
}

expr_id expr_repeat(struct expr_store *s, expr_id child, int32_t lo, int32_t hi)
{
    if (hi == 0 || child == EXPR_EMPTY || (child == EXPR_NOTHING && lo == 0))
        return EXPR_EMPTY;
    if ((lo == 1 && hi == 1) || child == EXPR_NOTHING || (hi >= 0 && lo > hi))
        return hi >= 0 && lo > hi ? EXPR_NOTHING : child;
    if (lo > EXPR_REPEAT_MAX || hi > EXPR_REPEAT_MAX) {
        s->status = s->status < 0 ? s->status : DSR1_ERR_LIMIT;
        return EXPR_NOTHING;
    }
    return add(s, (struct expr){.kind = EXPR_IS_REPEAT, .depth = s->exprs[child].depth + 1, .at = child, .lo = lo,
                                .hi = hi});
}

expr_id expr_optional(struct expr_store *s, expr_id child)
{
    return expr_repeat(s, child, 0, 1);
}

uint32_t expr_new_rule(struct expr_store *s)
{
    if (!expr_grow(s, &s->rules, s->n_rules, 1, &s->rules_size, sizeof *s->rules))
        return 0;
    s->rules[s->n_rules] = EXPR_NOTHING;
    return s->n_rules++;
}

expr_id expr_rule(struct expr_store *s, uint32_t rule)
{
    return add(s, (struct expr){.kind = EXPR_IS_RULE, .at = rule});
}

expr_id expr_dfa(struct expr_store *s, struct dfa *dfa)
{
    if (!dfa || !expr_grow(s, &s->dfas, s->n_dfas, 1, &s->dfas_size, sizeof *s->dfas)) {
        dfa_close(dfa);
        s->status = s->status < 0 ? s->status : DSR1_ERR_NOMEM;
        return EXPR_NOTHING;
    }
    s->dfas[s->n_dfas] = dfa;
    return add(s, (struct expr){.kind = EXPR_IS_DFA, .at = s->n_dfas++});
}

void expr_list_add(struct expr_store *s, struct expr_list *list, expr_id id)
{
    if (expr_grow(s, &list->ids, list->n, 1, &list->size, sizeof *list->ids))
        list->ids[list->n++] = id;
}
