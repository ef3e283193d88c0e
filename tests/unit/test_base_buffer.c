/*
 * test_base_buffer.c - claims about base/buffer.c
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static void appended_bytes_are_kept_and_terminated(void **state)
{
    struct buffer buffer = {0};
    for (int i = 0; i < 1000; i++) {
        buffer_append(&buffer, "ab\0c", 4);
        assert_int_equal(buffer.size, 4 * (size_t) (i + 1));
        assert_int_equal(buffer.data[buffer.size], 0);
    }
    for (int i = 0; i < 1000; i++)
        assert_memory_equal(buffer.data + 4 * i, "ab\0c", 4);
    buffer_free(&buffer);
}

static void nothing_may_be_appended_from_nowhere(void **state)
{
    struct buffer buffer = {0};
    buffer_append(&buffer, NULL, 0);
    assert_false(buffer.failed);
    assert_int_equal(buffer.size, 0);
    assert_string_equal(buffer.data, "");
    buffer_free(&buffer);
}

static void printf_appends_texts_of_any_length(void **state)
{
    struct buffer buffer = {0};
    char expected[5000];
    memset(expected, '7', sizeof expected);
    expected[4999] = 0;
    buffer_string(&buffer, "x=");
    buffer_printf(&buffer, "%d", 42);
    buffer_printf(&buffer, ";%s", expected);
    assert_int_equal(buffer.size, 5 + 4999);
    assert_memory_equal(buffer.data, "x=42;777", 8);
    assert_string_equal(buffer.data + 5, expected);
    buffer_free(&buffer);
}

static void a_failure_sticks(void **state)
{
    struct buffer buffer = {0};
    buffer_string(&buffer, "kept");
    assert_null(buffer_reserve(&buffer, SIZE_MAX - 2));
    assert_true(buffer.failed);
    buffer_string(&buffer, "dropped");
    buffer_printf(&buffer, "%d", 1);
    assert_string_equal(buffer.data, "kept");
    assert_null(buffer_reserve(&buffer, 1));
    buffer_free(&buffer);
    assert_false(buffer.failed);
}

static void reserved_room_is_counted_by_the_caller(void **state)
{
    struct buffer buffer = {0};
    buffer_string(&buffer, "12");
    char *room = buffer_reserve(&buffer, 300);
    assert_ptr_equal(room, buffer.data + 2);
    memset(room, '3', 300);
    assert_int_equal(buffer.size, 2);
    buffer.size += 300;
    assert_true(buffer.capacity > buffer.size);
    buffer_free(&buffer);
}

static void drop_removes_from_the_front(void **state)
{
    struct buffer buffer = {0};
    buffer_drop(&buffer, 0);
    buffer_string(&buffer, "frame1frame2");
    buffer_drop(&buffer, 6);
    assert_string_equal(buffer.data, "frame2");
    buffer_drop(&buffer, 6);
    assert_int_equal(buffer.size, 0);
    assert_string_equal(buffer.data, "");
    buffer_free(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_bytes_are_kept_and_terminated),
        cmocka_unit_test(nothing_may_be_appended_from_nowhere),
        cmocka_unit_test(printf_appends_texts_of_any_length),
        cmocka_unit_test(a_failure_sticks),
        cmocka_unit_test(reserved_room_is_counted_by_the_caller),
        cmocka_unit_test(drop_removes_from_the_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
