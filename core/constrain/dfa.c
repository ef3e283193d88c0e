/*
 * dfa.c - regular expressions made deterministic at once, to be combined
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/dfa.h"

#include "base/error.h"
#include "constrain/local.h"

enum { WORK_MAX = 1 << 24 };    /* nodes looked at for one automaton */

struct dfa {
    uint32_t n;
    uint32_t *next;             /* n rows of 256 */
    size_t next_size;
    bool *accepts;
    size_t accepts_size;
};

/* A row that leads nowhere yet; false beyond the limit or when memory is short. */
static bool add_state(struct dfa *dfa, bool accepts)
{
    if (dfa->n >= DFA_STATES_MAX ||
        !table_room(&dfa->next, 256 * (size_t) dfa->n, 256, &dfa->next_size, sizeof *dfa->next) ||
        !table_room(&dfa->accepts, dfa->n, 1, &dfa->accepts_size, sizeof *dfa->accepts))
        return false;
    memset(dfa->next + 256 * (size_t) dfa->n, 0xff, 256 * sizeof *dfa->next);
    dfa->accepts[dfa->n++] = accepts;
    return true;
}

/* ------------------------------------------------------------------ */
/* From an expression                                                  */
/* ------------------------------------------------------------------ */

/* Local state k + 1 is state k here: both are numbered as they are met. The start is met first. */
static dsr1_status explore(struct dfa *dfa, struct locals *l)
{
    const struct grammar *g = l->g;
    uint32_t start = local_start(l, 0);
    if (l->failed || !add_state(dfa, start != LOCAL_DEAD && l->items[start].accepts))
        return DSR1_ERR_NOMEM;
    uint64_t work = 0;
    for (uint32_t s = 0; s < dfa->n && start != LOCAL_DEAD; s++) {
        work += l->work;
        l->work = 0;
        if (work > WORK_MAX)
            return DSR1_ERR_LIMIT;
        for (int c = 0; c < g->n_classes; c++) {
            uint32_t to = local_step(l, s + 1, c);
            if (l->failed)
                return l->entangled ? DSR1_ERR_LIMIT : DSR1_ERR_NOMEM;
            if (to == LOCAL_DEAD)
                continue;
            if (to > dfa->n && !add_state(dfa, l->items[to].accepts))
                return dfa->n >= DFA_STATES_MAX ? DSR1_ERR_LIMIT : DSR1_ERR_NOMEM;
            for (int b = 0; b < 256; b++)
                if (g->class_of[b] == c)
                    dfa->next[256 * (size_t) s + (size_t) b] = to - 1;
        }
    }
    return DSR1_OK;
}

static dsr1_status report(dsr1_status status, dsr1_error *err)
{
    if (status == DSR1_ERR_LIMIT)
        return error_set(err, status, "an expression is too large: it wants more than %d states", DFA_STATES_MAX);
    return status < 0 ? error_nomem(err, "an expression") : DSR1_OK;
}

/* Edges against their direction, from the accepting states on: who is reached is alive. */
struct backwards {
    uint32_t *first, *from;     /* from[first[s]] to from[first[s + 1] - 1]: states with an edge to s */
    uint32_t *todo;
    bool *alive;
};

/* Goes through the edges of a state, each run of bytes with one target once; *byte begins with 0. False at the end. */
static bool next_edge(const struct dfa *dfa, uint32_t state, int *byte, uint32_t *to)
{
    const uint32_t *row = dfa->next + 256 * (size_t) state;
    while (*byte < 256) {
        *to = row[(*byte)++];
        if (*to != DFA_DEAD && (*byte == 256 || row[*byte] != *to))
            return true;
    }
    return false;
}

static bool backwards_open(struct backwards *b, const struct dfa *dfa)
{
    uint32_t to;
    b->first = memory_array((size_t) dfa->n + 2, sizeof *b->first);
    b->todo = memory_array(dfa->n, sizeof *b->todo);
    b->alive = memory_array(dfa->n, sizeof *b->alive);
    if (!b->first || !b->todo || !b->alive)
        return false;
    for (uint32_t s = 0; s < dfa->n; s++)
        for (int byte = 0; next_edge(dfa, s, &byte, &to);)
            b->first[to + 2]++;
    for (uint32_t s = 0; s < dfa->n; s++)
        b->first[s + 2] += b->first[s + 1];
    b->from = memory_array((size_t) b->first[dfa->n + 1] + 1, sizeof *b->from);
    for (uint32_t s = 0; b->from && s < dfa->n; s++)
        for (int byte = 0; next_edge(dfa, s, &byte, &to);)
            b->from[b->first[to + 1]++] = s;
    return b->from != NULL;
}

