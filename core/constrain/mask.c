/*
 * mask.c - which tokens may come next
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/mask.h"

/* A counted node, its count as far as a token can tell. */
struct clipped {
    uint32_t node;
    int32_t to_lo, to_hi;
};

/* What a local state allows whatever the frame, and the trie's nodes that lie behind a return. */
struct leaf {
    struct clipped *clipped;    /* what it is found by; NULL for a state without counts */
    uint32_t n_clipped;
    int32_t worst;              /* from after the dearest token to the return */
    uint64_t *bits;
    uint32_t *crossing;         /* by byte */
    uint32_t first[257];
};

/* ------------------------------------------------------------------ */
/* Walking the trie                                                    */
/* ------------------------------------------------------------------ */

struct walk {
    struct machine *m;
    const struct token_table *table;
    uint64_t *bits;
    int32_t left;               /* allow tokens after which no more than these are needed: never COST_NEVER */
    int32_t worst;
    uint32_t *returns;          /* nodes at which FRAME_ANY was returned to */
    size_t n_returns, returns_size;
    bool collects;
    uint32_t *path;             /* the state at each depth */
};

static bool walk_open(struct walk *w, struct machine *m, const struct token_table *table, uint64_t *bits)
{
    *w = (struct walk){.m = m, .table = table, .bits = bits, .left = COST_MAX};
    w->path = memory_array((size_t) table->longest + 1, sizeof *w->path);
    m->failed |= w->path == NULL;
    return w->path != NULL;
}

static void walk_close(struct walk *w)
{
    free(w->path);
    free(w->returns);
}

static void walk_token(struct walk *w, const struct trie_node *node, const struct state *s)
{
    if (s->cost <= w->left) {
        mask_set(w->table, w->bits, node->token);
        w->worst = s->cost > w->worst ? s->cost : w->worst;
    }
}

/* Nodes from `first` on, before `end`; `state` holds above the first. */
static void walk_range(struct walk *w, uint32_t first, uint32_t end, uint32_t state)
{
    const struct trie_node *nodes = w->table->nodes;
    struct machine *m = w->m;
    if (first >= end)
        return;
    w->path[nodes[first].depth - 1] = state;
    for (uint32_t i = first; i < end;) {
        const struct trie_node *node = &nodes[i];
        uint32_t to = machine_step(m, w->path[node->depth - 1], node->byte);
        if (to == STATE_DEAD) {
            i = node->end;
            continue;
        }
        w->path[node->depth] = to;
        if (node->token >= 0)
            walk_token(w, node, &m->states[to]);
        if (m->states[to].pops && w->collects && node->end > i + 1) {
            if (table_room(&w->returns, w->n_returns, 1, &w->returns_size, sizeof *w->returns))
                w->returns[w->n_returns++] = i;
            else
                m->failed = true;
        }
        i++;
    }
}

/* ------------------------------------------------------------------ */
/* Leaves                                                              */
/* ------------------------------------------------------------------ */

static void leaf_free(struct leaf *leaf)
{
    if (!leaf)
        return;
    free(leaf->clipped);
    free(leaf->bits);
    free(leaf->crossing);
    free(leaf);
}

static int32_t clip(int32_t n, int32_t most)
{
    return n < 0 ? 0 : n > most ? most : n;
}

/* A token has at most `longest` bytes, and each round of a repetition takes one at least. */
static struct clipped *clip_counts(const struct machine *m, const struct token_table *table, const struct local *local)
{
    int32_t most = (int32_t) table->longest + 1;
    struct clipped *clipped = memory_array(local->n_elements + 1, sizeof *clipped);
    for (uint32_t i = 0; clipped && i < local->n_elements; i++) {
        struct element e = m->locals.elements[local->elements + i];
        const struct node *node = &m->g->nodes[e.node];
        clipped[i] = (struct clipped){.node = e.node};
        if (node->loop >= 0) {
            const struct loop *loop = &m->g->loops[node->loop];
            clipped[i].to_lo = clip(loop->lo - e.count, most);
            clipped[i].to_hi = loop->hi < 0 ? most : clip(loop->hi - e.count, most);
        }
    }
    return clipped;
}

