/*
 * engine_answers.h - requests to an engine on a tiny model, and what became of them, for tests
 *
 * What the tiny random models of the golden set say is noise, but the same
 * noise every time.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef ENGINE_ANSWERS_H
#define ENGINE_ANSWERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dsr1.h"

enum { MAX_OUT = 128, MAX_SCORES = 24, MAX_EMBD = 512, CONTEXT = 256 };

struct answer {
    int n_tokens, n_done, n_scores, n_top;
    int32_t tokens[MAX_OUT];
    float logprobs[MAX_OUT];
    dsr1_top top[DSR1_TOP_MAX];     /* of the last token */
    double scores[MAX_SCORES];
    float embedding[MAX_EMBD];
    int n_embd;
    dsr1_finish finish;
    dsr1_usage usage;
    int order;                      /* of its DONE among all */
};

static dsr1_model *model;
static int n_done_so_far;
static const int32_t prompt[] = {65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76};

static inline void note(const dsr1_event *event, void *user)
{
    struct answer *a = user;
    assert_int_equal(a->n_done, 0);
    if (event->type == DSR1_EVENT_TOKEN && a->n_tokens < MAX_OUT) {
        a->tokens[a->n_tokens] = event->token;
        a->logprobs[a->n_tokens++] = event->logprob;
        a->n_top = event->n_top;
        if (event->n_top > 0)
            memcpy(a->top, event->top, (size_t) event->n_top * sizeof *a->top);
    }
    if (event->type == DSR1_EVENT_SCORE) {
        assert_in_range(event->index, 0, MAX_SCORES - 1);
        a->scores[event->index] = event->score;
        a->n_scores++;
    }
    if (event->type == DSR1_EVENT_EMBEDDING) {
        assert_in_range(event->n_embd, 1, MAX_EMBD);
        a->n_embd = event->n_embd;
        memcpy(a->embedding, event->embedding, (size_t) event->n_embd * sizeof(float));
    }
    if (event->type == DSR1_EVENT_DONE) {
        a->n_done++;
        a->finish = event->finish;
        a->usage = event->usage;
        a->order = n_done_so_far++;
    }
}

static inline dsr1_engine *open_engine(dsr1_engine_options options)
{
    dsr1_engine *engine;
    dsr1_error err = {0};
    if (options.context_size == 0)
        options.context_size = CONTEXT;
    n_done_so_far = 0;
    assert_int_equal(dsr1_engine_open(model, &options, &engine, &err), DSR1_OK);
    return engine;
}

static inline dsr1_request request(struct answer *a, int max_tokens)
{
    memset(a, 0, sizeof *a);
    return (dsr1_request){.tokens = prompt, .n_tokens = sizeof prompt / sizeof *prompt, .max_tokens = max_tokens,
                          .ignore_end = true, .on_event = note, .user = a};
}

static inline uint64_t submit(dsr1_engine *engine, const dsr1_request *r)
{
    uint64_t id = 0;
    dsr1_error err = {0};
    dsr1_status status = dsr1_engine_submit(engine, r, &id, &err);
    if (status != DSR1_OK)
        fail_msg("%s", err.message);
    return id;
}

static inline void pump(dsr1_engine *engine)
{
    dsr1_error err = {0};
    int left;
    while ((left = dsr1_engine_step(engine, &err)) > 0)
        ;
    assert_int_equal(left, 0);
}

/* One request, alone in an engine of its own. */
static inline void ask_alone(const dsr1_request *r, dsr1_engine_options options)
{
    dsr1_engine *engine = open_engine(options);
    submit(engine, r);
    pump(engine);
    dsr1_engine_close(engine);
}

static inline dsr1_engine_stats stats_of(dsr1_engine *engine)
{
    dsr1_engine_stats stats;
    dsr1_engine_get_stats(engine, &stats);
    return stats;
}

static inline void expect_same(const struct answer *a, const struct answer *b)
{
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_memory_equal(a->tokens, b->tokens, (size_t) a->n_tokens * sizeof *a->tokens);
    assert_memory_equal(a->logprobs, b->logprobs, (size_t) a->n_tokens * sizeof *a->logprobs);
    assert_int_equal(a->n_scores, b->n_scores);
    assert_memory_equal(a->scores, b->scores, sizeof a->scores);
    assert_int_equal(a->n_embd, b->n_embd);
    assert_memory_equal(a->embedding, b->embedding, sizeof a->embedding);
}

#endif
