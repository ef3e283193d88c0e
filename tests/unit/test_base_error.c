/*
 * test_base_error.c - claims about base/error.c
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

static void the_first_failure_wins(void **state)
{
    dsr1_error err = {0};
    assert_int_equal(error_set(&err, DSR1_ERR_FORMAT, "tensor %s: %d dims", "output", 5), DSR1_ERR_FORMAT);
    assert_int_equal(error_set(&err, DSR1_ERR_NOMEM, "later"), DSR1_ERR_NOMEM);
    assert_int_equal(err.status, DSR1_ERR_FORMAT);
    assert_string_equal(err.message, "tensor output: 5 dims");
}

static void a_caller_may_pass_no_error(void **state)
{
    errno = ENOENT;
    assert_int_equal(error_set(NULL, DSR1_ERR_IO, "x"), DSR1_ERR_IO);
    assert_int_equal(error_errno(NULL, DSR1_ERR_IO, "x"), DSR1_ERR_IO);
    assert_int_equal(error_nomem(NULL, "x"), DSR1_ERR_NOMEM);
}

static void errno_is_told_and_kept(void **state)
{
    dsr1_error err = {0};
    errno = ENOENT;
    error_errno(&err, DSR1_ERR_IO, "cannot open %s", "a.gguf");
    assert_int_equal(errno, ENOENT);
    assert_string_equal(err.message, "cannot open a.gguf: No such file or directory");
}

static void a_long_message_is_cut_and_terminated(void **state)
{
    char text[2000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    dsr1_error err = {0};
    errno = EACCES;
    error_errno(&err, DSR1_ERR_IO, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    assert_int_equal(err.status, DSR1_ERR_IO);
}

static void memory_errors_say_what_for(void **state)
{
    dsr1_error err = {0};
    error_nomem(&err, "the KV cache");
    assert_string_equal(err.message, "out of memory for the KV cache");
}

static void every_status_has_its_own_name(void **state)
{
    const char *names[10];
    for (int s = 0; s < 10; s++) {
        names[s] = dsr1_status_name((dsr1_status) -s);
        assert_int_equal(strncmp(names[s], "DSR1_", 5), 0);
        for (int before = 0; before < s; before++)
            assert_string_not_equal(names[s], names[before]);
    }
    assert_string_equal(dsr1_status_name(DSR1_OK), "DSR1_OK");
    assert_string_equal(dsr1_status_name((dsr1_status) -99), "DSR1_ERR_UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_failure_wins),
        cmocka_unit_test(a_caller_may_pass_no_error),
        cmocka_unit_test(errno_is_told_and_kept),
        cmocka_unit_test(a_long_message_is_cut_and_terminated),
        cmocka_unit_test(memory_errors_say_what_for),
        cmocka_unit_test(every_status_has_its_own_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
