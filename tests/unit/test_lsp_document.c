/*
 * test_lsp_document.c - texts, lines and positions stay right through any change
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "codepoint.h"
#include "document.h"
#include "surroundings.h"

#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

/* A text as plain as it can be: a string, and lines found by looking. */
struct plain {
    char bytes[4096];
    size_t size;
};

static void plain_replace(struct plain *plain, size_t from, size_t to, const char *bytes, size_t size)
{
    memmove(plain->bytes + from + size, plain->bytes + to, plain->size - to);
    memcpy(plain->bytes + from, bytes, size);
    plain->size += size - (to - from);
}

static bool plain_line(const struct plain *plain, size_t line, size_t *start, size_t *end)
{
    size_t at = 0;
    for (;; line--) {
        *start = at;
        while (at < plain->size && plain->bytes[at] != '\n' && plain->bytes[at] != '\r')
            at++;
        *end = at;
        if (line == 0)
            return true;
        if (at == plain->size)
            return false;
        at += plain->bytes[at] == '\r' && at + 1 < plain->size && plain->bytes[at + 1] == '\n' ? 2 : 1;
    }
}

static void assert_same(const struct gap_text *text, const struct plain *plain)
{
    struct buffer copy = {0};
    assert_int_equal(text->size, plain->size);
    gap_text_append(text, 0, text->size, &copy);
    assert_int_equal(copy.size, plain->size);
    if (copy.size)
        assert_memory_equal(copy.data, plain->bytes, plain->size);
    buffer_free(&copy);
    size_t line = 0, start, end;
    for (; plain_line(plain, line, &start, &end); line++) {
        assert_true(line < gap_text_lines(text));
        assert_int_equal(gap_text_line_start(text, line), start);
        assert_int_equal(gap_text_line_end(text, line), end);
        assert_int_equal(gap_text_line_at(text, start), line);
        assert_int_equal(gap_text_line_at(text, end), line);
    }
    assert_int_equal(gap_text_lines(text), line);
}

static void random_replacements_keep_bytes_and_lines(void **state)
{
    static const char letters[] = "ab\r\n\r\n\n";
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct gap_text text = {0};
        struct plain plain = {.size = 0};
        uint64_t n = 0;
        for (int i = 0; i < 100; i++) {
            size_t from = rng_at(seed, n++) % (plain.size + 1), most = plain.size - from;
            size_t to = from + rng_at(seed, n++) % ((most > 20 ? 20 : most) + 1);
            char bytes[16];
            size_t size = plain.size > 3000 ? 0 : rng_at(seed, n++) % sizeof bytes;
            for (size_t j = 0; j < size; j++)
                bytes[j] = letters[rng_at(seed, n++) % (sizeof letters - 1)];
            assert_true(gap_text_replace(&text, from, to, bytes, size));
            plain_replace(&plain, from, to, bytes, size);
            assert_same(&text, &plain);
        }
        gap_text_free(&text);
    }
}

static void an_update_touches_only_what_differs(void **state)
{
    struct gap_text text = {0};
    size_t from, removed;
    assert_true(gap_text_update(&text, "one\ntwo\nthree", 13, &from, &removed));
    assert_true(gap_text_update(&text, "one\ntwos\nthree", 14, &from, &removed));
    assert_int_equal(from, 7);
    assert_int_equal(removed, 0);
    assert_true(gap_text_update(&text, "one\nthree", 9, &from, &removed));
    assert_int_equal(removed, 5);
    assert_true(gap_text_update(&text, "one\nthree", 9, &from, &removed));
    assert_int_equal(removed, 0);
    assert_int_equal(gap_text_lines(&text), 2);
    /* e acute becomes e grave: the second byte differs, the whole character is replaced. */
    assert_true(gap_text_update(&text, "x\xc3\xa9y", 4, NULL, NULL));
    assert_true(gap_text_update(&text, "x\xc3\xa8y", 4, &from, &removed));
    assert_int_equal(from, 1);
    assert_int_equal(removed, 2);
    assert_true(gap_text_update(&text, "", 0, NULL, NULL));
    assert_int_equal(text.size, 0);
    gap_text_free(&text);
}

