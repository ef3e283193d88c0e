/*
 * test_base_arena.c - claims about base/arena.c
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static void pieces_are_aligned_and_apart(void **state)
{
    struct arena arena;
    assert_int_equal(arena_open(&arena, 4096, NULL), DSR1_OK);
    char *a = arena_take(&arena, 3, 1);
    char *b = arena_take(&arena, 10, 8);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal((uintptr_t) a % 64, 0);
    assert_int_equal((uintptr_t) b % 64, 0);
    assert_true(b >= a + 3);
    memset(a, 1, 3);
    memset(b, 2, 80);
    assert_int_equal(a[2], 1);
    arena_close(&arena);
}

static void a_full_arena_says_so(void **state)
{
    struct arena arena;
    assert_int_equal(arena_open(&arena, 1000, NULL), DSR1_OK);
    char *all = arena_take(&arena, 1000, 1);
    assert_non_null(all);
    all[999] = 1;
    assert_null(arena_take(&arena, 1, 1));
    arena_close(&arena);
}

static void one_byte_too_many_takes_nothing(void **state)
{
    struct arena arena;
    assert_int_equal(arena_open(&arena, 1000, NULL), DSR1_OK);
    assert_null(arena_take(&arena, 1001, 1));
    assert_non_null(arena_take(&arena, 1000, 1));
    arena_close(&arena);
}

static void a_product_that_wraps_is_refused(void **state)
{
    struct arena arena;
    assert_int_equal(arena_open(&arena, 4096, NULL), DSR1_OK);
    assert_null(arena_take(&arena, SIZE_MAX / 2, 3));
    assert_null(arena_take(&arena, SIZE_MAX, SIZE_MAX));
    arena_close(&arena);
}

static void reset_gives_everything_back(void **state)
{
    struct arena arena;
    assert_int_equal(arena_open(&arena, 256, NULL), DSR1_OK);
    void *first = arena_take(&arena, 256, 1);
    arena_reset(&arena);
    assert_ptr_equal(arena_take(&arena, 256, 1), first);
    arena_close(&arena);
}

static void an_impossible_size_is_an_error(void **state)
{
    struct arena arena;
    dsr1_error err = {0};
    assert_int_equal(arena_open(&arena, SIZE_MAX - 4096, &err), DSR1_ERR_NOMEM);
    assert_null(arena_take(&arena, 1, 1));
    arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_apart),
        cmocka_unit_test(a_full_arena_says_so),
        cmocka_unit_test(one_byte_too_many_takes_nothing),
        cmocka_unit_test(a_product_that_wraps_is_refused),
        cmocka_unit_test(reset_gives_everything_back),
        cmocka_unit_test(an_impossible_size_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