static void backwards_run(struct backwards *b, const struct dfa *dfa)
{
    uint32_t n = 0;
    for (uint32_t s = 0; s < dfa->n; s++)
        if (dfa->accepts[s]) {
            b->alive[s] = true;
            b->todo[n++] = s;
        }
    while (n > 0) {
        uint32_t s = b->todo[--n];
        for (uint32_t i = b->first[s]; i < b->first[s + 1]; i++)
            if (!b->alive[b->from[i]]) {
                b->alive[b->from[i]] = true;
                b->todo[n++] = b->from[i];
            }
    }
}

/* Gives the states that are alive, and the start, new numbers: those of `number`. */
static void renumber(struct dfa *dfa, const bool *alive, uint32_t *number)
{
    uint32_t n = 0;
    for (uint32_t s = 0; s < dfa->n; s++)
        number[s] = alive[s] || s == 0 ? n++ : DFA_DEAD;
    for (uint32_t s = 0; s < dfa->n; s++) {
        if (number[s] == DFA_DEAD)
            continue;
        for (int b = 0; b < 256; b++) {
            uint32_t to = dfa->next[256 * (size_t) s + (size_t) b];
            dfa->next[256 * (size_t) number[s] + (size_t) b] = to == DFA_DEAD ? to : number[to];
        }
        dfa->accepts[number[s]] = dfa->accepts[s];
    }
    dfa->n = n;
}

/* Takes away the states from which no text ends. */
static dsr1_status trim(struct dfa *dfa)
{
    struct backwards b = {.first = NULL};
    bool ok = backwards_open(&b, dfa);
    if (ok) {
        backwards_run(&b, dfa);
        renumber(dfa, b.alive, b.todo);
    }
    free(b.first);
    free(b.from);
    free(b.todo);
    free(b.alive);
    return ok ? DSR1_OK : DSR1_ERR_NOMEM;
}

dsr1_status dfa_open(const struct expr_store *store, struct dfa **result, dsr1_error *err)
{
    struct grammar g;
    struct locals l;
    *result = NULL;
    dsr1_status status = grammar_open(&g, store, NULL, NULL, err);
    if (status < 0)
        return status;
    struct dfa *dfa = memory_array(1, sizeof *dfa);
    status = DSR1_ERR_NOMEM;
    if (dfa && locals_open(&l, &g)) {
        status = explore(dfa, &l);
        locals_close(&l);
    }
    if (status == DSR1_OK)
        status = trim(dfa);
    grammar_close(&g);
    if (status < 0) {
        dfa_close(dfa);
        return report(status, err);
    }
    *result = dfa;
    return DSR1_OK;
}

void dfa_close(struct dfa *dfa)
{
    if (!dfa)
        return;
    free(dfa->next);
    free(dfa->accepts);
    free(dfa);
}

/* ------------------------------------------------------------------ */
/* Products                                                            */
/* ------------------------------------------------------------------ */

struct product {
    const struct dfa *a, *b;
    bool negated;               /* b's complement */
    struct dfa *dfa;
    uint64_t *pairs;            /* of each state */
    size_t pairs_size;
    struct table index;
};

/* The state of a pair, of which b's may be dead where b is negated. */
static dsr1_status product_state(struct product *p, uint32_t a, uint32_t b, uint32_t *state)
{
    uint64_t pair = (uint64_t) a << 32 | b, hash = rng_mix(pair);
    size_t at = 0;
    while ((*state = table_next(&p->index, hash, &at)) != UINT32_MAX)
        if (p->pairs[*state] == pair)
            return DSR1_OK;
    bool in_b = b != DFA_DEAD && p->b->accepts[b];
    *state = p->dfa->n;
    if (!table_room(&p->pairs, p->dfa->n, 1, &p->pairs_size, sizeof *p->pairs) || !table_add(&p->index, hash, *state))
        return DSR1_ERR_NOMEM;
    p->pairs[*state] = pair;
    if (!add_state(p->dfa, p->a->accepts[a] && in_b != p->negated))
        return p->dfa->n >= DFA_STATES_MAX ? DSR1_ERR_LIMIT : DSR1_ERR_NOMEM;
    return DSR1_OK;
}