/* Children of the nodes at which a return is possible, in order of their bytes. */
static bool leaf_cross(struct leaf *leaf, const struct walk *w)
{
    const struct trie_node *nodes = w->table->nodes;
    for (int turn = 0; turn < 2; turn++) {
        for (size_t k = 0; k < w->n_returns; k++) {
            uint32_t at = w->returns[k];
            for (uint32_t i = at + 1; i < nodes[at].end; i = nodes[i].end) {
                if (turn == 0)
                    leaf->first[nodes[i].byte + 1]++;
                else
                    leaf->crossing[leaf->first[nodes[i].byte]++] = i;
            }
        }
        if (turn == 0) {
            for (int b = 0; b < 256; b++)
                leaf->first[b + 1] += leaf->first[b];
            leaf->crossing = memory_array((size_t) leaf->first[256] + 1, sizeof *leaf->crossing);
            if (!leaf->crossing)
                return false;
        }
    }
    memmove(leaf->first + 1, leaf->first, 256 * sizeof *leaf->first);
    leaf->first[0] = 0;
    return true;
}

static void leaf_compute(struct leaf *leaf, struct machine *m, const struct token_table *table, uint32_t local)
{
    struct walk w;
    leaf->bits = memory_array(table->n_words, sizeof *leaf->bits);
    if (!leaf->bits || !walk_open(&w, m, table, leaf->bits)) {
        m->failed = true;
        return;
    }
    w.collects = true;
    walk_range(&w, 1, table->n_nodes, machine_single(m, local, FRAME_ANY));
    leaf->worst = w.worst;
    m->failed |= !leaf_cross(leaf, &w);
    m->mask_bytes += table->n_words * 8 + sizeof *leaf + 4 * (size_t) leaf->first[256];
    walk_close(&w);
}

static uint32_t leaf_add(struct machine *m, const struct token_table *table, uint32_t local, struct clipped *clipped)
{
    struct leaf *leaf = memory_array(1, sizeof *leaf);
    if (!leaf || !table_room(&m->leaves, m->n_leaves, 1, &m->leaves_size, sizeof *m->leaves)) {
        free(leaf);
        free(clipped);
        m->failed = true;
        return 0;
    }
    leaf->clipped = clipped;
    leaf->n_clipped = m->locals.items[local].n_elements;
    m->leaves[m->n_leaves++] = leaf;
    leaf_compute(leaf, m, table, local);
    return (uint32_t) m->n_leaves - 1;
}

static uint32_t leaf_find(struct machine *m, const struct token_table *table, uint32_t local)
{
    struct local *l = &m->locals.items[local];
    if (!l->counts)
        return leaf_add(m, table, local, NULL);
    struct clipped *clipped = clip_counts(m, table, l);
    size_t at = 0, size = l->n_elements * sizeof *clipped;
    uint64_t hash = l->n_elements;
    for (uint32_t i = 0; clipped && i < l->n_elements; i++) {
        hash = table_hash(hash, (uint64_t) clipped[i].node << 32 | (uint32_t) clipped[i].to_lo);
        hash = table_hash(hash, (uint32_t) clipped[i].to_hi);
    }
    for (uint32_t id; clipped && (id = table_next(&m->leaf_index, hash, &at)) != UINT32_MAX;)
        if (m->leaves[id]->n_clipped == l->n_elements && memcmp(m->leaves[id]->clipped, clipped, size) == 0) {
            free(clipped);
            return id;
        }
    if (!clipped || !table_add(&m->leaf_index, hash, (uint32_t) m->n_leaves)) {
        free(clipped);
        m->failed = true;
        return 0;
    }
    return leaf_add(m, table, local, clipped);
}