/* Long texts that are compared in pieces, with the gap anywhere. */
static void an_update_of_a_long_text_is_what_differs(void **state)
{
    enum { SIZE = 5000 };
    char bytes[SIZE];
    for (uint64_t seed = 0; seed < 500; seed++) {
        struct gap_text text = {0};
        size_t from, removed, at = rng_at(seed, 0) % SIZE, gap = rng_at(seed, 1) % SIZE;
        memset(bytes, 'a', SIZE);
        for (size_t i = 40; i < SIZE; i += 41)
            bytes[i] = '\n';
        assert_true(gap_text_update(&text, bytes, SIZE, NULL, NULL));
        assert_true(gap_text_replace(&text, gap, gap, "", 0));
        bytes[at] = 'b';
        assert_true(gap_text_update(&text, bytes, SIZE, &from, &removed));
        assert_int_equal(from, at);
        assert_int_equal(removed, 1);
        assert_true(gap_text_replace(&text, gap, gap, "", 0));
        gap_text_differs(&text, bytes, SIZE, &from, &removed);
        assert_int_equal(from, SIZE);
        assert_int_equal(removed, 0);
        gap_text_free(&text);
    }
}

static void columns_count_the_agreed_units(void **state)
{
    /* a, e acute, CJK, emoji, b: 1, 2, 3, 4 and 1 bytes. */
    const char *text = "a\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80" "b";
    const size_t starts[] = {0, 1, 3, 6, 10, 11};
    const size_t utf16[] = {0, 1, 2, 3, 5, 6};
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(position_units(POSITION_UTF16, text, starts[i]), utf16[i]);
        assert_int_equal(position_units(POSITION_UTF8, text, starts[i]), starts[i]);
        assert_int_equal(position_units(POSITION_UTF32, text, starts[i]), i);
        assert_int_equal(position_to_bytes(POSITION_UTF16, text, 11, utf16[i], NULL), starts[i]);
        assert_int_equal(position_to_bytes(POSITION_UTF8, text, 11, starts[i], NULL), starts[i]);
        assert_int_equal(position_to_bytes(POSITION_UTF32, text, 11, i, NULL), starts[i]);
    }
    assert_int_equal(position_to_bytes(POSITION_UTF16, text, 11, 4, NULL), 6);  /* between the surrogates */
    assert_int_equal(position_to_bytes(POSITION_UTF8, text, 11, 8, NULL), 6);   /* inside of the bytes */
    size_t left;
    assert_int_equal(position_to_bytes(POSITION_UTF16, text, 11, 10, &left), 11);
    assert_int_equal(left, 4);
}

static void positions_are_clamped(void **state)
{
    struct document document = {.uri = ""};
    const char *text = "ab\r\n\xf0\x9f\x98\x80\rlast";
    assert_true(document_set(&document, text, strlen(text)));
    assert_int_equal(document_offset(&document, POSITION_UTF16, 0, 2), 2);
    assert_int_equal(document_offset(&document, POSITION_UTF16, 0, 3), 2);
    assert_int_equal(document_offset(&document, POSITION_UTF16, 1, 0), 4);
    assert_int_equal(document_offset(&document, POSITION_UTF16, 1, 1), 4);
    assert_int_equal(document_offset(&document, POSITION_UTF16, 1, 2), 8);
    assert_int_equal(document_offset(&document, POSITION_UTF16, 1, SIZE_MAX), 8);
    assert_int_equal(document_offset(&document, POSITION_UTF16, 2, 1), 10);
    assert_int_equal(document_offset(&document, POSITION_UTF16, SIZE_MAX, 0), 13);
    gap_text_free(&document.text);
}

static void languages_are_guessed_from_the_name(void **state)
{
    struct documents documents = {0};
    assert_string_equal(documents_open(&documents, "file:///a.b/x.py", "")->language, "python");
    assert_string_equal(documents_open(&documents, "file:///x.py", "sage")->language, "sage");
    assert_string_equal(documents_open(&documents, "file:///a.py/Makefile", "")->language, "");
    assert_int_equal(documents.n_open, 3);
    documents_close(&documents, "file:///x.py");
    assert_null(documents_find(&documents, "file:///x.py"));
    assert_non_null(documents_find(&documents, "file:///a.py/Makefile"));
    documents_free(&documents);
}

