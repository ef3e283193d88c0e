/*
 * constraint.c - answers that obey: constraints are compiled, kept and shared
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "constrain/compile.h"
#include "constrain/constraint_parts.h"
#include "constrain/shelf.h"

/* ------------------------------------------------------------------ */
/* Compiling                                                           */
/* ------------------------------------------------------------------ */

static dsr1_status compile_kind(struct expr_store *s, const dsr1_constraint *from, char ***names, dsr1_error *err)
{
    bool one = from->n_texts == 1 && from->texts[0];
    if (!one && (from->kind == DSR1_CONSTRAINT_JSON_SCHEMA || from->kind == DSR1_CONSTRAINT_REGEX ||
                 from->kind == DSR1_CONSTRAINT_GBNF))
        return error_set(err, DSR1_ERR_ARGUMENT, "a constraint of this kind has one text, not %zu", from->n_texts);
    switch (from->kind) {
    case DSR1_CONSTRAINT_CHOICES:
        return choices_compile(s, from->texts, from->n_texts, err);
    case DSR1_CONSTRAINT_JSON:
        return json_expr_compile(s, err);
    case DSR1_CONSTRAINT_JSON_SCHEMA:
        return schema_compile(s, from->texts[0], err);
    case DSR1_CONSTRAINT_REGEX:
        return regex_compile(s, from->texts[0], err);
    case DSR1_CONSTRAINT_GBNF:
        return gbnf_compile(s, from->texts[0], names, err);
    case DSR1_CONSTRAINT_NONE:
        break;
    }
    return error_set(err, DSR1_ERR_ARGUMENT, "no constraint of kind %d", (int) from->kind);
}

/* The first mask is wanted soon, and tells whether masks can be had at all. */
static dsr1_status start(struct constraint *c, dsr1_error *err)
{
    struct machine *m = &c->machine;
    if (!machine_open(m, &c->grammar))
        return error_nomem(err, "a constraint");
    uint32_t at = machine_start(m);
    if (mask_get(m, c->table, at, COST_MAX))
        return DSR1_OK;
    if (m->locals.entangled)
        return error_set(err, DSR1_ERR_LIMIT, "the constraint is too entangled");
    return error_nomem(err, "a constraint");
}

static dsr1_status compile(struct constraint *c, const dsr1_constraint *from, dsr1_error *err)
{
    struct expr_store store;
    char **names = NULL;
    if (!expr_open(&store))
        return error_nomem(err, "a constraint");
    dsr1_status status = compile_kind(&store, from, &names, err);
    if (status == DSR1_OK)
        status = grammar_open(&c->grammar, &store, c->table, (const char *const *) names, err);
    gbnf_free_names(names);
    expr_close(&store);
    return status == DSR1_OK ? start(c, err) : status;
}

struct constraint *constraint_allocate(struct token_table *table)
{
    struct constraint *c = memory_array(1, sizeof *c);
    if (!c)
        return NULL;
    atomic_init(&c->holders, 1);
    c->table = table;
    c->machine_limit = MACHINE_SIZE_SOFT;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

/* All that makes a constraint what it is, as bytes. */
static void make_key(struct buffer *key, const dsr1_constraint *from)
{
    buffer_printf(key, "%d %d %zu", (int) from->kind, from->open_end, from->n_texts);
    for (size_t i = 0; i < from->n_texts; i++)
        buffer_append(key, from->texts[i], strlen(from->texts[i]) + 1);
}

dsr1_status constraint_open(struct token_table *table, const dsr1_constraint *from, struct constraint **result,
                            dsr1_error *err)
{
    struct buffer key = {0};
    *result = NULL;
    for (size_t i = 0; i < from->n_texts; i++)
        if (!from->texts[i] || strlen(from->texts[i]) > COMPILE_TEXT_MAX)
            return error_set(err, from->texts[i] ? DSR1_ERR_LIMIT : DSR1_ERR_ARGUMENT,
                             "text %zu of the constraint is %s", i + 1, from->texts[i] ? "too long" : "missing");
    make_key(&key, from);
    if (key.failed) {
        buffer_free(&key);
        return error_nomem(err, "a constraint");
    }
    struct constraint *c = shelf_find(table->shelf, &key);
    dsr1_status status = DSR1_OK;
    if (!c) {
        c = constraint_allocate(table);
        status = c ? compile(c, from, err) : error_nomem(err, "a constraint");
        if (c)
            c->open_end = from->open_end;
        if (status == DSR1_OK)
            shelf_put(table->shelf, &key, c);
    }
    buffer_free(&key);
    if (status < 0) {
        constraint_close(c);
        return status;
    }
    *result = c;
    return DSR1_OK;
}

/* ------------------------------------------------------------------ */
/* Holders                                                             */
/* ------------------------------------------------------------------ */

struct constraint *constraint_hold(struct constraint *c)
{
    atomic_fetch_add(&c->holders, 1);
    return c;
}

void constraint_close(struct constraint *c)
{
    if (!c || atomic_fetch_sub(&c->holders, 1) > 1)
        return;
    constraint_close(c->inner);
    free(c->prefix);
    free(c->prefix_cost);
    machine_close(&c->machine);
    grammar_close(&c->grammar);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

int constraint_shortest(const struct constraint *c)
{
    return c->prefix ? c->prefix_cost[0] : c->open_end ? 0 : c->grammar.rules[0].cost;
}

/* ------------------------------------------------------------------ */
/* Machines                                                            */
/* ------------------------------------------------------------------ */

/* Builds the machine anew around the states that live. Called under the lock. */
static bool renew(struct constraint *c)
{
    struct machine fresh;
    size_t n = 0, i = 0;
    for (struct constraint_state *s = c->states; s; s = s->next)
        n++;
    uint32_t *at = memory_array(n + 1, sizeof *at);
    if (!at || !machine_open(&fresh, &c->grammar)) {
        free(at);
        return false;
    }
    for (struct constraint_state *s = c->states; s; s = s->next)
        at[i++] = machine_import(&fresh, &c->machine, s->at);
    if (fresh.failed) {
        free(at);
        machine_close(&fresh);
        return false;
    }
    i = 0;
    for (struct constraint_state *s = c->states; s; s = s->next)
        s->at = at[i++];
    free(at);
    machine_close(&c->machine);
    c->machine = fresh;
    size_t size = 2 * machine_size(&fresh);
    c->machine_limit = size > MACHINE_SIZE_SOFT ? size : MACHINE_SIZE_SOFT;
    return true;
}

bool constraint_enter(struct constraint *c)
{
    pthread_mutex_lock(&c->lock);
    c->machine.locals.work = 0;
    bool too_large = machine_size(&c->machine) > c->machine_limit;
    if (!c->machine.failed && !too_large)
        return true;
    if (renew(c) || !c->machine.failed)
        return true;
    pthread_mutex_unlock(&c->lock);
    return false;
}

void constraint_leave(struct constraint *c)
{
    pthread_mutex_unlock(&c->lock);
}
