/*
 * constraint.c - answers that obey: a choice, JSON, a schema, an expression, a grammar
 *
 * A constraint is shared: its grammar never changes, its machine grows while
 * answers are written, under a lock that hardly anybody else wants. When the
 * machine has grown too large it is built anew around the states that live.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/constraint.h"

#include "base/error.h"
#include "constrain/compile.h"
#include "constrain/mask.h"
#include "constrain/shelf.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MACHINE_SIZE_MAX = 32 << 20, FORCED_BYTES_MAX = 512, PREFIX_SIZE_MAX = 4096 };

struct constraint {
    atomic_int holders;
    struct token_table *table;
    struct constraint *inner;           /* with a prefix: what comes behind it, or NULL */
    uint8_t *prefix;                    /* NULL where there is none */
    size_t prefix_size;
    int32_t *prefix_cost;               /* tokens from each byte of the prefix to the end of the answer */
    struct grammar grammar;             /* without a prefix */
    pthread_mutex_t lock;               /* guards all below */
    struct machine machine;
    size_t machine_limit;
    struct constraint_state *states;    /* which live */
};

struct constraint_state {
    struct constraint *constraint;      /* held */
    struct constraint *c;               /* whose machine `at` belongs to: without a prefix; or NULL: free */
    struct constraint_state *next, *previous;
    size_t prefix_at;                   /* bytes of the prefix that are written */
    uint32_t at;
    bool ended;
    uint64_t *bits;
};

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
    if (status == DSR1_OK && !machine_open(&c->machine, &c->grammar))
        status = error_nomem(err, "a constraint");
    return status;
}

