/*
 * test_lsp_ignore.c - which files an ignore file names, what is a comment, what looks like a key
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ignore.h"
#include "secret.h"
#include "syntax.h"

#include <string.h>

static int match(const char *rules, const char *path)
{
    return ignore_match(rules, strlen(rules), path);
}

static void a_name_fits_in_every_folder(void **state)
{
    assert_int_equal(match("*.o\n", "a.o"), 1);
    assert_int_equal(match("*.o\n", "src/deep/a.o"), 1);
    assert_int_equal(match("*.o\n", "a.c"), 0);
    assert_int_equal(match("notes", "notes/today.txt"), 1);
}

static void a_slash_binds_a_pattern_to_its_folder(void **state)
{
    assert_int_equal(match("/a.c", "a.c"), 1);
    assert_int_equal(match("/a.c", "src/a.c"), 0);
    assert_int_equal(match("src/*.c", "src/a.c"), 1);
    assert_int_equal(match("src/*.c", "src/deep/a.c"), 0);
    assert_int_equal(match("src/*.c", "lib/src/a.c"), 0);
}

static void a_slash_behind_means_folders(void **state)
{
    assert_int_equal(match("build/", "build/a.c"), 1);
    assert_int_equal(match("build/", "x/build/a.c"), 1);
    assert_int_equal(match("build/", "build"), 0);
}

static void two_stars_mean_any_folders(void **state)
{
    assert_int_equal(match("**/secret.py", "secret.py"), 1);
    assert_int_equal(match("**/secret.py", "a/b/secret.py"), 1);
    assert_int_equal(match("vendor/**", "vendor/a/b.c"), 1);
    assert_int_equal(match("vendor/**", "a/vendor"), 0);
}

static void the_last_pattern_that_fits_decides(void **state)
{
    assert_int_equal(match("*.py\n!keep.py\n", "keep.py"), -1);
    assert_int_equal(match("!keep.py\n*.py\n", "keep.py"), 1);
    assert_int_equal(match("# *.py\n\n   \n", "a.py"), 0);
    assert_int_equal(match("*.py  \r\n", "a.py"), 1);
}

static enum syntax_place at(const char *language, const char *text)
{
    return syntax_at(language, text, strlen(text), NULL);
}

static void comments_and_strings_are_told_from_code(void **state)
{
    assert_int_equal(at("c", "int x; // a"), SYNTAX_COMMENT);
    assert_int_equal(at("c", "int x; // a\nint"), SYNTAX_CODE);
    assert_int_equal(at("c", "/* a\n b"), SYNTAX_COMMENT);
    assert_int_equal(at("c", "/* a */ in"), SYNTAX_CODE);
    assert_int_equal(at("c", "puts(\"a \\\" // b"), SYNTAX_STRING);
    assert_int_equal(at("python", "x = 1 # a"), SYNTAX_COMMENT);
    assert_int_equal(at("python", "\"\"\"it's\nlong"), SYNTAX_STRING);
    assert_int_equal(at("python", "\"\"\"a\"\"\"\nx = "), SYNTAX_CODE);
    assert_int_equal(at("sql", "SELECT 'it''s"), SYNTAX_STRING);
    assert_int_equal(at("sql", "SELECT 1 -- a"), SYNTAX_COMMENT);
    assert_int_equal(at("c", "don't\nx"), SYNTAX_CODE); /* an apostrophe ends with its line */
    assert_int_equal(at("javascript", "a = `x\ny"), SYNTAX_STRING);
}

static void a_string_with_a_statement_in_it_is_sql(void **state)
{
    const char *text = "cur.execute(\"SELECT name FROM ";
    size_t start;
    assert_int_equal(syntax_at("python", text, strlen(text), &start), SYNTAX_STRING);
    assert_true(syntax_is_sql(text + start, strlen(text) - start));
    assert_false(syntax_is_sql("selected", 8));
    assert_true(syntax_is_sql("\n  with x as (", 14));
}

static void shapes_of_keys_are_found(void **state)
{
    const char *key = "key = \"AKIAABCDEFGHIJKLMNOP\"";
    assert_int_equal(secret_find(key, strlen(key)), 7);
    assert_int_equal(secret_find("AKIA", 4), 4);
    assert_int_equal(secret_find("task-force sk-1", 15), 15);
    assert_int_equal(secret_find("-----BEGIN RSA PRIVATE KEY-----", 31), 0);
    assert_int_equal(secret_find("", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_fits_in_every_folder),
        cmocka_unit_test(a_slash_binds_a_pattern_to_its_folder),
        cmocka_unit_test(a_slash_behind_means_folders),
        cmocka_unit_test(two_stars_mean_any_folders),
        cmocka_unit_test(the_last_pattern_that_fits_decides),
        cmocka_unit_test(comments_and_strings_are_told_from_code),
        cmocka_unit_test(a_string_with_a_statement_in_it_is_sql),
        cmocka_unit_test(shapes_of_keys_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