static dsr1_status product_run(struct product *p)
{
    uint32_t to;
    dsr1_status status = product_state(p, 0, 0, &to);
    for (uint32_t s = 0; status == DSR1_OK && s < p->dfa->n; s++) {
        uint32_t a = (uint32_t) (p->pairs[s] >> 32), b = (uint32_t) p->pairs[s];
        for (int byte = 0; byte < 256 && status == DSR1_OK; byte++) {
            uint32_t to_a = dfa_next(p->a, a, (uint8_t) byte);
            uint32_t to_b = b == DFA_DEAD ? DFA_DEAD : dfa_next(p->b, b, (uint8_t) byte);
            if (to_a == DFA_DEAD || (to_b == DFA_DEAD && !p->negated))
                continue;
            status = product_state(p, to_a, to_b, &to);
            if (status == DSR1_OK)
                p->dfa->next[256 * (size_t) s + (size_t) byte] = to;
        }
    }
    return status == DSR1_OK ? trim(p->dfa) : status;
}

static dsr1_status combine(const struct dfa *a, const struct dfa *b, bool negated, struct dfa **result, dsr1_error *err)
{
    struct product p = {.a = a, .b = b, .negated = negated};
    dsr1_status status = DSR1_ERR_NOMEM;
    p.dfa = memory_array(1, sizeof *p.dfa);
    if (p.dfa && table_open(&p.index))
        status = product_run(&p);
    table_close(&p.index);
    free(p.pairs);
    if (status < 0) {
        dfa_close(p.dfa);
        p.dfa = NULL;
    }
    *result = p.dfa;
    return report(status, err);
}

dsr1_status dfa_both(const struct dfa *a, const struct dfa *b, struct dfa **dfa, dsr1_error *err)
{
    return combine(a, b, false, dfa, err);
}

dsr1_status dfa_without(const struct dfa *a, const struct dfa *b, struct dfa **dfa, dsr1_error *err)
{
    return combine(a, b, true, dfa, err);
}

/* ------------------------------------------------------------------ */
/* By hand                                                             */
/* ------------------------------------------------------------------ */

struct dfa *dfa_blank(uint32_t n_states)
{
    struct dfa *dfa = memory_array(1, sizeof *dfa);
    for (uint32_t i = 0; dfa && i < n_states; i++)
        if (!add_state(dfa, false)) {
            dfa_close(dfa);
            return NULL;
        }
    return dfa;
}

void dfa_set_next(struct dfa *dfa, uint32_t state, uint8_t byte, uint32_t to)
{
    dfa->next[256 * (size_t) state + byte] = to;
}

void dfa_set_accepts(struct dfa *dfa, uint32_t state, bool accepts)
{
    dfa->accepts[state] = accepts;
}

/* ------------------------------------------------------------------ */
/* Questions                                                           */
/* ------------------------------------------------------------------ */

uint32_t dfa_n_states(const struct dfa *dfa)
{
    return dfa->n;
}

uint32_t dfa_next(const struct dfa *dfa, uint32_t state, uint8_t byte)
{
    return dfa->next[256 * (size_t) state + byte];
}

bool dfa_accepts(const struct dfa *dfa, uint32_t state)
{
    return dfa->accepts[state];
}

bool dfa_matches(const struct dfa *dfa, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint32_t state = 0;
    for (size_t i = 0; i < size && state != DFA_DEAD; i++)
        state = dfa_next(dfa, state, at[i]);
    return state != DFA_DEAD && dfa->accepts[state];
}

bool dfa_is_nothing(const struct dfa *dfa)
{
    for (uint32_t s = 0; s < dfa->n; s++)
        if (dfa->accepts[s])
            return false;       /* every state can be reached */
    return true;
}
