/*
 * test_lsp_polish.c - what is cut from a suggestion, and what is not
 *
 * Places are written with the cursor as |, and what the model wrote beside them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lsp_place.h"
#include "polish.h"

#include <math.h>
#include <string.h>

static void check(bool line_only, const char *text, const char *wrote, const char *want, size_t replaced)
{
    struct surroundings around;
    take_place(&around, text);
    struct polish polish = {.around = &around, .line_only = line_only};
    buffer_string(&polish.text, wrote);
    polish_place(&polish);
    if (strcmp(polish.text.data, want) != 0 || polish.replaced != replaced)
        print_error("at \"%s\" the model wrote \"%s\"\n", text, wrote);
    assert_string_equal(polish.text.data, want);
    assert_int_equal(polish.replaced, replaced);
    buffer_free(&polish.text);
    surroundings_free(&around);
}

static void line(const char *text, const char *wrote, const char *want)
{
    check(true, text, wrote, want, 0);
}

static void block(const char *text, const char *wrote, const char *want)
{
    check(false, text, wrote, want, 0);
}

static void a_line_ends_at_its_end(void **state)
{
    line("x = |", "foo(1)\ny = 2\n", "foo(1)");
    line("x = |", "foo(1)   \n", "foo(1)");
    line("x = |", "\ny = 2", "");
    line("x = |", "", "");
}

static void a_block_ends_where_the_indentation_falls(void **state)
{
    block("def f(x):|", "\n    y = x\n\n    return y\n\n\ndef g():\n    pass\n", "\n    y = x\n\n    return y");
    block("    |", "if a:\n        b()\n    c()\nreturn", "if a:\n        b()\n    c()");
    block("int f(void)\n{\n    if (a) {|\n}\n", "\n        b();\n    }\n    c();\n}\n", "\n        b();\n    }");
    block("|", "import os\nimport sys\n\ndef f():\n    pass\n\nx = 1\n", "import os\nimport sys");
    block("f(|", "\n    a,\n    b,\n)\ng()\n", "\n    a,\n    b,\n)");
}

static void a_block_is_complete_when_more_would_be_cut(void **state)
{
    struct surroundings around;
    take_place(&around, "def f(x):|");
    const char *text = "\n    y = x\n\n    return y\n\n\ndef g";
    assert_true(polish_complete(&around, false, text, strlen(text)));
    assert_false(polish_complete(&around, false, text, strlen(text) - 5));
    assert_true(polish_complete(&around, true, "a\n", 2));
    assert_false(polish_complete(&around, true, "a", 1));
    surroundings_free(&around);
}

static void a_bracket_that_closes_nothing_ends_the_text(void **state)
{
    check(true, "foo(a|)\n", "bc, d)) + 1", "bc, d)", 1);
    check(true, "x = [1, 2|]\n", "3]]", "3]", 1);
    line("foo(|", "a, b)", "a, b)");
    block("void f() {\n    if (x) {\n        |\n    }\n}\n", "y();\n        z();\n    }\n}\n", "y();\n        z();");
    line("print(|", "\")))\")", "\")))\")");   /* brackets in strings do not count */
    line("// don't |", "do (this)", "do (this)");   /* nor does an apostrophe open one */
}

static void brackets_that_the_editor_closed_are_replaced(void **state)
{
    check(true, "foo(|)", "a, b)", "a, b)", 1);
    check(true, "foo(|);", "a, b);", "a, b);", 2);
    check(true, "foo(|)", "a, b);", "a, b);", 1);
    check(true, "print(|)", "foo(bar)", "foo(bar)", 0);     /* its own bracket */
    check(true, "print(|)", "foo(bar))", "foo(bar))", 1);
    check(true, "a[f(|)]", "x)]", "x)]", 2);
    check(true, "s = \"|\"", "hello\"", "hello\"", 1);
    check(true, "return a| + b;", " * 2 + b;", " * 2 + b;", 5);
    check(true, "x = |  ", "12", "12", 0);
}

static void lines_that_follow_anyway_are_left_out(void **state)
{
    block("a()\n|\nc()\n", "b()\nc()\nd()\n", "b()");
    block("a()\n|\n\n\nc()\n", "c()", "");
    block("a()\nc|\nc()\n", "()", "");
    block("if x:\n    |\nelse:\n    y()\n", "z()\nelse:\n    y()\n", "z()");
    block("a()\n|\n    c()\n", "b()\nc()\n", "b()\nc()");   /* another indentation is another line */
}

static void repetitions_end_after_the_first(void **state)
{
    block("|", "a();\nb();\na();\nb();\na();\n", "a();\nb();");
    block("|", "foo();\nfoo();\nfoo();\n", "foo();");
    block("|", "foo();\nfoo();\nbar();", "foo();\nfoo();\nbar();");
    line("x = |", "1, 22, 22, 22, 22, 22, ", "1, 22");
    line("total += value\n|", "total += value\n", "");
    line("total += value\ntotal |", "+= value", "");
    line("{\n}\n|", "}", "");
    line("x = |", "abababab", "ab");
}

