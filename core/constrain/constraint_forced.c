/*
 * constraint_forced.c - tokens without an alternative
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/constraint_parts.h"

enum { FORCED_BYTES_MAX = 512 };

/* Bytes that follow without an alternative; *open: others may follow them. */
static size_t forced_bytes(const struct constraint_state *s, uint8_t *bytes, bool *open)
{
    size_t n = 0;
    uint32_t at = s->at;
    *open = true;
    while (n < FORCED_BYTES_MAX && s->c && !s->c->open_end) {
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
        if (!constraint_advance(s, table->bytes + text.at, text.size, &prefix_at, &at))
            break;
        int32_t left = constraint_cost(s, prefix_at, at);
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
    /* Half a word is cut otherwise than the whole: which tokens write it is the model's choice. */
    if (s->ended || s->prefix_at < s->constraint->prefix_size || (s->c && !constraint_enter(s->c)))
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
        constraint_leave(s->c);
    memcpy(tokens, ids, (size_t) n * sizeof *tokens);
    return n;
}