static const struct leaf *leaf_get(struct machine *m, const struct token_table *table, uint32_t local)
{
    if (m->locals.items[local].leaf == LOCAL_UNKNOWN) {
        uint32_t leaf = leaf_find(m, table, local);
        if (m->failed)
            return NULL;
        m->locals.items[local].leaf = leaf;
    }
    return m->leaves[m->locals.items[local].leaf];
}

/* ------------------------------------------------------------------ */
/* Masks                                                               */
/* ------------------------------------------------------------------ */

/* Tokens that go on behind a return to this stack's frame. */
static void cross(struct walk *w, const struct leaf *leaf, uint32_t frame)
{
    if (frame == FRAME_BOTTOM || leaf->first[256] == 0)
        return;
    uint32_t state = machine_popped(w->m, frame);
    for (int b = 0; b < 256 && !w->m->failed; b++) {
        if (leaf->first[b] == leaf->first[b + 1] || machine_step(w->m, state, (uint8_t) b) == STATE_DEAD)
            continue;
        for (uint32_t i = leaf->first[b]; i < leaf->first[b + 1]; i++)
            walk_range(w, leaf->crossing[i], w->table->nodes[leaf->crossing[i]].end, state);
    }
}

static void combine(struct walk *w, uint32_t state)
{
    struct machine *m = w->m;
    for (uint32_t i = 0; i < m->states[state].n_stacks && !m->failed; i++) {
        struct stack s = m->stacks[m->states[state].stacks + i];
        const struct leaf *leaf = leaf_get(m, w->table, s.local);
        if (!leaf)
            return;
        for (size_t k = 0; k < w->table->n_words; k++)
            w->bits[k] |= leaf->bits[k];
        int32_t worst = cost_add(leaf->worst, m->frames[s.frame].cost);
        w->worst = worst > w->worst ? worst : w->worst;
        cross(w, leaf, s.frame);
    }
}

/* Computes a mask and puts it at the end of the state's: in the first place if it is for all. */
static const struct mask *add_mask(struct machine *m, const struct token_table *table, uint32_t state, int32_t left,
                                   struct mask **place)
{
    struct walk w;
    size_t size = sizeof(struct mask) + table->n_words * 8;
    struct mask *mask = memory_array(1, size);
    if (!mask || !walk_open(&w, m, table, mask->bits)) {
        free(mask);
        return NULL;
    }
    w.left = left;
    if (left == COST_MAX)
        combine(&w, state);
    else
        walk_range(&w, 1, table->n_nodes, state);
    mask->left = left;
    mask->worst = w.worst;
    walk_close(&w);
    if (m->failed) {
        free(mask);
        return NULL;
    }
    m->mask_bytes += size;
    /* States may have moved meanwhile. */
    if (!place)
        m->states[state].mask = mask;
    else
        *place = mask;
    return mask;
}

const struct mask *mask_get(struct machine *m, const struct token_table *table, uint32_t state, int32_t left)
{
    struct mask *mask = m->states[state].mask;
    if (!mask && !add_mask(m, table, state, COST_MAX, NULL))
        return NULL;
    mask = m->states[state].mask;
    if (mask->worst <= left)
        return mask;
    for (; mask->next; mask = mask->next)
        if (mask->next->left == left)
            return mask->next;
    return add_mask(m, table, state, left, &mask->next);
}

bool mask_below(struct machine *m, const struct token_table *table, uint32_t from, uint32_t state, int32_t left,
                uint64_t *bits)
{
    struct walk w;
    if (!walk_open(&w, m, table, bits))
        return false;
    w.left = left < COST_MAX ? left : COST_MAX;
    walk_range(&w, from + 1, table->nodes[from].end, state);
    walk_close(&w);
    return !m->failed;
}

void mask_free_all(struct machine *m)
{
    for (size_t i = 0; i < m->n_states; i++)
        for (struct mask *mask = m->states[i].mask, *next; mask; mask = next) {
            next = mask->next;
            free(mask);
        }
    for (size_t i = 0; i < m->n_leaves; i++)
        leaf_free(m->leaves[i]);
    m->n_leaves = 0;
    m->mask_bytes = 0;
}
