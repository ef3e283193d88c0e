/*
 * test_schedule.c - claims about core/serve/schedule.c, through dsr1.h: who runs, when, and with how much work
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "engine_answers.h"

#include <unistd.h>

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

static void clients_take_turns(void **state)
{
    (void) state;
    enum { MANY = 40 };
    static struct answer many[MANY], one;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.max_batch = 2});
    for (int i = 0; i < MANY; i++) {
        dsr1_request r = request(&many[i], 5);
        r.client = 1;
        submit(engine, &r);
    }
    for (int i = 0; i < 10; i++)
        dsr1_engine_step(engine, NULL);
    dsr1_request r = request(&one, 5);
    r.client = 2;
    submit(engine, &r);
    pump(engine);
    /* It came last of 41, and waits for those that ran already at most. */
    assert_true(one.order <= 8);
    dsr1_engine_close(engine);
}

static void a_client_that_was_served_much_lets_another_catch_up(void **state)
{
    (void) state;
    enum { EACH = 12 };
    static struct answer a[EACH], b[EACH];
    int sum_a = 0, sum_b = 0;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.max_batch = 1});
    /* Requests of a are four times as long: b gets four for each of them. */
    for (int i = 0; i < EACH; i++) {
        dsr1_request r = request(&a[i], 80), q = request(&b[i], 20);
        r.client = 1;
        q.client = 2;
        submit(engine, &r);
        submit(engine, &q);
    }
    pump(engine);
    for (int i = 0; i < EACH; i++) {
        sum_a += a[i].order;
        sum_b += b[i].order;
    }
    assert_true(b[EACH - 1].order < a[EACH / 2].order);
    assert_true(sum_b < sum_a);
    dsr1_engine_close(engine);
}

static void an_interactive_request_takes_the_place_of_a_batch_one(void **state)
{
    (void) state;
    struct answer slow, quick, alone;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.max_batch = 1});
    dsr1_request r = request(&slow, 100), q = request(&quick, 4);
    r.priority = -1;
    submit(engine, &r);
    for (int i = 0; i < 20; i++)
        dsr1_engine_step(engine, NULL);
    submit(engine, &q);
    pump(engine);
    assert_int_equal(quick.order, 0);
    assert_int_equal(slow.n_tokens, 100);
    assert_int_equal(stats_of(engine).n_preempted, 1);
    dsr1_engine_close(engine);
    r = request(&alone, 100);
    ask_alone(&r, (dsr1_engine_options){0});
    expect_same(&alone, &slow);
}

static void a_long_prompt_does_not_hold_up_running_answers(void **state)
{
    (void) state;
    struct answer running, long_one;
    static int32_t tokens[2000];
    for (int i = 0; i < 2000; i++)
        tokens[i] = (i * 7919) % 256;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.context_size = 2100, .chunk_size = 64});
    dsr1_request r = request(&running, 100), q = request(&long_one, 1);
    r.no_draft = true;
    submit(engine, &r);
    dsr1_engine_step(engine, NULL);
    q.tokens = tokens;
    q.n_tokens = 2000;
    submit(engine, &q);
    /* A token with every step, and never more rows than the chunk and the answers. */
    uint64_t rows = stats_of(engine).n_step_rows;
    for (int i = 0; i < 30; i++) {
        int before = running.n_tokens;
        dsr1_engine_step(engine, NULL);
        uint64_t now = stats_of(engine).n_step_rows;
        assert_int_equal(running.n_tokens, before + 1);
        assert_true(now - rows <= 64 + 1);
        rows = now;
    }
    pump(engine);
    dsr1_engine_close(engine);
}

