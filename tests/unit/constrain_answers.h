/*
 * constrain_answers.h - answers at random: every token that a mask allows is as likely as any other
 *
 * The harshest sampling there is: no model ever wanders that far. What must hold at
 * every step is checked on the way.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TESTS_CONSTRAIN_ANSWERS_H
#define TESTS_CONSTRAIN_ANSWERS_H

#include "base/buffer.h"
#include "base/rng.h"
#include "constrain/constraint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct answers {
    const struct tokenizer *tokenizer;
    struct token_table *table;
    uint64_t random;
    int n_vocab;
    bool forced;                /* take tokens without an alternative at once, too */
    bool by_byte;               /* draw the first byte first */
    uint8_t *first;             /* byte of each token */
    double seconds;             /* of computing after which an answer may stop; 0: none */
    int32_t *ids;
    const char *wrong;          /* what did not hold, or NULL */
};

struct answer {
    struct buffer text;
    int n_tokens;               /* the end token included */
    bool complete;
};

static inline uint32_t answers_random(struct answers *a, uint32_t n)
{
    a->random = rng_mix(a->random + 0x9e3779b97f4a7c15u);
    return (uint32_t) ((a->random >> 32) * n >> 32);
}

static inline void answers_open(struct answers *a, const struct tokenizer *tokenizer, struct token_table *table,
                                uint64_t seed)
{
    *a = (struct answers){.tokenizer = tokenizer, .table = table, .random = seed};
    a->n_vocab = tokenizer_n_vocab(tokenizer);
    a->ids = calloc((size_t) a->n_vocab + 1, sizeof *a->ids);
    a->first = calloc((size_t) a->n_vocab + 1, 1);
    for (int32_t t = 0; t < a->n_vocab; t++)
        tokenizer_token_bytes(tokenizer, t, false, (char *) a->first + t, 1);
}

static inline void answers_close(struct answers *a)
{
    free(a->ids);
    free(a->first);
}

/* Keeps those of the n ids that begin with one of their first bytes; returns how many. */
static inline uint32_t answers_of_one_byte(struct answers *a, uint32_t n)
{
    bool there[256] = {false};
    uint8_t bytes[256];
    uint32_t n_bytes = 0, kept = 0;
    for (uint32_t i = 0; i < n; i++)
        there[a->first[a->ids[i]]] = true;
    for (int b = 0; b < 256; b++)
        if (there[b])
            bytes[n_bytes++] = (uint8_t) b;
    uint8_t byte = bytes[answers_random(a, n_bytes)];
    for (uint32_t i = 0; i < n; i++)
        if (a->first[a->ids[i]] == byte)
            a->ids[kept++] = a->ids[i];
    return kept;
}

/* One of the tokens whose bits are set, or -1. */
static inline int32_t answers_pick(struct answers *a, const uint64_t *mask)
{
    uint32_t n = 0;
    for (int32_t t = 0; t < a->n_vocab; t += 64)
        for (uint64_t word = mask[t / 64]; word; word &= word - 1)
            a->ids[n++] = t + __builtin_ctzll(word);
    if (n && a->by_byte)
        n = answers_of_one_byte(a, n);
    return n ? a->ids[answers_random(a, n)] : -1;
}

static inline void answer_append(struct answers *a, struct answer *answer, int32_t token)
{
    char bytes[4096];
    size_t size = tokenizer_token_bytes(a->tokenizer, token, false, bytes, sizeof bytes);
    buffer_append(&answer->text, bytes, size < sizeof bytes ? size : sizeof bytes);
    answer->n_tokens++;
}

static inline void answer_wrong(struct answers *a, const char *what)
{
    a->wrong = a->wrong ? a->wrong : what;
}

/* Writes until the end or the budget. */
static inline void answer_write(struct answers *a, struct constraint_state *state, int budget, struct answer *answer)
{
    int shortest = constraint_left(state);
    bool fits = budget > shortest;
    clock_t begin = clock();
    while (!a->wrong && answer->n_tokens < budget) {
        if (a->seconds > 0 && (double) (clock() - begin) > a->seconds * CLOCKS_PER_SEC)
            return;
        int32_t forced[64];
        int left = budget - answer->n_tokens;
        int n = a->forced ? constraint_forced(state, forced, 64, left) : 0;
        for (int i = 0; i < n; i++) {
            if (!constraint_accept(state, forced[i]))
                answer_wrong(a, "a forced token is not accepted");
            answer_append(a, answer, forced[i]);
        }
        if (n > 0)
            continue;
        const uint64_t *mask = constraint_mask(state, left);
        int32_t token = mask ? answers_pick(a, mask) : -1;
        if (token < 0) {
            answer_wrong(a, mask ? "a mask is empty" : "there is no mask");
            return;
        }
        bool could_end = constraint_can_end(state);
        if (!constraint_accept(state, token)) {
            answer_wrong(a, "what the mask allows is not accepted");
            return;
        }
        if (tokenizer_is_end(a->tokenizer, token)) {
            if (!could_end)
                answer_wrong(a, "an end where none may be");
            answer->n_tokens++;
            answer->complete = true;
            return;
        }
        answer_append(a, answer, token);
        if (fits && constraint_left(state) + 1 > budget - answer->n_tokens)
            answer_wrong(a, "the answer does not fit the budget any more");
        if (constraint_complete(state)) {
            answer->complete = true;
            return;
        }
    }
    if (fits && !answer->complete)
        answer_wrong(a, "the budget is used up, and the answer is not complete");
}

/* A whole answer; a->wrong says what did not hold. Free its text. */
static inline struct answer answer_make(struct answers *a, struct constraint *constraint, int budget)
{
    struct answer answer = {.n_tokens = 0};
    struct constraint_state *state;
    dsr1_error err = {0};
    if (constraint_begin(constraint, &state, &err) < 0) {
        answer_wrong(a, "no state");
        return answer;
    }
    answer_write(a, state, budget, &answer);
    constraint_end(state);
    buffer_append(&answer.text, "", 1);
    answer.text.size--;
    return answer;
}

#endif
