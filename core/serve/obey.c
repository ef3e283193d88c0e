/*
 * obey.c - what one answer must be, and how far it has come
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "serve/obey.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>

/* A prefix; behind it anything goes, or the constraint. */
static dsr1_status open_healing(struct obey *o, const struct obey_terms *terms, struct obey_healed healed,
                                struct constraint *inner, struct constraint_state **state, dsr1_error *err)
{
    char bytes[1024];
    struct constraint *c;
    size_t n = 0;
    for (int i = 0; i < healed.n; i++) {
        n += tokenizer_token_bytes(terms->tokenizer, healed.tokens[i], false, bytes + n, sizeof bytes - n);
        if (n > sizeof bytes)
            return error_set(err, DSR1_ERR_LIMIT, "the prompt's last word has over %zu bytes", sizeof bytes);
    }
    dsr1_status status = constraint_open_prefix(terms->table, bytes, n, inner, &c, err);
    if (status == DSR1_OK) {
        status = constraint_begin(c, state, err);
        if (status == DSR1_OK && inner)
            status = constraint_begin(c, &o->ahead, err);
        constraint_close(c);
    }
    o->n_healed = (int) n;
    return status;
}

/* An eighth of the answer stays for what comes behind the reasoning, and what that takes at least. */
static dsr1_status open_thinking(struct obey *o, const struct obey_terms *terms, const struct constraint *c,
                                 int max_tokens, dsr1_error *err)
{
    if (terms->think_close < 0)
        return error_set(err, DSR1_ERR_UNSUPPORTED, "the vocabulary has no </think>, behind which a constraint could hold");
    ptrdiff_t n = tokenizer_encode(terms->tokenizer, "\n\n", 2, 0, o->blank, sizeof o->blank / sizeof *o->blank);
    o->n_blank = n > 0 && n <= (ptrdiff_t) (sizeof o->blank / sizeof *o->blank) ? (int) n : 0;
    o->thinking = true;
    o->think_close = terms->think_close;
    o->reserve = constraint_shortest(c) + 2 + o->n_blank + (max_tokens > 0 ? max_tokens / 8 : 0);
    return DSR1_OK;
}

dsr1_status obey_open(struct obey *o, const struct obey_terms *terms, const dsr1_request *from,
                      struct obey_healed healed, dsr1_error *err)
{
    struct constraint *c = NULL;
    dsr1_status status = DSR1_OK;
    *o = (struct obey){.think_close = -1};
    bool constrained = from->constraint.kind != DSR1_CONSTRAINT_NONE, thinks = constrained && from->reasoning_open;
    if (constrained)
        status = constraint_open(terms->table, &from->constraint, &c, err);
    if (status == DSR1_OK && thinks)
        status = open_thinking(o, terms, c, from->max_tokens, err);
    if (status == DSR1_OK && healed.n > 0)
        status = open_healing(o, terms, healed, thinks ? NULL : c, &o->now, err);
    if (status == DSR1_OK && constrained && (thinks || healed.n == 0)) {
        status = constraint_begin(c, thinks ? &o->then : &o->now, err);
        if (status == DSR1_OK)
            status = constraint_begin(c, &o->ahead, err);
    }
    constraint_close(c);
    return status;
}

void obey_close(struct obey *o)
{
    constraint_end(o->now);
    constraint_end(o->then);
    constraint_end(o->ahead);
    *o = (struct obey){0};
}

/* Constraints count an end token; here an answer that could end does so where its tokens do. */
static int with_end(int budget)
{
    return budget + 1;
}

bool obey_mask(struct obey *o, int budget, const uint64_t **allowed)
{
    *allowed = o->now ? constraint_mask(o->now, with_end(budget)) : NULL;
    return !o->now || *allowed;
}

int32_t obey_correct(const struct obey *o, int32_t token, bool is_end, int budget)
{
    return o->thinking && !o->now && (is_end || budget <= o->reserve) ? o->think_close : token;
}

void obey_accept(struct obey *o, int32_t token)
{
    if (o->now && constraint_accept(o->now, token) && constraint_is_free(o->now)) {
        constraint_end(o->now);
        o->now = NULL;
    }
}

void obey_answer(struct obey *o)
{
    constraint_end(o->now);
    o->now = o->then;
    o->then = NULL;
    o->thinking = false;
}

int obey_forced(struct obey *o, int32_t *tokens, int capacity, int budget)
{
    return o->now ? constraint_forced(o->now, tokens, capacity, with_end(budget)) : 0;
}

bool obey_complete(const struct obey *o)
{
    return o->now && constraint_complete(o->now);
}

bool obey_can_end(const struct obey *o)
{
    return o->now && constraint_can_end(o->now);
}

int obey_filter(struct obey *o, const int32_t *tokens, int n)
{
    int kept = 0;
    if (!o->now)
        return n;
    if (!o->ahead || o->thinking)
        return 0;
    constraint_copy(o->ahead, o->now);
    while (kept < n && constraint_accept(o->ahead, tokens[kept]))
        kept++;
    return kept;
}
