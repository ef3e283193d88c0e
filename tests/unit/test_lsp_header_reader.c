/*
 * test_lsp_header_reader.c - messages are cut from any stream of bytes
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "header_reader.h"

#include "base/rng.h"

#include <stdio.h>
#include <string.h>

/* Feeds `bytes` in pieces and writes what comes out: bodies in brackets, ! for a skipped header, X for the end. */
static void cut(const char *bytes, size_t size, size_t piece, size_t limit, char *out, size_t out_size)
{
    struct header_reader reader;
    header_reader_open(&reader, limit);
    size_t used = 0, n = 0;
    bool over = false;
    while (used < size && !over) {
        size_t now = size - used < piece ? size - used : piece;
        memcpy(header_reader_room(&reader, now), bytes + used, now);
        header_reader_filled(&reader, now);
        used += now;
        const char *body;
        size_t body_size;
        enum header_event event;
        while (!over && (event = header_reader_next(&reader, &body, &body_size)) != HEADER_MORE) {
            if (event == HEADER_MESSAGE)
                n += (size_t) snprintf(out + n, out_size - n, "[%.*s]", (int) body_size, body);
            else
                n += (size_t) snprintf(out + n, out_size - n, event == HEADER_SKIPPED ? "!" : "X");
            over = event == HEADER_FATAL;
        }
    }
    out[n] = 0;
    header_reader_close(&reader);
}

#define ONE "Content-Length: 3\r\n\r\n{1}"
#define TWO "content-length:4\r\nX: y\r\n\r\n{22}"

static const struct {
    const char *bytes, *want;
} cases[] = {
    {ONE, "[{1}]"},
    {ONE TWO ONE, "[{1}][{22}][{1}]"},
    {"\r\n" ONE "\r\n\r\n" TWO, "[{1}][{22}]"},
    {"Content-Length: 0\r\n\r\n" ONE, "[][{1}]"},
    {"Content-Length: 3\n\n{1}" ONE, "[{1}][{1}]"},
    {"Content-Length : 3 \r\n\r\n{1}", "[{1}]"},
    {"X: 1\r\n\r\n{9}" ONE, "![{1}]"},
    {"{9}" ONE TWO, "![{1}][{22}]"},
    {"Content-Length: -3\r\n\r\n{9}" ONE, "![{1}]"},
    {"Content-Length: 3x\r\n\r\n{9}" ONE, "![{1}]"},
    {"Content-Length: 3\r\nContent-Length: 3\r\n\r\n{9}" ONE, "![{1}]"},
    {"Content-Length: 99999999999\r\n\r\n{9}" ONE, "![{1}]"},
    {"Content-Length: 99999999999999999999999\r\n\r\n{9}" ONE, "![{1}]"},
    {"Content-Length: 12\r\n\r\n{..........}" ONE, "![{1}]"},     /* over the limit of 10: dropped whole */
    {"bad\r\n\r\n{\"text\": \"Content-Length: 1\\r\\n\\r\\n{\"}" TWO, "![{22}]"},
    {"bad\r\n\r\nContent-Length: 3\r\n\r\nno object" TWO, "![{22}]"},
    {"bad\r\n\r\nContent-Content-Length: 3\r\n\r\n{1}", "![{1}]"},
};

static void messages_are_cut_whatever_the_pieces(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t piece = 1; piece <= 40; piece++) {
            char got[500];
            cut(cases[i].bytes, strlen(cases[i].bytes), piece, 10, got, sizeof got);
            /* While looking for a header, a small limit may end it: only the reader's own limit is small here. */
            if (strchr(got, 'X'))
                continue;
            assert_string_equal(got, cases[i].want);
        }
    }
}

static void a_large_limit_never_ends_the_search(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strstr(cases[i].bytes, ".........."))
            continue; /* a body over the small limit */
        for (size_t piece = 1; piece <= 40; piece += 3) {
            char got[500];
            cut(cases[i].bytes, strlen(cases[i].bytes), piece, 1000, got, sizeof got);
            assert_string_equal(got, cases[i].want);
        }
    }
}

static void a_header_over_8_kib_is_skipped(void **state)
{
    static char bytes[20000];
    size_t n = (size_t) snprintf(bytes, sizeof bytes, "X: %09000d\r\nContent-Length: 3\r\n\r\n{9}", 0);
    n += (size_t) snprintf(bytes + n, sizeof bytes - n, TWO);
    char got[500];
    cut(bytes, n, 1000, 100000, got, sizeof got);
    /* The end of the long header reads as a good one. */
    assert_string_equal(got, "![{9}][{22}]");
}

static void garbage_without_end_is_fatal(void **state)
{
    static char bytes[100000];
    memset(bytes, 'c', sizeof bytes);
    char got[500];
    cut(bytes, sizeof bytes, 777, 20000, got, sizeof got);
    assert_string_equal(got, "!X");
}

static void a_promise_of_much_costs_no_memory(void **state)
{
    struct header_reader reader;
    header_reader_open(&reader, 1u << 30);
    const char *bytes = "Content-Length: 1000000000\r\n\r\n{", *body;
    size_t size;
    memcpy(header_reader_room(&reader, strlen(bytes)), bytes, strlen(bytes));
    header_reader_filled(&reader, strlen(bytes));
    assert_int_equal(header_reader_next(&reader, &body, &size), HEADER_MORE);
    assert_true(reader.input.capacity < 10000);
    header_reader_close(&reader);
}

/* Good messages after any garbage: from the second one on, all of them arrive. */
static void after_random_garbage_messages_arrive_again(void **state)
{
    static const char letters[] = "Content-Length: 19\r\n\r\n{}[]\"x";
    for (uint64_t seed = 0; seed < 3000; seed++) {
        char bytes[400], got[1000];
        size_t n = rng_at(seed, 0) % 100;
        for (size_t i = 0; i < n; i++)
            bytes[i] = letters[rng_at(seed, i + 1) % (sizeof letters - 1)];
        for (int i = 0; i < 10; i++)
            n += (size_t) snprintf(bytes + n, sizeof bytes - n, "%s", "Content-Length: 3\r\n\r\n{1}");
        cut(bytes, n, 1 + rng_at(seed, 1000) % 50, 10000, got, sizeof got);
        assert_null(strchr(got, 'X'));
        size_t m = strlen(got);
        assert_true(m >= 10);
        assert_string_equal(got + m - 10, "[{1}][{1}]");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_cut_whatever_the_pieces),
        cmocka_unit_test(a_large_limit_never_ends_the_search),
        cmocka_unit_test(a_header_over_8_kib_is_skipped),
        cmocka_unit_test(garbage_without_end_is_fatal),
        cmocka_unit_test(a_promise_of_much_costs_no_memory),
        cmocka_unit_test(after_random_garbage_messages_arrive_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
