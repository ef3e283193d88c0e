/*
 * test_engine.c - claims about core/serve/engine.c, through dsr1.h
 *
 * On the tiny random model of the golden set: what it says is noise, but the
 * same noise every time.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dsr1.h"

enum { MAX_OUT = 128, CONTEXT = 256 };

struct answer {
    int n_tokens, n_done;
    int32_t tokens[MAX_OUT];
    float logprobs[MAX_OUT];
    dsr1_finish finish;
    dsr1_usage usage;
    int order;                  /* of its DONE among all */
};

static dsr1_model *model;
static int n_done_so_far;
static const int32_t prompt[] = {65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76};

static void note(const dsr1_event *event, void *user)
{
    struct answer *a = user;
    assert_int_equal(a->n_done, 0);
    if (event->type == DSR1_EVENT_TOKEN && a->n_tokens < MAX_OUT) {
        a->tokens[a->n_tokens] = event->token;
        a->logprobs[a->n_tokens++] = event->logprob;
    }
    if (event->type == DSR1_EVENT_DONE) {
        a->n_done++;
        a->finish = event->finish;
        a->usage = event->usage;
        a->order = n_done_so_far++;
    }
}

static dsr1_engine *open_engine(dsr1_engine_options options)
{
    dsr1_engine *engine;
    dsr1_error err = {0};
    if (options.context_size == 0)
        options.context_size = CONTEXT;
    n_done_so_far = 0;
    assert_int_equal(dsr1_engine_open(model, &options, &engine, &err), DSR1_OK);
    return engine;
}

static dsr1_request request(struct answer *a, int max_tokens)
{
    memset(a, 0, sizeof *a);
    return (dsr1_request){.tokens = prompt, .n_tokens = sizeof prompt / sizeof *prompt, .max_tokens = max_tokens,
                          .ignore_end = true, .on_event = note, .user = a};
}

static void pump(dsr1_engine *engine)
{
    dsr1_error err = {0};
    int left;
    while ((left = dsr1_engine_step(engine, &err)) > 0)
        ;
    assert_int_equal(left, 0);
}

static int open_model(void **state)
{
    (void) state;
    return dsr1_model_open("tests/golden/models/deepseek-f32.gguf", &model, NULL);
}

static int close_model(void **state)
{
    (void) state;
    dsr1_model_close(model);
    return 0;
}

static void an_answer_has_the_asked_length_and_one_last_event(void **state)
{
    (void) state;
    struct answer a;
    dsr1_engine *engine = open_engine((dsr1_engine_options){0});
    dsr1_request r = request(&a, 20);
    assert_int_equal(dsr1_engine_submit(engine, &r, NULL, NULL), DSR1_OK);
    pump(engine);
    assert_int_equal(a.n_tokens, 20);
    assert_int_equal(a.n_done, 1);
    assert_int_equal(a.finish, DSR1_FINISH_LENGTH);
    assert_int_equal(a.usage.prompt_tokens, 12);
    assert_int_equal(a.usage.completion_tokens, 20);
    dsr1_engine_close(engine);
}

static void the_context_ends_an_answer_without_a_limit(void **state)
{
    (void) state;
    struct answer a;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.context_size = 40});
    dsr1_request r = request(&a, -1);
    assert_int_equal(dsr1_engine_submit(engine, &r, NULL, NULL), DSR1_OK);
    pump(engine);
    assert_int_equal(a.n_tokens, 28);
    assert_int_equal(a.finish, DSR1_FINISH_LENGTH);
    dsr1_engine_close(engine);
}

