/*
 * test_lsp_recall.c - texts of the model are found again while they are typed
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "recall.h"

#include <string.h>

static struct recall_key key(struct surroundings *around, const char *prefix, const char *suffix, bool line_only)
{
    *around = (struct surroundings){0};
    buffer_string(&around->prefix, prefix);
    buffer_string(&around->suffix, suffix);
    return (struct recall_key){around, line_only, false};
}

static void store(struct recall *recall, const char *prefix, const char *suffix, const char *text, bool finished)
{
    struct surroundings around;
    struct recall_key k = key(&around, prefix, suffix, true);
    recall_store(recall, &k, text, strlen(text), finished);
    surroundings_free(&around);
}

/* NULL: nothing must be found. */
static void check(struct recall *recall, const char *prefix, const char *suffix, bool line_only, const char *want, bool whole)
{
    struct surroundings around;
    struct recall_key k = key(&around, prefix, suffix, line_only);
    struct buffer text = {0};
    bool finished = false;
    bool found = recall_find(recall, &k, &text, &finished);
    assert_int_equal(found, want != NULL);
    if (found) {
        assert_string_equal(text.data, want);
        assert_int_equal(finished, whole);
    }
    buffer_free(&text);
    surroundings_free(&around);
}

static void typing_along_finds_the_rest(void **state)
{
    struct recall *recall = recall_open(8);
    store(recall, "x = ", "\n", "foo(1)", true);
    check(recall, "x = ", "\n", true, "foo(1)", true);
    check(recall, "x = fo", "\n", true, "o(1)", true);
    check(recall, "x = fa", "\n", true, NULL, false);
    check(recall, "y = ", "\n", true, NULL, false);
    check(recall, "x = ", ")\n", true, NULL, false);
    check(recall, "x = foo(1)", "\n", true, NULL, false);    /* all of it was typed: the model says what comes next */
    check(recall, "x = foo(1) ", "\n", true, NULL, false);
    recall_close(recall);
}

static void an_empty_text_is_an_answer_at_its_place_only(void **state)
{
    struct recall *recall = recall_open(8);
    store(recall, "x = ", "", "", true);
    check(recall, "x = ", "", true, "", true);
    check(recall, "x = 1", "", true, NULL, false);
    recall_close(recall);
}

static void a_text_that_was_stopped_is_a_beginning(void **state)
{
    struct recall *recall = recall_open(8);
    store(recall, "x = ", "", "foo", false);
    check(recall, "x = f", "", true, "oo", false);
    check(recall, "x = foo", "", true, NULL, false);
    store(recall, "x = ", "", "foo(1)", true);          /* its place is taken */
    check(recall, "x = f", "", true, "oo(1)", true);
    recall_close(recall);
}

static void one_line_answers_for_a_block_while_there_is_something_of_it(void **state)
{
    struct recall *recall = recall_open(8);
    store(recall, "x = ", "", "foo(1)\n", true);
    check(recall, "x = foo(", "", false, "1)\n", true);
    check(recall, "x = foo(1)", "", false, "\n", false);
    recall_close(recall);
}

static void the_longest_unused_text_gives_way(void **state)
{
    struct recall *recall = recall_open(2);
    store(recall, "a", "", "11", true);
    store(recall, "b", "", "22", true);
    check(recall, "a", "", true, "11", true);
    store(recall, "c", "", "33", true);
    check(recall, "a", "", true, "11", true);
    check(recall, "b", "", true, NULL, false);
    recall_clear(recall);
    check(recall, "a", "", true, NULL, false);
    recall_limit(recall, 0);
    store(recall, "a", "", "11", true);
    check(recall, "a", "", true, NULL, false);
    recall_close(recall);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typing_along_finds_the_rest),
        cmocka_unit_test(an_empty_text_is_an_answer_at_its_place_only),
        cmocka_unit_test(a_text_that_was_stopped_is_a_beginning),
        cmocka_unit_test(one_line_answers_for_a_block_while_there_is_something_of_it),
        cmocka_unit_test(the_longest_unused_text_gives_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
