/*
 * constraint_state.c - one answer on its way: what may come next, and going over it
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "constrain/constraint_parts.h"

/* ------------------------------------------------------------------ */
/* States                                                              */
/* ------------------------------------------------------------------ */

dsr1_status constraint_begin(struct constraint *constraint, struct constraint_state **result, dsr1_error *err)
{
    *result = NULL;
    struct constraint_state *s = memory_array(1, sizeof *s);
    if (s)
        s->bits = memory_array(constraint->table->n_words, sizeof *s->bits);
    struct constraint *c = constraint->prefix ? constraint->inner : constraint;
    if (!s || !s->bits || (c && !constraint_enter(c))) {
        free(s ? s->bits : NULL);
        free(s);
        return error_nomem(err, "a constraint's state");
    }
    s->constraint = constraint_hold(constraint);
    s->c = c;
    if (c) {
        s->at = machine_start(&c->machine);
        s->next = c->states;
        if (s->next)
            s->next->previous = s;
        c->states = s;
        bool failed = c->machine.failed;
        constraint_leave(c);
        if (failed) {
            constraint_end(s);
            return error_nomem(err, "a constraint's state");
        }
    }
    *result = s;
    return DSR1_OK;
}

void constraint_end(struct constraint_state *s)
{
    if (!s)
        return;
    if (s->c) {
        pthread_mutex_lock(&s->c->lock);
        if (s->next)
            s->next->previous = s->previous;
        if (s->previous)
            s->previous->next = s->next;
        else
            s->c->states = s->next;
        pthread_mutex_unlock(&s->c->lock);
    }
    constraint_close(s->constraint);
    free(s->bits);
    free(s);
}

void constraint_copy(struct constraint_state *to, const struct constraint_state *from)
{
    if (from->c)
        pthread_mutex_lock(&from->c->lock);
    to->at = from->at;
    to->prefix_at = from->prefix_at;
    to->ended = from->ended;
    if (from->c)
        pthread_mutex_unlock(&from->c->lock);
}

bool constraint_is_free(const struct constraint_state *s)
{
    return !s->c && constraint_prefix_left(s) == 0;
}

bool constraint_can_end(const struct constraint_state *s)
{
    if (s->ended || constraint_prefix_left(s) > 0)
        return false;
    if (!s->c)
        return true;
    pthread_mutex_lock(&s->c->lock);
    bool accepts = s->c->open_end || s->c->machine.states[s->at].accepts;
    pthread_mutex_unlock(&s->c->lock);
    return accepts;
}

bool constraint_complete(const struct constraint_state *s)
{
    if (s->ended)
        return true;
    if (constraint_prefix_left(s) > 0 || !s->c)
        return false;
    pthread_mutex_lock(&s->c->lock);
    const struct state *at = &s->c->machine.states[s->at];
    bool complete = at->accepts && at->n_stacks == 0;
    pthread_mutex_unlock(&s->c->lock);
    return complete;
}

int constraint_left(const struct constraint_state *s)
{
    if (s->ended)
        return 0;
    if (s->c)
        pthread_mutex_lock(&s->c->lock);
    int left = constraint_cost(s, s->prefix_at, s->at);
    if (s->c)
        pthread_mutex_unlock(&s->c->lock);
    return left;
}

/* ------------------------------------------------------------------ */
/* Masks                                                               */
/* ------------------------------------------------------------------ */

static void allow_ends(const struct token_table *table, uint64_t *bits)
{
    for (int i = 0; i < table->n_ends; i++)
        bits[table->ends[i] / 64] |= 1ull << (table->ends[i] % 64);
}

static bool is_empty(const struct token_table *table, const uint64_t *bits)
{
    uint64_t any = 0;
    for (size_t i = 0; i < table->n_words; i++)
        any |= bits[i];
    return any == 0;
}

/* Without a prefix, from what is kept. */
static bool mask_of_machine(struct constraint_state *s, int32_t left)
{
    struct machine *m = &s->c->machine;
    const struct token_table *table = s->constraint->table;
    const struct mask *mask = mask_get(m, table, s->at, left);
    if (!mask)
        return false;
    memcpy(s->bits, mask->bits, table->n_words * sizeof *s->bits);
    if (m->states[s->at].accepts || s->c->open_end)
        allow_ends(table, s->bits);
    return true;
}

static bool make_mask(struct constraint_state *s, int32_t left)
{
    const struct token_table *table = s->constraint->table;
    memset(s->bits, 0, table->n_words * sizeof *s->bits);
    if (constraint_prefix_left(s) > 0)
        return constraint_prefix_mask(s, left);
    if (s->c)
        return mask_of_machine(s, left);
    mask_all(table, 0, s->bits);
    allow_ends(table, s->bits);
    return true;
}

const uint64_t *constraint_mask(struct constraint_state *s, int budget)
{
    const struct token_table *table = s->constraint->table;
    if (s->ended) {
        memset(s->bits, 0, table->n_words * sizeof *s->bits);
        allow_ends(table, s->bits);
        return s->bits;
    }
    if (s->c && !constraint_enter(s->c))
        return NULL;
    /* One token now, one for the end. */
    bool ok = make_mask(s, budget < 0 || (s->c && s->c->open_end) ? COST_MAX : budget - 2);
    if (ok && is_empty(table, s->bits))
        ok = make_mask(s, COST_MAX);
    if (s->c) {
        ok &= !s->c->machine.failed;
        constraint_leave(s->c);
    }
    return ok ? s->bits : NULL;
}

/* ------------------------------------------------------------------ */
/* Steps                                                               */
/* ------------------------------------------------------------------ */

bool constraint_advance(const struct constraint_state *s, const uint8_t *bytes, size_t size, size_t *prefix_at,
                        uint32_t *at)
{
    size_t i = 0;
    for (; i < size && s->constraint->prefix && *prefix_at < s->constraint->prefix_size; i++)
        if (bytes[i] != s->constraint->prefix[(*prefix_at)++])
            return false;
    for (; i < size && s->c; i++) {
        *at = machine_step(&s->c->machine, *at, bytes[i]);
        if (*at == STATE_DEAD)
            return false;
    }
    return true;
}

int32_t constraint_cost(const struct constraint_state *s, size_t prefix_at, uint32_t at)
{
    if (s->constraint->prefix && prefix_at < s->constraint->prefix_size)
        return s->constraint->prefix_cost[prefix_at];
    if (!s->c)
        return 0;
    int32_t cost = s->c->machine.states[at].cost;
    return s->c->open_end && cost != COST_NEVER ? 0 : cost;
}

bool constraint_accept(struct constraint_state *s, int32_t token)
{
    const struct token_table *table = s->constraint->table;
    if (s->ended || token < 0 || token >= table->n_vocab)
        return false;
    struct token_text text = table->texts[token];
    if (text.size == 0) {
        s->ended = tokenizer_is_end(table->tokenizer, token) && constraint_can_end(s);
        return s->ended;
    }
    if (s->c && !constraint_enter(s->c))
        return false;
    size_t prefix_at = s->prefix_at;
    uint32_t at = s->at;
    bool ok = constraint_advance(s, table->bytes + text.at, text.size, &prefix_at, &at);
    if (ok && !(s->c && s->c->machine.failed) && constraint_cost(s, prefix_at, at) != COST_NEVER) {
        s->prefix_at = prefix_at;
        s->at = at;
    } else {
        ok = false;
    }
    if (s->c)
        constraint_leave(s->c);
    return ok;
}
