/*
 * test_constrain_schema.c - claims about core/constrain: what a JSON schema admits, and what is refused with its place
 *
 * tests/constrain judges answers to random schemas by ajv; here stand single texts.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/constraint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "constrain_answers.h"
#include "shipped_tokens.h"

/* The text goes through token by token, and may end there. */
static bool admits(const char *schema, const char *text)
{
    struct constraint *c;
    struct constraint_state *state;
    dsr1_error err = {0};
    dsr1_constraint from = {DSR1_CONSTRAINT_JSON_SCHEMA, &schema, 1, false};
    if (constraint_open(table, &from, &c, &err) < 0)
        fail_msg("%s: %s", schema, err.message);
    assert_int_equal(constraint_begin(c, &state, NULL), DSR1_OK);
    int32_t ids[512];
    ptrdiff_t n = tokenizer_encode(file.tokenizer, text, strlen(text), 0, ids, 512);
    bool ok = true;
    for (ptrdiff_t i = 0; ok && i < n; i++)
        ok = constraint_accept(state, ids[i]);
    ok = ok && constraint_can_end(state);
    constraint_end(state);
    constraint_close(c);
    return ok;
}

static void check(const char *schema, const char *const *good, const char *const *bad)
{
    for (; *good; good++)
        if (!admits(schema, *good))
            fail_msg("%s does not admit %s", schema, *good);
    for (; *bad; bad++)
        if (admits(schema, *bad))
            fail_msg("%s admits %s", schema, *bad);
}

#define TEXTS(...) (const char *const[]){__VA_ARGS__, NULL}

static void numbers_keep_to_their_bounds(void **state)
{
    check("{\"type\":\"integer\",\"minimum\":-7,\"maximum\":105}", TEXTS("0", "-7", "105", "99", "-1", "100"),
          TEXTS("-8", "106", "1.5", "1e1", "007", "-0", "1000"));
    check("{\"type\":\"number\",\"minimum\":0.25,\"exclusiveMaximum\":3}", TEXTS("0.25", "1", "2.999", "0.3", "2.0"),
          TEXTS("3", "3.0", "0.2", "0", "0.249", "-1", "1e0"));
    check("{\"type\":\"number\",\"exclusiveMinimum\":-1.5}", TEXTS("-1.4", "0", "77", "-1.499"), TEXTS("-1.5", "-2", "-1.50"));
    check("{\"type\":\"number\",\"multipleOf\":0.25}", TEXTS("0", "1.25", "-3.5", "100.75"), TEXTS("1.3", "0.1", "2.251"));
    check("{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":1}", TEXTS("7", "49", "700"), TEXTS("0", "8", "-7"));
}

static void strings_fulfil_all_that_is_said_of_them(void **state)
{
    check("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
          TEXTS("\"ab\"", "\"\xc3\xa4\xf0\x9f\x98\x80\"", "\"\\u00e4\\n\\\"\"", "\"\\ud83d\\ude00x\""),
          TEXTS("\"a\"", "\"abcd\"", "\"\\ud83d\"", "\"\\u0000a\"", "ab"));
    check("{\"type\":\"string\",\"pattern\":\"^a+$|b\",\"maxLength\":4}", TEXTS("\"aa\"", "\"xbx\"", "\"b\""),
          TEXTS("\"\"", "\"ax\"", "\"aaaaa\"", "\"xxxxb\""));
    check("{\"type\":\"string\",\"format\":\"date\"}", TEXTS("\"2024-02-29\"", "\"1999-12-31\"", "\"2000-02-29\""),
          TEXTS("\"2023-02-29\"", "\"1900-02-29\"", "\"2024-04-31\"", "\"2024-13-01\"", "\"0000-01-01\""));
    check("{\"type\":\"string\",\"format\":\"ipv4\"}", TEXTS("\"0.0.0.0\"", "\"192.168.1.255\""),
          TEXTS("\"256.1.1.1\"", "\"01.1.1.1\"", "\"1.1.1\""));
}

