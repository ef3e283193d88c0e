/*
 * test_lane.c - claims about core/serve/lane.c: who comes next
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "serve/lane.h"

static void a_lane_is_first_come_first_served(void **state)
{
    (void) state;
    struct lane *lanes = NULL, *lane = lane_join(&lanes, 1, 0);
    struct request a = {0}, b = {0}, c = {0};
    lane_append(lane, &a);
    lane_append(lane, &b);
    lane_append(lane, &c);
    lane_remove(lane, &b);
    assert_ptr_equal(lane_take(lane), &a);
    lane_put_back(lane, &a);
    assert_ptr_equal(lane_take(lane), &a);
    assert_ptr_equal(lane_take(lane), &c);
    assert_null(lane->first);
    assert_null(lane->last);
    lane_leave(&lanes, lane);
    assert_null(lanes);
}

static void lanes_go_by_priority_then_by_what_they_were_served(void **state)
{
    (void) state;
    struct lane *lanes = NULL;
    struct request r = {0};
    struct lane *low = lane_join(&lanes, 1, -1), *much = lane_join(&lanes, 2, 0), *little = lane_join(&lanes, 3, 0);
    struct lane *empty = lane_join(&lanes, 4, 5);
    low->first = much->first = little->first = &r;
    much->served = 10;
    little->served = 3;
    assert_ptr_equal(lane_next(lanes, NULL), little);
    assert_ptr_equal(lane_next(lanes, little), much);
    assert_ptr_equal(lane_next(lanes, much), low);
    assert_null(lane_next(lanes, low));
    lane_leave(&lanes, low);
    lane_leave(&lanes, much);
    lane_leave(&lanes, little);
    lane_leave(&lanes, empty);
}

static void a_newcomer_starts_level_with_the_least_served(void **state)
{
    (void) state;
    struct lane *lanes = NULL;
    struct lane *a = lane_join(&lanes, 1, 0), *b = lane_join(&lanes, 2, 0), *other = lane_join(&lanes, 1, 3);
    a->served = 70;
    b->served = 50;
    other->served = 1;
    struct lane *c = lane_join(&lanes, 3, 0);
    assert_true(c->served == 50);
    assert_ptr_equal(lane_join(&lanes, 1, 0), a);
    assert_int_equal(a->n_live, 2);
    lane_leave(&lanes, a);
    lane_leave(&lanes, a);
    lane_leave(&lanes, b);
    lane_leave(&lanes, c);
    lane_leave(&lanes, other);
    assert_null(lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lane_is_first_come_first_served),
        cmocka_unit_test(lanes_go_by_priority_then_by_what_they_were_served),
        cmocka_unit_test(a_newcomer_starts_level_with_the_least_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