static struct constraint *allocate(struct token_table *table)
{
    struct constraint *c = memory_array(1, sizeof *c);
    if (!c)
        return NULL;
    atomic_init(&c->holders, 1);
    c->table = table;
    c->machine_limit = MACHINE_SIZE_MAX;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

/* All that makes a constraint what it is, as bytes. */
static void make_key(struct buffer *key, const dsr1_constraint *from)
{
    buffer_printf(key, "%d %zu", (int) from->kind, from->n_texts);
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
        c = allocate(table);
        status = c ? compile(c, from, err) : error_nomem(err, "a constraint");
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
    struct constraint *c = allocate(table);
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
    return c->prefix ? c->prefix_cost[0] : c->grammar.rules[0].cost;
}

/* ------------------------------------------------------------------ */
/* Machines                                                            */
/* ------------------------------------------------------------------ */

/* Builds the machine anew around the states that live. Called under the lock. */
static bool renew(struct constraint *c)
{
    struct machine fresh;
    if (!machine_open(&fresh, &c->grammar))
        return false;
    for (struct constraint_state *s = c->states; s; s = s->next)
        machine_import(&fresh, &c->machine, s->at);
    if (fresh.failed) {
        machine_close(&fresh);
        return false;
    }
    for (struct constraint_state *s = c->states; s; s = s->next)
        s->at = machine_import(&fresh, &c->machine, s->at);
    if (fresh.failed) {
        machine_close(&fresh);
        return false;
    }
    machine_close(&c->machine);
    c->machine = fresh;
    size_t size = 2 * machine_size(&fresh);
    c->machine_limit = size > MACHINE_SIZE_MAX ? size : MACHINE_SIZE_MAX;
    return true;
}

/* Locks, and makes sure that the machine works and is not too large. */
static bool enter(struct constraint *c)
{
    pthread_mutex_lock(&c->lock);
    bool too_large = machine_size(&c->machine) > c->machine_limit;
    if (!c->machine.failed && !too_large)
        return true;
    if (renew(c) || !c->machine.failed)
        return true;
    pthread_mutex_unlock(&c->lock);
    return false;
}

static void leave(struct constraint *c)
{
    pthread_mutex_unlock(&c->lock);
}

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
    if (!s || !s->bits || (c && !enter(c))) {
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
        leave(c);
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

/* Bytes of the prefix that are still to be written. */
static size_t prefix_left(const struct constraint_state *s)
{
    return s->constraint->prefix ? s->constraint->prefix_size - s->prefix_at : 0;
}

bool constraint_is_free(const struct constraint_state *s)
{
    return !s->c && prefix_left(s) == 0;
}

bool constraint_can_end(const struct constraint_state *s)
{
    if (s->ended || prefix_left(s) > 0)
        return false;
    if (!s->c)
        return true;
    pthread_mutex_lock(&s->c->lock);
    bool accepts = s->c->machine.states[s->at].accepts;
    pthread_mutex_unlock(&s->c->lock);
    return accepts;
}

bool constraint_complete(const struct constraint_state *s)
{
    if (s->ended)
        return true;
    if (prefix_left(s) > 0 || !s->c)
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
    if (prefix_left(s) > 0)
        return s->constraint->prefix_cost[s->prefix_at];
    if (!s->c)
        return 0;
    pthread_mutex_lock(&s->c->lock);
    int left = s->c->machine.states[s->at].cost;
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

/* Every token of the trie below this node. */
static void allow_all(const struct token_table *table, uint32_t from, uint64_t *bits)
{
    for (uint32_t i = from + 1; i < table->nodes[from].end; i++)
        mask_set(table, bits, table->nodes[i].token);
}

/* Tokens within the prefix, and those that begin with all that is left of it. */
static bool mask_of_prefix(struct constraint_state *s, int32_t left)
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
    allow_all(table, trie, s->bits);
    return true;
}

/* Without a prefix, from what is kept where all of it fits the budget. */
static bool mask_of_machine(struct constraint_state *s, int32_t left)
{
    struct machine *m = &s->c->machine;
    const struct token_table *table = s->constraint->table;
    const struct mask *mask = mask_get(m, table, s->at);
    if (!mask)
        return false;
    if (mask->worst <= left)
        memcpy(s->bits, mask->bits, table->n_words * sizeof *s->bits);
    else if (!mask_within(m, table, s->at, left, s->bits))
        return false;
    if (m->states[s->at].accepts)
        allow_ends(table, s->bits);
    return true;
}

static bool make_mask(struct constraint_state *s, int32_t left)
{
    const struct token_table *table = s->constraint->table;
    memset(s->bits, 0, table->n_words * sizeof *s->bits);
    if (prefix_left(s) > 0)
        return mask_of_prefix(s, left);
    if (s->c)
        return mask_of_machine(s, left);
    allow_all(table, 0, s->bits);
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
    if (s->c && !enter(s->c))
        return NULL;
    /* One token now, one for the end. */
    bool ok = make_mask(s, budget < 0 ? COST_MAX : budget - 2);
    if (ok && is_empty(table, s->bits))
        ok = make_mask(s, COST_MAX);
    if (s->c) {
        ok &= !s->c->machine.failed;
        leave(s->c);
    }
    return ok ? s->bits : NULL;
}

/* ------------------------------------------------------------------ */
/* Steps                                                               */
/* ------------------------------------------------------------------ */

/* Where bytes lead: through what is left of the prefix, then through the machine. False: nowhere. */
static bool advance(const struct constraint_state *s, const uint8_t *bytes, size_t size, size_t *prefix_at,
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
    if (s->c && !enter(s->c))
        return false;
    size_t prefix_at = s->prefix_at;
    uint32_t at = s->at;
    bool ok = advance(s, table->bytes + text.at, text.size, &prefix_at, &at) && !(s->c && s->c->machine.failed);
    if (ok) {
        s->prefix_at = prefix_at;
        s->at = at;
    }
    if (s->c)
        leave(s->c);
    return ok;
}

/* ------------------------------------------------------------------ */
/* Forced tokens                                                       */
/* ------------------------------------------------------------------ */

/* Bytes that follow without an alternative; *open: others may follow them. */
static size_t forced_bytes(const struct constraint_state *s, uint8_t *bytes, bool *open)
{
    size_t n = 0, prefix_at = s->prefix_at;
    uint32_t at = s->at;
    *open = true;
    while (n < FORCED_BYTES_MAX && s->constraint->prefix && prefix_at < s->constraint->prefix_size)
        bytes[n++] = s->constraint->prefix[prefix_at++];
    while (n < FORCED_BYTES_MAX && s->c) {
        const struct state *state = &s->c->machine.states[at];
        if (state->accepts) {
            *open = state->n_stacks > 0;
            break;
        }
        int byte = machine_only_byte(&s->c->machine, at);
        if (byte < 0)
            break;
        at = machine_step(&s->c->machine, at, (uint8_t) byte);
        bytes[n++] = (uint8_t) byte;
    }
    return n;
}

/* How many of the ids write these bytes from the first on: less than n where an id is none that a mask allows. */
static size_t agreeing(const struct token_table *table, const int32_t *ids, size_t n, const uint8_t *bytes, size_t size)
{
    size_t at = 0, i = 0;
    for (; i < n; i++) {
        struct token_text text = table->texts[ids[i]];
        if (text.size == 0 || text.size > size - at || memcmp(table->bytes + text.at, bytes + at, text.size) != 0)
            break;
        at += text.size;
    }
    return i;
}

/*
 * The tokenizer's ids of bytes amid an answer. SentencePiece-style models put a
 * blank before a text: there, a line break is put first and taken away again.
 */
static size_t canonical(const struct token_table *table, const uint8_t *bytes, size_t size, int32_t *ids)
{
    char text[FORCED_BYTES_MAX + 1];
    int32_t more[FORCED_BYTES_MAX + 8];
    ptrdiff_t n = tokenizer_encode(table->tokenizer, (const char *) bytes, size, 0, ids, FORCED_BYTES_MAX);
    if (n > 0 && n <= FORCED_BYTES_MAX && agreeing(table, ids, 1, bytes, size) == 1)
        return agreeing(table, ids, (size_t) n, bytes, size);
    text[0] = '\n';
    memcpy(text + 1, bytes, size);
    n = tokenizer_encode(table->tokenizer, text, size + 1, 0, more, FORCED_BYTES_MAX + 8);
    if (n > FORCED_BYTES_MAX + 8)
        return 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        struct token_text first = table->texts[more[i]];
        if (first.size == 0 || table->bytes[first.at + first.size - 1] != '\n')
            continue;
        size_t kept = agreeing(table, more + i + 1, (size_t) (n - i - 1), bytes, size);
        if (kept > FORCED_BYTES_MAX)
            return 0;
        memcpy(ids, more + i + 1, kept * sizeof *ids);
        return kept;
    }
    return 0;
}

/* How many of the n tokens one can write so that the rest still fits. */
static int within_budget(const struct constraint_state *s, const int32_t *ids, size_t n, int budget)
{
    const struct token_table *table = s->constraint->table;
    size_t prefix_at = s->prefix_at;
    uint32_t at = s->at;
    int fits = 0;
    for (size_t i = 0; i < n; i++) {
        struct token_text text = table->texts[ids[i]];
        if (!advance(s, table->bytes + text.at, text.size, &prefix_at, &at))
            break;
        bool inside = s->constraint->prefix && prefix_at < s->constraint->prefix_size;
        int32_t left = inside ? s->constraint->prefix_cost[prefix_at] : s->c ? s->c->machine.states[at].cost : 0;
        if (left == COST_NEVER || (budget >= 0 && cost_add(left, (int32_t) i + 2) > budget))
            continue;
        fits = (int) i + 1;
    }
    return fits;
}

int constraint_forced(struct constraint_state *s, int32_t *tokens, int capacity, int budget)
{
    uint8_t bytes[FORCED_BYTES_MAX];
    int32_t ids[FORCED_BYTES_MAX];
    bool open;
    int n = 0;
    if (s->ended || (s->c && !enter(s->c)))
        return 0;
    size_t size = forced_bytes(s, bytes, &open), n_ids = size ? canonical(s->constraint->table, bytes, size, ids) : 0;
    if (n_ids && open)
        n_ids--;
    if (capacity < 0 || n_ids > (size_t) capacity)
        n_ids = capacity < 0 ? 0 : (size_t) capacity;
    n = within_budget(s, ids, n_ids, budget);
    if (s->c && s->c->machine.failed)
        n = 0;
    if (s->c)
        leave(s->c);
    memcpy(tokens, ids, (size_t) n * sizeof *tokens);
    return n;
}