static void indentation_is_that_of_the_document(void **state)
{
    block("int f(void)\n{\n\tg();\n\tif (a) {|", "\n        b();\n    }", "\n\t\tb();\n\t}");
    block("def f():\n    if a:|", "\n\tb()\n", "");     /* not deeper than the line: no block */
    block("def f():\n    if a:|", "\n\t\tb()\n", "\n        b()");
}

static void little_is_nothing(void **state)
{
    line("x = |", ";", "");
    line("x = |", " a ", "");
    line("x = |", "\xe4\xb8\xad", "");
    line("x = |", "ab", "ab");
    line("x = | b", "a ", "");
    check(true, "x = | b", "aa ", "aa ", 1);
}

/* ------------------------------------------------------------------ */
/* What depends on the model                                           */
/* ------------------------------------------------------------------ */

static void check_draft(const char *const *tokens, const double *probs, bool keep, const char *want)
{
    struct draft draft = {0};
    struct polish polish = {.min_token_prob = 0.1, .min_line_prob = 0.35, .keep_first_line = keep};
    for (int i = 0; tokens[i]; i++)
        assert_true(draft_append(&draft, tokens[i], strlen(tokens[i]), -1, (float) log(probs[i])));
    polish_draft(&polish, &draft);
    assert_string_equal(polish.text.data, want);
    buffer_free(&polish.text);
    draft_free(&draft);
}

static void text_ends_where_the_model_begins_to_guess(void **state)
{
    const char *const tokens[] = {"foo", "(bar", ", ba", "z", ")\n", "next", " = 1", NULL};
    check_draft(tokens, (double[]){.9, .9, .9, .9, .9, .9, .9}, false, "foo(bar, baz)\nnext = 1");
    check_draft(tokens, (double[]){.9, .9, .9, .05, .9, .9, .9}, false, "foo(bar, ");
    check_draft(tokens, (double[]){.9, .9, .05, .9, .9, .9, .9}, false, "foo(bar");
    check_draft(tokens, (double[]){.9, .9, .9, .9, .9, .3, .3}, false, "foo(bar, baz)\n");
    check_draft(tokens, (double[]){.3, .3, .3, .3, .3, .9, .9}, false, "");
    check_draft(tokens, (double[]){.05, .9, .9, .9, .9, .9, .9}, false, "");
}

static void one_that_was_asked_for_keeps_its_first_line(void **state)
{
    const char *const tokens[] = {"foo", "(bar", ", ba", "z", ")\n", "next", " = 1", NULL};
    check_draft(tokens, (double[]){.2, .2, .05, .2, .2, .9, .9}, true, "foo(bar, baz)\nnext = 1");
    check_draft(tokens, (double[]){.2, .2, .05, .2, .2, .3, .3}, true, "foo(bar, baz)\n");
}

static void control_tokens_and_broken_characters_end_the_text(void **state)
{
    check_draft((const char *const[]){"a b", "<|endoftext|>c", NULL}, (double[]){1, 1}, false, "a b");
    check_draft((const char *const[]){"a b", "<|fim_middle|>c", NULL}, (double[]){1, 1}, false, "a b");
    check_draft((const char *const[]){"a b<\xef\xbd\x9c" "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>", NULL},
                (double[]){1}, false, "a b");
    check_draft((const char *const[]){"a\xe4\xb8\xad\xe4\xb8", NULL}, (double[]){1}, false, "a\xe4\xb8\xad");
    check_draft((const char *const[]){"a\xff z", NULL}, (double[]){1}, false, "a");
}

static void each_step_counts_its_hits(void **state)
{
    struct surroundings around;
    unsigned long long before = atomic_load(&polish_counts[3]);
    take_place(&around, "x = |");
    struct polish polish = {.around = &around, .line_only = true};
    buffer_string(&polish.text, "foo\nbar");
    polish_place(&polish);
    assert_string_equal(polish_names[3], "mode");
    assert_int_equal(polish.hits, 1u << 3);
    assert_int_equal(atomic_load(&polish_counts[3]), before + 1);
    buffer_free(&polish.text);
    surroundings_free(&around);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_ends_at_its_end),
        cmocka_unit_test(a_block_ends_where_the_indentation_falls),
        cmocka_unit_test(a_block_is_complete_when_more_would_be_cut),
        cmocka_unit_test(a_bracket_that_closes_nothing_ends_the_text),
        cmocka_unit_test(brackets_that_the_editor_closed_are_replaced),
        cmocka_unit_test(lines_that_follow_anyway_are_left_out),
        cmocka_unit_test(repetitions_end_after_the_first),
        cmocka_unit_test(indentation_is_that_of_the_document),
        cmocka_unit_test(little_is_nothing),
        cmocka_unit_test(text_ends_where_the_model_begins_to_guess),
        cmocka_unit_test(one_that_was_asked_for_keeps_its_first_line),
        cmocka_unit_test(control_tokens_and_broken_characters_end_the_text),
        cmocka_unit_test(each_step_counts_its_hits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