static void a_short_prompt_overtakes_a_long_one_which_still_moves_on(void **state)
{
    (void) state;
    enum { SHORT = 30 };
    static struct answer brief[SHORT], long_one;
    static int32_t tokens[2000], short_tokens[SHORT][64];
    for (int i = 0; i < 2000; i++)
        tokens[i] = (i * 7919) % 256;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.context_size = 2100, .chunk_size = 64});
    dsr1_request q = request(&long_one, 1);
    q.tokens = tokens;
    q.n_tokens = 2000;
    submit(engine, &q);
    dsr1_engine_step(engine, NULL);
    for (int i = 0; i < SHORT; i++) {
        for (int j = 0; j < 64; j++)
            short_tokens[i][j] = (i * 64 + j) * 31 % 256;
        dsr1_request r = request(&brief[i], 1);
        r.tokens = short_tokens[i];
        r.n_tokens = 64;
        submit(engine, &r);
        dsr1_engine_step(engine, NULL);
    }
    assert_true(brief[0].n_done == 1 && brief[SHORT / 2].n_done == 1 && long_one.n_done == 0);
    /* Had it waited for all of them, nearly all of it would be left: 31 steps of 64 rows. */
    int steps = 0;
    while (dsr1_engine_step(engine, NULL) > 0)
        steps++;
    assert_int_equal(long_one.n_tokens, 1);
    assert_true(steps < 28);
    dsr1_engine_close(engine);
}

/* A thousand rows of a table below one instruction of 500 tokens. */
static void a_common_prefix_is_computed_once(void **state)
{
    (void) state;
    enum { ROWS = 1000, PREFIX = 500, MAX_OWN = 12 };
    static int32_t rows[ROWS][PREFIX + MAX_OWN];
    static struct answer answers[ROWS];
    uint64_t wanted = PREFIX;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.context_size = 600, .max_queue = ROWS});
    srand(5);
    for (int i = 0; i < ROWS; i++) {
        int own = 4 + rand() % (MAX_OWN - 4);
        for (int j = 0; j < PREFIX + own; j++)
            rows[i][j] = j < PREFIX ? (j * 37) % 256 : j == PREFIX ? i % 256 : j == PREFIX + 1 ? i / 256 : rand() % 256;
        wanted += (uint64_t) own;
        dsr1_request r = request(&answers[i], 1);
        r.tokens = rows[i];
        r.n_tokens = (size_t) (PREFIX + own);
        submit(engine, &r);
    }
    pump(engine);
    dsr1_engine_stats stats = stats_of(engine);
    uint64_t computed = stats.prompt_tokens - stats.cached_tokens;
    print_message("# %llu prompt tokens computed, %llu differ\n", (unsigned long long) computed,
                  (unsigned long long) wanted);
    assert_true(computed <= wanted + wanted / 20);
    dsr1_engine_close(engine);
}

/* Questions about several documents, mixed, where the cache has room for few: those about one follow each other. */
static void mixed_beginnings_are_taken_in_turn(void **state)
{
    (void) state;
    enum { DOCUMENTS = 5, EACH = 8, N = DOCUMENTS * EACH, BEGINNING = 96, OWN = 6 };
    static int32_t prompts[N][BEGINNING + OWN];
    static struct answer answers[N], alone;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.kv_cache_size = 1, .max_batch = 2});
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < BEGINNING + OWN; j++)
            prompts[i][j] = j < BEGINNING ? (j * 29 + i % DOCUMENTS * 41) % 256 : (i * 7 + j) % 256;
        dsr1_request r = request(&answers[i], 1);
        r.tokens = prompts[i];
        r.n_tokens = BEGINNING + OWN;
        submit(engine, &r);
    }
    pump(engine);
    dsr1_engine_stats stats = stats_of(engine);
    uint64_t computed = stats.prompt_tokens - stats.cached_tokens;
    print_message("# %llu prompt tokens computed, %d differ\n", (unsigned long long) computed,
                  DOCUMENTS * BEGINNING + N * OWN);
    assert_true(computed <= DOCUMENTS * BEGINNING + N * OWN + N);
    for (int i = 0; i < N; i += 7) {
        dsr1_request r = request(&alone, 1);
        r.tokens = prompts[i];
        r.n_tokens = BEGINNING + OWN;
        ask_alone(&r, (dsr1_engine_options){0});
        expect_same(&alone, &answers[i]);
    }
    dsr1_engine_close(engine);
}

