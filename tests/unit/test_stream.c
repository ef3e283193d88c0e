/*
 * test_stream.c - claims about core/serve/stream.c
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "serve/stream.h"

static void expect_ready(struct stream *s, const char *text)
{
    assert_true(stream_ok(s));
    assert_int_equal(s->ready.size, strlen(text));
    assert_memory_equal(s->ready.data ? s->ready.data : "", text, strlen(text));
    s->ready.size = 0;
}

static void a_character_waits_for_its_last_byte(void **state)
{
    (void) state;
    struct stream s = {0};
    stream_push(&s, "a\xe4\xb8", 3);
    expect_ready(&s, "a");
    stream_push(&s, "\xad" "b", 2);
    expect_ready(&s, "\xe4\xb8\xad" "b");
    stream_free(&s);
}

static void ill_formed_bytes_become_replacement_characters(void **state)
{
    (void) state;
    struct stream s = {0};
    stream_push(&s, "\x80x\xc0\xaf\xed\xa0\x80", 7);
    stream_finish(&s);
    expect_ready(&s, "\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    stream_free(&s);
}

static void an_open_character_is_replaced_at_the_end(void **state)
{
    (void) state;
    struct stream s = {0};
    stream_push(&s, "ok\xf0\x9f\x98", 5);
    stream_finish(&s);
    expect_ready(&s, "ok\xef\xbf\xbd");
    stream_free(&s);
}

static void a_stop_string_is_found_across_tokens_and_left_out(void **state)
{
    (void) state;
    struct buffer stops[2] = {{0}};
    buffer_string(&stops[0], "\nUser:");
    buffer_string(&stops[1], "END");
    struct stream s = {.stops = stops, .n_stops = 2};
    stream_push(&s, "Hello\nUs", 8);
    expect_ready(&s, "Hello");
    stream_push(&s, "ual E", 5);
    expect_ready(&s, "\nUsual ");
    stream_push(&s, "N", 1);
    expect_ready(&s, "");
    stream_push(&s, "D and more", 10);
    assert_true(s.stopped);
    stream_finish(&s);
    expect_ready(&s, "");
    stream_free(&s);
    buffer_free(&stops[0]);
    buffer_free(&stops[1]);
}

static void the_earliest_stop_string_wins(void **state)
{
    (void) state;
    struct buffer stops[2] = {{0}};
    buffer_string(&stops[0], "two");
    buffer_string(&stops[1], "one");
    struct stream s = {.stops = stops, .n_stops = 2};
    stream_push(&s, "zero one two", 12);
    assert_true(s.stopped);
    expect_ready(&s, "zero ");
    stream_free(&s);
    buffer_free(&stops[0]);
    buffer_free(&stops[1]);
}

static void what_was_held_back_comes_out_at_the_end(void **state)
{
    (void) state;
    struct buffer stop = {0};
    buffer_string(&stop, "abc");
    struct stream s = {.stops = &stop, .n_stops = 1};
    stream_push(&s, "xab", 3);
    expect_ready(&s, "x");
    stream_finish(&s);
    expect_ready(&s, "ab");
    stream_free(&s);
    buffer_free(&stop);
}

static void any_cut_into_tokens_gives_the_same_text(void **state)
{
    (void) state;
    const char text[] = "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xffstop here";
    const size_t size = sizeof text - 1;
    struct buffer stop = {0};
    buffer_string(&stop, "stop");
    for (size_t a = 0; a <= size; a++)
        for (size_t b = a; b <= size; b++) {
            struct stream s = {.stops = &stop, .n_stops = 1};
            stream_push(&s, text, a);
            stream_push(&s, text + a, b - a);
            stream_push(&s, text + b, size - b);
            stream_finish(&s);
            expect_ready(&s, "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xef\xbf\xbd");
            stream_free(&s);
        }
    buffer_free(&stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_character_waits_for_its_last_byte),
        cmocka_unit_test(ill_formed_bytes_become_replacement_characters),
        cmocka_unit_test(an_open_character_is_replaced_at_the_end),
        cmocka_unit_test(a_stop_string_is_found_across_tokens_and_left_out),
        cmocka_unit_test(the_earliest_stop_string_wins),
        cmocka_unit_test(what_was_held_back_comes_out_at_the_end),
        cmocka_unit_test(any_cut_into_tokens_gives_the_same_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
