/*
 * test_base_memory.c - claims about base/memory.c and base/size.h
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/memory.h"

#include "base/size.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static bool all_zero(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

static void arrays_are_zeroed_and_never_null_for_nothing(void **state)
{
    char *array = memory_array(100, 7);
    assert_non_null(array);
    assert_true(all_zero(array, 700));
    free(array);
    void *nothing = memory_array(0, 8);
    assert_non_null(nothing);
    free(nothing);
}

static void a_size_that_wraps_is_refused(void **state)
{
    assert_null(memory_array(SIZE_MAX / 2, 3));
    assert_null(memory_resize(NULL, SIZE_MAX / 2, 3));
    assert_null(memory_map(SIZE_MAX));
    assert_null(memory_map(SIZE_MAX - 4096));
}

static void resize_keeps_what_was_there(void **state)
{
    int *array = memory_array(2, sizeof *array);
    array[0] = 11;
    array[1] = 22;
    int *larger = memory_resize(array, 1000, sizeof *larger);
    assert_non_null(larger);
    assert_int_equal(larger[0], 11);
    assert_int_equal(larger[1], 22);
    free(larger);
}

static void mapped_blocks_are_zeroed_and_all_writable(void **state)
{
    const size_t sizes[] = {0, 1, 4096, 100000, (2u << 20) - 1, 2u << 20, (5u << 20) + 13};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *block = memory_map(sizes[i]);
        assert_non_null(block);
        assert_int_equal((uintptr_t) block % 4096, 0);
        if (sizes[i] >= 2u << 20)
            assert_int_equal((uintptr_t) block % (2u << 20), 0);
        assert_true(all_zero(block, sizes[i]));
        memset(block, 1, sizes[i]);
        memory_unmap(block, sizes[i]);
    }
    memory_unmap(NULL, 1);
}

static void sums_and_products_tell_when_they_wrap(void **state)
{
    size_t result;
    assert_true(size_mul(SIZE_MAX / 3, 3, &result));
    assert_int_equal(result, SIZE_MAX / 3 * 3);
    assert_false(size_mul(SIZE_MAX / 3 + 1, 3, &result));
    assert_true(size_add(SIZE_MAX - 1, 1, &result));
    assert_int_equal(result, SIZE_MAX);
    assert_false(size_add(SIZE_MAX, 1, &result));
}

static void alignment_rounds_up(void **state)
{
    assert_int_equal(size_align(0, 64), 0);
    assert_int_equal(size_align(1, 64), 64);
    assert_int_equal(size_align(64, 64), 64);
    assert_int_equal(size_align(65, 64), 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_are_zeroed_and_never_null_for_nothing),
        cmocka_unit_test(a_size_that_wraps_is_refused),
        cmocka_unit_test(resize_keeps_what_was_there),
        cmocka_unit_test(mapped_blocks_are_zeroed_and_all_writable),
        cmocka_unit_test(sums_and_products_tell_when_they_wrap),
        cmocka_unit_test(alignment_rounds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