/* Who shares nothing is not passed by for ever. */
static void a_stranger_among_many_of_a_kind_gets_its_turn(void **state)
{
    (void) state;
    enum { N = 300, BEGINNING = 64 };
    static int32_t prompts[N][BEGINNING + 2], strange[BEGINNING];
    static struct answer answers[N], stranger;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.max_batch = 1, .max_queue = N + 1});
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < BEGINNING; j++)
            prompts[i][j] = strange[j] = (j * 5) % 256;
        prompts[i][BEGINNING] = i % 256;
        prompts[i][BEGINNING + 1] = i / 256;
        strange[0] = 77;
        dsr1_request r = request(&answers[i], 1);
        r.tokens = prompts[i];
        r.n_tokens = BEGINNING + 2;
        submit(engine, &r);
        if (i == 0) {
            r = request(&stranger, 1);
            r.tokens = strange;
            r.n_tokens = BEGINNING;
            submit(engine, &r);
        }
    }
    pump(engine);
    assert_in_range(stranger.order, 1, 70);
    dsr1_engine_close(engine);
}

static void a_deadline_ends_a_request_wherever_it_is(void **state)
{
    (void) state;
    struct answer running, waiting, patient;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.max_batch = 1});
    dsr1_request r = request(&running, 100), q = request(&waiting, 3), p = request(&patient, 3);
    r.timeout_ms = 20;
    q.timeout_ms = 20;
    p.timeout_ms = 1e6;
    submit(engine, &r);
    submit(engine, &q);
    submit(engine, &p);
    dsr1_engine_step(engine, NULL);
    usleep(30000);
    pump(engine);
    assert_int_equal(running.finish, DSR1_FINISH_TIMEOUT);
    assert_int_equal(waiting.finish, DSR1_FINISH_TIMEOUT);
    assert_int_equal(waiting.n_tokens, 0);
    assert_int_equal(patient.finish, DSR1_FINISH_LENGTH);
    assert_int_equal(running.n_done + waiting.n_done + patient.n_done, 3);
    dsr1_engine_close(engine);
}

static void answers_longer_than_the_cache_holds_at_once_all_end(void **state)
{
    (void) state;
    enum { N = 10 };
    static struct answer a[N], alone;
    dsr1_engine *engine = open_engine((dsr1_engine_options){.kv_cache_size = 1});
    for (int i = 0; i < N; i++) {
        dsr1_request r = request(&a[i], 120);
        submit(engine, &r);
    }
    pump(engine);
    assert_true(stats_of(engine).n_preempted > 0);
    dsr1_request r = request(&alone, 120);
    ask_alone(&r, (dsr1_engine_options){0});
    for (int i = 0; i < N; i++)
        expect_same(&alone, &a[i]);
    dsr1_engine_close(engine);
}

static void the_most_likely_tokens_come_with_the_chosen_one(void **state)
{
    (void) state;
    struct answer a;
    dsr1_request r = request(&a, 3);
    r.n_top = 5;
    ask_alone(&r, (dsr1_engine_options){0});
    assert_int_equal(a.n_top, 5);
    assert_int_equal(a.top[0].token, a.tokens[2]);
    assert_true(a.top[0].logprob - a.logprobs[2] < 1e-6f && a.logprobs[2] - a.top[0].logprob < 1e-6f);
    for (int i = 1; i < 5; i++)
        assert_true(a.top[i].logprob <= a.top[i - 1].logprob);
    r.n_top = DSR1_TOP_MAX + 1;
    dsr1_engine *engine = open_engine((dsr1_engine_options){0});
    assert_int_equal(dsr1_engine_submit(engine, &r, NULL, NULL), DSR1_ERR_ARGUMENT);
    dsr1_engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_take_turns),
        cmocka_unit_test(a_client_that_was_served_much_lets_another_catch_up),
        cmocka_unit_test(an_interactive_request_takes_the_place_of_a_batch_one),
        cmocka_unit_test(a_long_prompt_does_not_hold_up_running_answers),
        cmocka_unit_test(a_short_prompt_overtakes_a_long_one_which_still_moves_on),
        cmocka_unit_test(a_common_prefix_is_computed_once),
        cmocka_unit_test(mixed_beginnings_are_taken_in_turn),
        cmocka_unit_test(a_stranger_among_many_of_a_kind_gets_its_turn),
        cmocka_unit_test(a_deadline_ends_a_request_wherever_it_is),
        cmocka_unit_test(answers_longer_than_the_cache_holds_at_once_all_end),
        cmocka_unit_test(the_most_likely_tokens_come_with_the_chosen_one),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
