/*
 * test_engine.c - claims about core/serve/engine.c, through dsr1.h
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "engine_answers.h"

#include <pthread.h>

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
    dsr1_engine *engine = open_engine((dsr1_engine_options){.max_batch = 1, .max_queue = 2});
    for (int i = 0; i < 3; i++) { /* one for the free place, two that wait */
        dsr1_request r = request(&a[i], 3);
        assert_int_equal(dsr1_engine_submit(engine, &r, NULL, NULL), DSR1_OK);
    }
    dsr1_request r = request(&a[3], 3);
    assert_int_equal(dsr1_engine_submit(engine, &r, NULL, &err), DSR1_ERR_BUSY);
    pump(engine);
    assert_int_equal(dsr1_engine_submit(engine, &r, NULL, NULL), DSR1_OK);
    pump(engine);
    assert_int_equal(a[0].n_done + a[1].n_done + a[2].n_done + a[3].n_done, 4);
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

static void a_request_tells_how_far_it_is(void **state)
{
    (void) state;
    struct answer running, queued;
    uint64_t id_running, id_queued;
    dsr1_progress p;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.max_batch = 1, .chunk_size = 5});
    dsr1_request r = request(&running, 10), q = request(&queued, 10);
    assert_int_equal(dsr1_engine_submit(engine, &r, &id_running, NULL), DSR1_OK);
    assert_int_equal(dsr1_engine_submit(engine, &q, &id_queued, NULL), DSR1_OK);
    assert_true(dsr1_engine_get_progress(engine, id_running, &p));
    assert_true(p.phase == DSR1_PHASE_QUEUED && p.prompt_tokens == 12);
    int before = 0;
    for (int step = 1; step <= 12; step++) {
        dsr1_engine_step(engine, NULL);
        if (!dsr1_engine_get_progress(engine, id_running, &p))
            break;
        /* Five tokens of the prompt a step: the third brings the answer's first, and each one or more. */
        assert_int_equal(p.phase, step < 3 ? DSR1_PHASE_PREFILL : DSR1_PHASE_DECODE);
        assert_true(step < 3 ? p.completion_tokens == 0 : p.completion_tokens > before);
        before = p.completion_tokens;
        assert_int_equal(p.cached_tokens, 0);
        assert_true(dsr1_engine_get_progress(engine, id_queued, &p) && p.phase == DSR1_PHASE_QUEUED);
    }
    assert_int_equal(running.n_done, 1);
    dsr1_engine_step(engine, NULL);
    assert_true(dsr1_engine_get_progress(engine, id_queued, &p) && p.phase > DSR1_PHASE_QUEUED);
    pump(engine);
    assert_false(dsr1_engine_get_progress(engine, id_queued, &p));
    assert_false(dsr1_engine_get_progress(engine, 4711, &p));
    dsr1_engine_close(engine);
}

static void what_was_not_read_of_a_prompt_is_not_counted(void **state)
{
    (void) state;
    struct answer running, queued;
    uint64_t id_running, id_queued;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.max_batch = 1, .chunk_size = 5});
    dsr1_request r = request(&running, 10), q = request(&queued, 10);
    assert_int_equal(dsr1_engine_submit(engine, &r, &id_running, NULL), DSR1_OK);
    assert_int_equal(dsr1_engine_submit(engine, &q, &id_queued, NULL), DSR1_OK);
    dsr1_engine_step(engine, NULL);
    dsr1_engine_cancel(engine, id_running);
    dsr1_engine_cancel(engine, id_queued);
    pump(engine);
    assert_int_equal(running.usage.prompt_tokens, 5);
    assert_int_equal(queued.usage.prompt_tokens, 0);
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

static void a_token_can_be_sent_to_more_or_fewer_experts(void **state)
{
    (void) state;
    struct answer own, same, fewer, more;
    dsr1_model_info info;
    dsr1_error err = {0};
    dsr1_engine *engine;
    dsr1_model_get_info(model, &info);
    dsr1_request r = request(&own, 20), s = request(&same, 20), f = request(&fewer, 20), m = request(&more, 20);
    ask_alone(&r, (dsr1_engine_options){0});
    ask_alone(&s, (dsr1_engine_options){.n_experts_used = info.n_experts_used});
    ask_alone(&f, (dsr1_engine_options){.n_experts_used = 1});
    ask_alone(&m, (dsr1_engine_options){.n_experts_used = info.n_experts});
    expect_same(&own, &same);
    assert_memory_not_equal(own.logprobs, fewer.logprobs, sizeof own.logprobs);
    assert_memory_not_equal(own.logprobs, more.logprobs, sizeof own.logprobs);
    dsr1_engine_options wild = {.n_experts_used = info.n_experts + 1};
    assert_int_equal(dsr1_engine_open(model, &wild, &engine, &err), DSR1_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "experts"));
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
        cmocka_unit_test(a_request_tells_how_far_it_is),
        cmocka_unit_test(what_was_not_read_of_a_prompt_is_not_counted),
        cmocka_unit_test(higher_priority_is_served_first),
        cmocka_unit_test(a_short_request_does_not_wait_for_a_long_one),
        cmocka_unit_test(a_token_can_be_sent_to_more_or_fewer_experts),
        cmocka_unit_test(other_threads_may_submit_and_cancel_while_one_steps),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