static void objects_have_their_properties_in_order(void **state)
{
    const char *closed = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"},"
                         "\"c\":{\"type\":\"null\"}},\"required\":[\"b\"],\"additionalProperties\":false}";
    check(closed, TEXTS("{\"b\":null}", "{\"a\": null, \"b\": null}", "{\"a\":null,\"b\":null,\"c\":null}", "{\"b\":null,\"c\":null}"),
          TEXTS("{}", "{\"a\":null}", "{\"b\":null,\"a\":null}", "{\"b\":null,}", "{\"b\":null,\"d\":null}", "{ \"b\":null}"));
    check("{\"type\":\"object\",\"properties\":{\"ab\":{\"const\":1}},\"additionalProperties\":{\"const\":2}}",
          TEXTS("{}", "{\"ab\":1}", "{\"a\":2}", "{\"ab\":1,\"abc\":2,\"b\":2}", "{\"\":2}"),
          TEXTS("{\"ab\":2}", "{\"a\":1}", "{\"\\u0061b\":2}", "{\"a\":2,\"ab\":1}"));
    check("{\"allOf\":[{\"type\":\"object\",\"properties\":{\"x\":{\"minimum\":3}},\"required\":[\"x\"]},"
          "{\"properties\":{\"x\":{\"type\":\"integer\",\"maximum\":5}}}]}",
          TEXTS("{\"x\":3}", "{\"x\":5}"), TEXTS("{\"x\":2}", "{\"x\":6}", "{}"));
    check("{\"type\":\"object\",\"properties\":{\"a\":true,\"b\":true},\"minProperties\":1,\"maxProperties\":1}",
          TEXTS("{\"a\":[]}", "{\"b\":{}}"), TEXTS("{}", "{\"a\":1,\"b\":1}"));
    check("{\"type\":\"object\",\"properties\":{},\"minProperties\":1}", TEXTS("{\"x\":1}"), TEXTS("{}"));
}

static void arrays_lists_and_references(void **state)
{
    check("{\"type\":\"array\",\"prefixItems\":[{\"const\":1}],\"items\":{\"const\":2},\"minItems\":1,\"maxItems\":3}",
          TEXTS("[1]", "[1, 2]", "[1,2,2]"), TEXTS("[]", "[2]", "[1,1]", "[1,2,2,2]"));
    check("{\"$defs\":{\"t/~\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t~1~0\"}}},\"$ref\":\"#/$defs/t~1~0\"}",
          TEXTS("[]", "[[],[[]]]"), TEXTS("[1]", "[[]"));
    check("{\"oneOf\":[{\"type\":\"integer\"},{\"type\":[\"null\",\"boolean\"]}],\"enum\":[null,2,2.5,\"x\",true]}",
          TEXTS("null", "2", "true"), TEXTS("2.5", "\"x\"", "3"));
}

