/*
 * test_pace.c - claims about core/serve/pace.c: the faster way is taken, the other tried now and then
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "serve/pace.h"

/* Takes n steps and returns how many were done alone. */
static int take(struct pace *pace, int n, double together, double alone, bool disturbed)
{
    int count = 0;
    for (int i = 0; i < n; i++) {
        bool is_alone = pace_alone(pace, 1);
        pace_learn(pace, 1, is_alone, is_alone ? alone : together, disturbed ? 1000 : 20);
        count += is_alone;
    }
    return count;
}

static void the_faster_way_is_taken(void **state)
{
    (void) state;
    struct pace quiet = {0}, busy = {0};
    assert_true(take(&quiet, 1000, 1.0, 1.8, false) < 10);
    assert_true(take(&busy, 1000, 5.0, 1.8, true) > 980);
}

static void a_short_answer_tries_nothing_unless_it_is_disturbed(void **state)
{
    (void) state;
    struct pace quiet = {0}, disturbed = {0};
    assert_int_equal(take(&quiet, 64, 1.0, 1.8, false), 0);
    assert_true(take(&disturbed, 64, 5.0, 1.8, true) > 60);
    /* Others were there, and yet all threads are faster. */
    struct pace harmless = {0};
    assert_true(take(&harmless, 1000, 1.0, 1.8, true) < 50);
}

static void what_changes_is_noticed(void **state)
{
    (void) state;
    struct pace pace = {0};
    take(&pace, 500, 1.0, 1.8, false);
    /* Others came: what was the faster way shows it by itself. */
    assert_true(take(&pace, 500, 6.0, 1.8, true) > 450);
    /* They left: the other way has to be tried. */
    take(&pace, 2000, 1.0, 1.8, false);
    assert_true(take(&pace, 500, 1.0, 1.8, false) < 50);
}

static void long_steps_always_use_all_threads(void **state)
{
    (void) state;
    struct pace pace = {0};
    for (int i = 0; i < 100; i++) {
        assert_false(pace_alone(&pace, 17));
        pace_learn(&pace, 17, false, 1, 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_faster_way_is_taken),
        cmocka_unit_test(a_short_answer_tries_nothing_unless_it_is_disturbed),
        cmocka_unit_test(what_changes_is_noticed),
        cmocka_unit_test(long_steps_always_use_all_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