/* ------------------------------------------------------------------ */
/* What the model sees                                                 */
/* ------------------------------------------------------------------ */

static void the_cursor_splits_the_text(void **state)
{
    struct document document = {.uri = ""};
    struct surroundings around;
    struct window window = {1000, 1000, 10};
    const char *text = "one\r\n  two_th)\r\nfour\r";
    assert_true(document_set(&document, text, strlen(text)));
    assert_true(surroundings_take(&around, &document, &window, 13, 13, ""));
    assert_string_equal(around.prefix.data, "one\n  two_th");
    assert_string_equal(around.suffix.data, ")\nfour\n");
    assert_int_equal(around.typed, 8);
    assert_int_equal(around.rest, 1);
    assert_int_equal(around.word, 6);
    assert_true(around.top && around.bottom);
    assert_string_equal(around.line_end, "\r\n");
    surroundings_free(&around);
    assert_true(surroundings_take(&around, &document, &window, 7, 13, "chosen"));
    assert_string_equal(around.prefix.data, "one\n  chosen");
    assert_string_equal(around.suffix.data, ")\nfour\n");
    surroundings_free(&around);
    gap_text_free(&document.text);
}

static void the_window_begins_at_lines_and_seldom_moves(void **state)
{
    struct document document = {.uri = ""};
    struct window window = {1000, 200, 16};
    struct buffer text = {0};
    for (int i = 0; i < 1000; i++)
        buffer_printf(&text, "line number %d\n", i);
    assert_true(document_set(&document, text.data, text.size));
    size_t moves = 0, anchor = 0;
    for (size_t line = 200; line < 600; line++) {
        struct surroundings around;
        size_t cursor = gap_text_line_start(&document.text, line) + 5;
        assert_true(surroundings_take(&around, &document, &window, cursor, cursor, ""));
        assert_true(around.prefix.size <= window.prefix_bytes && around.prefix.size >= window.prefix_bytes / 4);
        assert_true(around.suffix.size <= window.suffix_bytes && around.suffix.size > window.suffix_bytes / 2);
        assert_memory_equal(around.prefix.data, "line number", 11);
        assert_int_equal(around.typed, 5);
        assert_false(around.top || around.bottom);
        moves += document.anchor != anchor;
        anchor = document.anchor;
        surroundings_free(&around);
    }
    assert_true(moves <= 400 / 16 + 1);
    /* Text that is inserted above the window moves the anchor with the line it stands on. */
    assert_true(document_change(&document, 0, 0, "new line\n", 9));
    assert_int_equal(document.anchor, anchor + 9);
    gap_text_free(&document.text);
    buffer_free(&text);
}

static void a_line_longer_than_the_window_is_cut_next_to_the_cursor(void **state)
{
    struct document document = {.uri = ""};
    struct window window = {100, 50, 16};
    struct surroundings around;
    struct buffer text = {0};
    for (int i = 0; i < 1000; i++)
        buffer_string(&text, "\xc3\xa9");
    assert_true(document_set(&document, text.data, text.size));
    assert_true(surroundings_take(&around, &document, &window, 1000, 1000, ""));
    assert_in_range(around.prefix.size, 99, 101);
    assert_in_range(around.suffix.size, 49, 51);
    assert_false(codepoint_continues(around.prefix.data[0]));
    surroundings_free(&around);
    gap_text_free(&document.text);
    buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_replacements_keep_bytes_and_lines),
        cmocka_unit_test(an_update_touches_only_what_differs),
        cmocka_unit_test(an_update_of_a_long_text_is_what_differs),
        cmocka_unit_test(columns_count_the_agreed_units),
        cmocka_unit_test(positions_are_clamped),
        cmocka_unit_test(languages_are_guessed_from_the_name),
        cmocka_unit_test(the_cursor_splits_the_text),
        cmocka_unit_test(the_window_begins_at_lines_and_seldom_moves),
        cmocka_unit_test(a_line_longer_than_the_window_is_cut_next_to_the_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