static void what_is_not_supported_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *schema;
        dsr1_status status;
        const char *says;
    } cases[] = {
        {"", DSR1_ERR_ARGUMENT, "line 1"},
        {"[]", DSR1_ERR_ARGUMENT, "object, true or false"},
        {"{\"a\":1,\"a\":2}", DSR1_ERR_ARGUMENT, "duplicate"},
        {"{\"const\":\"\\u0000\"}", DSR1_ERR_ARGUMENT, "line 1"},
        {"false", DSR1_ERR_ARGUMENT, "nothing fulfils"},
        {"{\"properties\":{\"a/b\":{\"minLenght\":1}}}", DSR1_ERR_UNSUPPORTED, "#/properties/a~1b/minLenght"},
        {"{\"properties\":{\"a\\nb\":{\"not\\n\":1}}}", DSR1_ERR_UNSUPPORTED, "#/properties/a%0Ab/not%0A: the keyword not?"},
        {"{\"items\":{\"not\":{}}}", DSR1_ERR_UNSUPPORTED, "#/items/not"},
        {"{\"type\":\"strin\"}", DSR1_ERR_ARGUMENT, "#/type"},
        {"{\"minLength\":-1}", DSR1_ERR_ARGUMENT, "#/minLength"},
        {"{\"format\":\"color\"}", DSR1_ERR_UNSUPPORTED, "the format color"},
        {"{\"pattern\":\"(?=a)\"}", DSR1_ERR_UNSUPPORTED, "#/pattern"},
        {"{\"$ref\":\"#\"}", DSR1_ERR_ARGUMENT, "without end"},
        {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"anyOf\":[{\"$ref\":\"#\"}]}}}", DSR1_ERR_ARGUMENT, "without end"},
        {"{\"$ref\":\"#/nowhere\"}", DSR1_ERR_ARGUMENT, "is not there"},
        {"{\"$ref\":\"other.json\"}", DSR1_ERR_UNSUPPORTED, "#/$ref"},
        {"{\"oneOf\":[{\"type\":\"number\"},{\"type\":\"integer\"}]}", DSR1_ERR_UNSUPPORTED, "schemas 0 and 1 may hold"},
        {"{\"oneOf\":[{\"type\":\"number\",\"minimum\":1e20},{\"type\":\"number\"}]}", DSR1_ERR_UNSUPPORTED, "may hold"},
        {"{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"a\":{}}},{\"type\":\"object\",\"minProperties\":1}]}",
         DSR1_ERR_UNSUPPORTED, "may hold"},
        {"{\"type\":\"object\",\"minProperties\":2}", DSR1_ERR_UNSUPPORTED, "#/minProperties"},
        {"{\"type\":\"array\",\"uniqueItems\":true}", DSR1_ERR_UNSUPPORTED, "#/uniqueItems"},
        {"{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", DSR1_ERR_ARGUMENT, "nothing fulfils"},
        {"{\"type\":\"string\",\"pattern\":\"^aaaa$\",\"maxLength\":3}", DSR1_ERR_ARGUMENT, "nothing fulfils"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", DSR1_ERR_ARGUMENT, "nothing fulfils"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct constraint *c;
        dsr1_error err = {0};
        dsr1_constraint from = {DSR1_CONSTRAINT_JSON_SCHEMA, &cases[i].schema, 1, false};
        dsr1_status status = constraint_open(table, &from, &c, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].says))
            fail_msg("%s: status %d, \"%s\"", cases[i].schema, status, err.message);
    }
}

/* 2^30 paths lead through these; each set of schemas is compiled once. */
static void shared_definitions_do_not_multiply(void **state)
{
    struct buffer schema = {0};
    buffer_string(&schema, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{");
    for (int i = 0; i < 30; i++)
        buffer_printf(&schema, "\"d%d\":{\"type\":\"array\",\"prefixItems\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":\"#/$defs/d%d\"}]},",
                      i, i + 1, i + 1);
    buffer_string(&schema, "\"d30\":{\"type\":\"null\"}}}");
    assert_true(admits(schema.data, "[[[],[]],[]]"));
    buffer_free(&schema);
}

static void entangled_schemas_are_refused(void **state)
{
    struct buffer schema = {0};
    buffer_string(&schema, "{\"allOf\":[");
    for (int i = 0; i < 24; i++)
        buffer_printf(&schema, "%s{\"anyOf\":[{\"minimum\":%d},{\"maximum\":%d},{\"minLength\":%d}]}", i ? "," : "", i, i, i);
    buffer_string(&schema, "]}");
    const char *text = schema.data;
    struct constraint *c;
    dsr1_error err = {0};
    dsr1_constraint from = {DSR1_CONSTRAINT_JSON_SCHEMA, &text, 1, false};
    assert_int_equal(constraint_open(table, &from, &c, &err), DSR1_ERR_LIMIT);
    assert_true(err.message[0]);
    buffer_free(&schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_to_their_bounds),
        cmocka_unit_test(strings_fulfil_all_that_is_said_of_them),
        cmocka_unit_test(objects_have_their_properties_in_order),
        cmocka_unit_test(arrays_lists_and_references),
        cmocka_unit_test(what_is_not_supported_is_refused_with_its_place),
        cmocka_unit_test(shared_definitions_do_not_multiply),
        cmocka_unit_test(entangled_schemas_are_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
