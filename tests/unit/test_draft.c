/*
 * test_draft.c - claims about core/serve/draft.c: what is guessed, and when
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "serve/draft.h"

enum { LIMIT = 100 };

static const int32_t text[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4};
static const struct draft_cost free_of_charge;

enum { N = sizeof text / sizeof *text };

static void what_followed_the_last_three_tokens_is_guessed(void **state)
{
    (void) state;
    struct draft d;
    static const int32_t wanted[] = {5, 6, 7, 8};
    draft_open(&d, false);
    draft_guess(&d, &free_of_charge, text, N, LIMIT, 1, 16);
    assert_int_equal(d.n, 4);
    assert_memory_equal(d.tokens, wanted, sizeof wanted);
    draft_close(&d);
}

static void text_that_does_not_repeat_is_not_guessed(void **state)
{
    (void) state;
    struct draft d;
    draft_open(&d, false);
    draft_guess(&d, &free_of_charge, text, N - 1, LIMIT, 1, 16);
    assert_int_equal(d.n, 0);
    draft_guess(&d, &free_of_charge, text, 2, LIMIT, 1, 16);
    assert_int_equal(d.n, 0);
    draft_close(&d);
}

static void nothing_is_guessed_where_it_is_off_or_has_no_room(void **state)
{
    (void) state;
    struct draft d;
    draft_open(&d, true);
    draft_guess(&d, &free_of_charge, text, N, LIMIT, 1, 16);
    assert_int_equal(d.n, 0);
    draft_close(&d);
    draft_open(&d, false);
    draft_guess(&d, &free_of_charge, text, N, LIMIT, 1, 2);
    assert_int_equal(d.n, 2);
    draft_learn(&d, 2);
    draft_guess(&d, &free_of_charge, text, N, LIMIT, 1, 0);
    assert_int_equal(d.n, 0);
    draft_close(&d);
}

static void guesses_grow_with_success_and_pause_after_failure(void **state)
{
    (void) state;
    struct draft d;
    int32_t same[80];
    for (int i = 0; i < 80; i++)
        same[i] = i % 20;
    draft_open(&d, false);
    draft_guess(&d, &free_of_charge, same, 60, LIMIT, 1, DRAFT_MAX);
    assert_int_equal(d.n, 4);
    draft_learn(&d, 4);
    draft_guess(&d, &free_of_charge, same, 65, LIMIT, 1, DRAFT_MAX);
    assert_int_equal(d.n, 8);
    draft_learn(&d, 0);
    int waited = 0;
    do {
        draft_guess(&d, &free_of_charge, same, 66, LIMIT, 1, DRAFT_MAX);
    } while (d.n == 0 && ++waited < 100);
    assert_int_equal(waited, 1);
    assert_int_equal(d.n, 2);
    draft_learn(&d, 0);
    for (waited = 0, d.n = 0; d.n == 0 && waited < 100; waited++)
        draft_guess(&d, &free_of_charge, same, 66, LIMIT, 1, DRAFT_MAX);
    assert_true(waited > 3);
    draft_close(&d);
}

static void the_cost_of_a_step_is_between_those_measured(void **state)
{
    (void) state;
    struct draft_cost cost = {0};
    assert_true(draft_cost_of(&cost, 5) == 0);
    draft_cost_learn(&cost, 1, 2.0);
    draft_cost_learn(&cost, 16, 5.0);
    assert_true(draft_cost_of(&cost, 1) == 2.0 && draft_cost_of(&cost, 16) == 5.0);
    double middle = draft_cost_of(&cost, 6);
    assert_true(middle > 2.9 && middle < 3.1);
    assert_true(draft_cost_of(&cost, 17) == 0);
    /* One that took for ever counts as four times the usual. */
    draft_cost_learn(&cost, 1, 1e6);
    assert_true(draft_cost_of(&cost, 1) < 2.7);
}

static void a_guess_that_does_not_pay_is_left_out(void **state)
{
    (void) state;
    struct draft_cost dear = {0}, cheap = {0};
    struct draft d;
    draft_cost_learn(&dear, 1, 1.0);
    draft_cost_learn(&dear, 8, 8.0);
    draft_cost_learn(&cheap, 1, 1.0);
    draft_cost_learn(&cheap, 8, 1.5);
    draft_open(&d, false);
    draft_guess(&d, &dear, text, N, LIMIT, 1, 16);
    assert_int_equal(d.n, 0);
    draft_guess(&d, &cheap, text, N, LIMIT, 1, 16);
    assert_int_equal(d.n, 4);
    draft_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_followed_the_last_three_tokens_is_guessed),
        cmocka_unit_test(text_that_does_not_repeat_is_not_guessed),
        cmocka_unit_test(nothing_is_guessed_where_it_is_off_or_has_no_room),
        cmocka_unit_test(guesses_grow_with_success_and_pause_after_failure),
        cmocka_unit_test(the_cost_of_a_step_is_between_those_measured),
        cmocka_unit_test(a_guess_that_does_not_pay_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
