/*
 * test_lsp_settings.c - settings are taken when they make sense and complained about when not
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "settings.h"

#include <stdio.h>
#include <string.h>

static char complaints[2000];

static void complain(const char *line, void *user)
{
    size_t n = strlen(complaints);
    snprintf(complaints + n, sizeof complaints - n, "%s\n", line);
}

static void apply(struct settings *settings, const char *text)
{
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    *complaints = 0;
    settings_apply(settings, json, complain, NULL);
    json_decref(json);
}

static void keys_may_be_nested_or_dotted(void **state)
{
    struct settings settings;
    settings_defaults(&settings);
    apply(&settings, "{\"core\": {\"model\": \"/m.gguf\", \"threads\": 3}, \"completion.mode\": \"never\", \"maxTokens\": 9}");
    assert_string_equal(complaints, "");
    assert_string_equal(settings.model, "/m.gguf");
    assert_int_equal(settings.threads, 3);
    assert_int_equal(settings.completion_mode, COMPLETION_NEVER);
    assert_int_equal(settings.max_tokens, 9);
    settings_free(&settings);
}

static void what_makes_no_sense_changes_nothing(void **state)
{
    struct settings settings;
    settings_defaults(&settings);
    apply(&settings, "{\"maxTokens\": -1, \"mode\": \"lines\", \"minTokenProb\": 2, \"core\": 3, \"nonsense\": {}, "
                     "\"core.model\": 5, \"languages\": [], \"mode.x\": 1}");
    assert_int_equal(settings.max_tokens, 48);
    assert_int_equal(settings.mode, MODE_AUTO);
    assert_string_equal(complaints, "setting dsr1.maxTokens must be a whole number from 1 to 4096\n"
                                    "setting dsr1.mode must be one of auto|line|block\n"
                                    "setting dsr1.minTokenProb must be a number from 0 to 1\n"
                                    "unknown setting dsr1.core\n"
                                    "unknown setting dsr1.nonsense\n"
                                    "setting dsr1.core.model must be a text of less than 4096 bytes\n"
                                    "setting dsr1.languages must be an object\n"
                                    "unknown setting dsr1.mode.x\n");
    apply(&settings, "{\"maxTokens\": null}");
    apply(&settings, "null");
    apply(&settings, "[1]");
    assert_string_equal(complaints, "");
    settings_free(&settings);
}

static void the_debounce_is_a_number_or_adaptive(void **state)
{
    struct settings settings;
    settings_defaults(&settings);
    assert_int_equal(settings.debounce_ms, -1);
    apply(&settings, "{\"debounceMs\": 120}");
    assert_int_equal(settings.debounce_ms, 120);
    apply(&settings, "{\"debounceMs\": \"adaptive\"}");
    assert_int_equal(settings.debounce_ms, -1);
    apply(&settings, "{\"debounceMs\": \"soon\"}");
    assert_string_equal(complaints, "setting dsr1.debounceMs must be \"adaptive\", or milliseconds up to 60000\n");
    settings_free(&settings);
}

static void languages_and_globs_say_where(void **state)
{
    struct settings settings;
    settings_defaults(&settings);
    assert_true(settings_allow(&settings, "c", "file:///a/b.c"));
    assert_false(settings_allow(&settings, "", "file:///a/.env"));
    assert_false(settings_allow(&settings, "", "file:///a/.env.local"));
    assert_false(settings_allow(&settings, "", "file:///a/server.key"));
    assert_true(settings_allow(&settings, "", "untitled:Untitled-1"));
    apply(&settings, "{\"languages\": {\"*\": false, \"c\": true}, \"ignoreGlobs\": [\"/secret/*\"]}");
    assert_true(settings_allow(&settings, "c", "file:///a/b.c"));
    assert_false(settings_allow(&settings, "python", "file:///a/b.py"));
    assert_false(settings_allow(&settings, "c", "file:///secret/b.c"));
    assert_true(settings_allow(&settings, "c", "file:///a/.env"));
    apply(&settings, "{\"enabled\": false}");
    assert_false(settings_allow(&settings, "c", "file:///a/b.c"));
    settings_free(&settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_may_be_nested_or_dotted),
        cmocka_unit_test(what_makes_no_sense_changes_nothing),
        cmocka_unit_test(the_debounce_is_a_number_or_adaptive),
        cmocka_unit_test(languages_and_globs_say_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