static void bad_requests_are_refused_with_a_reason_and_no_event(void **state)
{
    (void) state;
    struct answer a;
    static int32_t long_prompt[CONTEXT];
    const int32_t wild[] = {1, 99999};
    dsr1_engine *engine = open_engine((dsr1_engine_options){0});
    const struct {
        dsr1_status status;
        dsr1_request change;
    } cases[] = {
        {DSR1_ERR_LIMIT, {.tokens = long_prompt, .n_tokens = CONTEXT, .max_tokens = 1}},
        {DSR1_ERR_ARGUMENT, {.tokens = wild, .n_tokens = 2, .max_tokens = 1}},
        {DSR1_ERR_ARGUMENT, {.tokens = prompt, .n_tokens = 0, .max_tokens = 1}},
        {DSR1_ERR_ARGUMENT, {.tokens = prompt, .n_tokens = 2, .max_tokens = 1, .temperature = -1}},
        {DSR1_ERR_ARGUMENT, {.tokens = prompt, .n_tokens = 2, .max_tokens = 1, .top_p = 1.5f}},
        {DSR1_ERR_ARGUMENT, {.tokens = prompt, .n_tokens = 2, .max_tokens = 1, .top_k = -3}},
        {DSR1_ERR_ARGUMENT, {.tokens = prompt, .n_tokens = 2, .max_tokens = 1, .stop = (const char *[]){""}, .n_stop = 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dsr1_error err = {0};
        dsr1_request r = cases[i].change;
        memset(&a, 0, sizeof a);
        r.on_event = note;
        r.user = &a;
        assert_int_equal(dsr1_engine_submit(engine, &r, NULL, &err), cases[i].status);
        assert_true(err.message[0] != 0);
        pump(engine);
        assert_int_equal(a.n_done, 0);
    }
    dsr1_engine_close(engine);
}

static void a_full_queue_refuses_and_later_accepts(void **state)
{
    (void) state;
    struct answer a[4];
    dsr1_error err = {0};
    dsr1_engine *engine = open_engine((dsr1_engine_options){.max_queue = 2});
    for (int i = 0; i < 2; i++) {
        dsr1_request r = request(&a[i], 3);
        assert_int_equal(dsr1_engine_submit(engine, &r, NULL, NULL), DSR1_OK);
    }
    dsr1_request r = request(&a[2], 3);
    assert_int_equal(dsr1_engine_submit(engine, &r, NULL, &err), DSR1_ERR_BUSY);
    pump(engine);
    assert_int_equal(dsr1_engine_submit(engine, &r, NULL, NULL), DSR1_OK);
    pump(engine);
    assert_int_equal(a[0].n_done + a[1].n_done + a[2].n_done, 3);
    dsr1_engine_close(engine);
}

static void a_cancelled_request_ends_in_the_next_step(void **state)
{
    (void) state;
    struct answer running, queued;
    uint64_t id_running, id_queued;
    dsr1_engine_stats stats;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.max_batch = 1});
    dsr1_request r = request(&running, 100), q = request(&queued, 100);
    assert_int_equal(dsr1_engine_submit(engine, &r, &id_running, NULL), DSR1_OK);
    assert_int_equal(dsr1_engine_submit(engine, &q, &id_queued, NULL), DSR1_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(dsr1_engine_step(engine, NULL), 2);
    int before = running.n_tokens;
    dsr1_engine_cancel(engine, id_queued);
    dsr1_engine_cancel(engine, id_running);
    dsr1_engine_cancel(engine, 12345);
    assert_int_equal(dsr1_engine_step(engine, NULL), 0);
    assert_int_equal(running.finish, DSR1_FINISH_CANCELLED);
    assert_int_equal(queued.finish, DSR1_FINISH_CANCELLED);
    assert_int_equal(running.n_tokens, before);
    dsr1_engine_get_stats(engine, &stats);
    assert_int_equal(stats.n_cancelled, 2);
    assert_int_equal(stats.n_running + stats.n_queued, 0);
    dsr1_engine_close(engine);
}

static void higher_priority_is_served_first(void **state)
{
    (void) state;
    struct answer a[3];
    dsr1_engine *engine = open_engine((dsr1_engine_options){.max_batch = 1});
    for (int i = 0; i < 3; i++) {
        dsr1_request r = request(&a[i], 4);
        r.priority = i == 2 ? 5 : -1;
        assert_int_equal(dsr1_engine_submit(engine, &r, NULL, NULL), DSR1_OK);
    }
    pump(engine);
    assert_int_equal(a[2].order, 0);
    assert_int_equal(a[0].order, 1);
    assert_int_equal(a[1].order, 2);
    dsr1_engine_close(engine);
}

static void a_short_request_does_not_wait_for_a_long_one(void **state)
{
    (void) state;
    struct answer slow, quick;
    dsr1_engine *engine = open_engine((dsr1_engine_options){0});
    dsr1_request r = request(&slow, 100), q = request(&quick, 3);
    assert_int_equal(dsr1_engine_submit(engine, &r, NULL, NULL), DSR1_OK);
    for (int i = 0; i < 10; i++)
        dsr1_engine_step(engine, NULL);
    assert_int_equal(dsr1_engine_submit(engine, &q, NULL, NULL), DSR1_OK);
    pump(engine);
    assert_int_equal(quick.order, 0);
    assert_int_equal(slow.n_tokens, 100);
    dsr1_engine_close(engine);
}

/* ------------------------------------------------------------------ */
/* Bit for bit                                                         */
/* ------------------------------------------------------------------ */

enum { REQUESTS = 24, SCHEDULES = 60 };

struct wish {
    int32_t tokens[160];
    dsr1_request request;
};

static void make_wishes(struct wish *wishes)
{
    srand(11);
    for (int i = 0; i < REQUESTS; i++) {
        int n = 5 + rand() % 150, shared = rand() % n;
        for (int j = 0; j < n; j++)
            wishes[i].tokens[j] = j < shared ? (j * 37 + 5) % 256 : rand() % 256;
        wishes[i].request = (dsr1_request){.n_tokens = (size_t) n, .max_tokens = 1 + rand() % 40, .seed = (uint64_t) i,
                                           .temperature = i % 2 ? 0.9f : 0, .top_p = i % 3 ? 0 : 0.9f,
                                           .repeat_penalty = i % 5 ? 0 : 1.2f, .ignore_end = true, .on_event = note};
    }
}

static void submit_wish(dsr1_engine *engine, struct wish *wish, struct answer *a)
{
    memset(a, 0, sizeof *a);
    wish->request.tokens = wish->tokens;
    wish->request.user = a;
    assert_int_equal(dsr1_engine_submit(engine, &wish->request, NULL, NULL), DSR1_OK);
}

static void expect_same(const struct answer *a, const struct answer *b)
{
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_memory_equal(a->tokens, b->tokens, (size_t) a->n_tokens * sizeof *a->tokens);
    assert_memory_equal(a->logprobs, b->logprobs, (size_t) a->n_tokens * sizeof *a->logprobs);
}

static void any_schedule_gives_each_request_the_same_bits(void **state)
{
    (void) state;
    static struct wish wishes[REQUESTS];
    static struct answer alone[REQUESTS], mixed[REQUESTS];
    make_wishes(wishes);
    for (int i = 0; i < REQUESTS; i++) {
        dsr1_engine *engine = open_engine((dsr1_engine_options){.n_threads = 1});
        submit_wish(engine, &wishes[i], &alone[i]);
        pump(engine);
        dsr1_engine_close(engine);
    }
    for (int s = 0; s < SCHEDULES; s++) {
        dsr1_engine *engine = open_engine((dsr1_engine_options){
            .n_threads = 1 + rand() % 3, .chunk_size = 1 + rand() % 100, .max_batch = 1 + rand() % 16,
            .kv_cache_size = rand() % 2 ? 1 : 0});
        for (int i = 0; i < REQUESTS; i++) {
            submit_wish(engine, &wishes[(i * 7 + s) % REQUESTS], &mixed[(i * 7 + s) % REQUESTS]);
            for (int steps = rand() % 4; steps > 0; steps--)
                dsr1_engine_step(engine, NULL);
        }
        pump(engine);
        for (int i = 0; i < REQUESTS; i++)
            expect_same(&alone[i], &mixed[i]);
        dsr1_engine_close(engine);
    }
}

/* ------------------------------------------------------------------ */
/* Threads                                                             */
/* ------------------------------------------------------------------ */

static int32_t n_events;

static void count_done(const dsr1_event *event, void *user)
{
    (void) user;
    if (event->type == DSR1_EVENT_DONE)
        __atomic_add_fetch(&n_events, 1, __ATOMIC_SEQ_CST);
}

static void *submit_and_cancel(void *engine)
{
    unsigned seed = (unsigned) (uintptr_t) &seed;
    for (int i = 0; i < 200; i++) {
        dsr1_request r = {.tokens = prompt, .n_tokens = 1 + (size_t) (rand_r(&seed) % 12), .max_tokens = 8,
                          .on_event = count_done};
        uint64_t id;
        assert_int_equal(dsr1_engine_submit(engine, &r, &id, NULL), DSR1_OK);
        if (rand_r(&seed) % 2)
            dsr1_engine_cancel(engine, id);
    }
    return NULL;
}

static void other_threads_may_submit_and_cancel_while_one_steps(void **state)
{
    (void) state;
    pthread_t threads[3];
    dsr1_engine *engine = open_engine((dsr1_engine_options){0});
    n_events = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_and_cancel, engine), 0);
    while (__atomic_load_n(&n_events, __ATOMIC_SEQ_CST) < 600)
        assert_true(dsr1_engine_step(engine, NULL) >= 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    dsr1_engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_has_the_asked_length_and_one_last_event),
        cmocka_unit_test(the_context_ends_an_answer_without_a_limit),
        cmocka_unit_test(bad_requests_are_refused_with_a_reason_and_no_event),
        cmocka_unit_test(a_full_queue_refuses_and_later_accepts),
        cmocka_unit_test(a_cancelled_request_ends_in_the_next_step),
        cmocka_unit_test(higher_priority_is_served_first),
        cmocka_unit_test(a_short_request_does_not_wait_for_a_long_one),
        cmocka_unit_test(any_schedule_gives_each_request_the_same_bits),
        cmocka_unit_test(other_threads_may_submit_and_cancel_while_one_steps),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
