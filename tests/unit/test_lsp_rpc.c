/*
 * test_lsp_rpc.c - messages are classified, ids keep their type, document text is repaired
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buffer.h"
#include "base/rng.h"
#include "codepoint.h"
#include "json_repair.h"
#include "long_text.h"
#include "rpc.h"

#include <string.h>

static void check(const char *body, enum rpc_kind kind, int code, const char *id)
{
    struct rpc_message message;
    rpc_parse(&message, body, strlen(body));
    assert_int_equal(message.kind, kind);
    if (kind == RPC_BAD)
        assert_int_equal(message.code, code);
    assert_string_equal(message.id, id);
    rpc_free(&message);
}

static void messages_are_classified(void **state)
{
    check("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}", RPC_REQUEST, 0, "1");
    check("{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":[]}", RPC_NOTIFICATION, 0, "null");
    check("{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":null}", RPC_RESPONSE, 0, "\"a\"");
    check("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{}}", RPC_RESPONSE, 0, "null");
    check("{\"jsonrpc\":\"2.0\",\"id\":1}", RPC_BAD, RPC_INVALID_REQUEST, "1");
    check("{\"id\":1,\"method\":\"m\"}", RPC_BAD, RPC_INVALID_REQUEST, "1");
    check("{\"jsonrpc\":\"2.0\",\"id\":[],\"method\":\"m\"}", RPC_BAD, RPC_INVALID_REQUEST, "null");
    check("[]", RPC_BAD, RPC_INVALID_REQUEST, "null");
    check("", RPC_BAD, RPC_PARSE_ERROR, "null");
    check("null", RPC_BAD, RPC_PARSE_ERROR, "null");
    check("{} {}", RPC_BAD, RPC_PARSE_ERROR, "null");
}

static void ids_keep_their_type(void **state)
{
    check("{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"m\"}", RPC_REQUEST, 0, "0");
    check("{\"jsonrpc\":\"2.0\",\"id\":\"0\",\"method\":\"m\"}", RPC_REQUEST, 0, "\"0\"");
    check("{\"jsonrpc\":\"2.0\",\"id\":-1.5,\"method\":\"m\"}", RPC_REQUEST, 0, "-1.5");
}

static void repair(const char *json, size_t size, const char *want)
{
    struct buffer out = {0};
    json_repair(json, size, &out);
    assert_false(out.failed);
    assert_string_equal(size ? out.data : "", want);
    buffer_free(&out);
}
#define REPAIR(json, want) repair(json, sizeof json - 1, want)
#define BAD "\xef\xbf\xbd"

static void only_text_is_repaired(void **state)
{
    REPAIR("", "");
    REPAIR("{\"text\":\"\\ud800\"}", "{\"text\":\"\\ufffd\"}");
    REPAIR("{\"text\" : \"a\\udc00\\u0000b\"}", "{\"text\" : \"a\\ufffd\\ufffdb\"}");
    REPAIR("{\"text\":\"\\ud83d\\ude00\"}", "{\"text\":\"\\ud83d\\ude00\"}");
    REPAIR("{\"text\":\"\\ud83d\\ud83d\\ude00\"}", "{\"text\":\"\\ufffd\\ud83d\\ude00\"}");
    REPAIR("{\"text\":\"\\\\ud800\\\"\\ud800\"}", "{\"text\":\"\\\\ud800\\\"\\ufffd\"}");
    REPAIR("{\"uri\":\"\\ud800\",\"text\":\"\xff\"}", "{\"uri\":\"\\ud800\",\"text\":\"" BAD "\"}");
    REPAIR("{\"x\":\"text\",\"y\":\"\\ud800\"}", "{\"x\":\"text\",\"y\":\"\\ud800\"}");
    REPAIR("{\"text\":[\"\\ud800\"]}", "{\"text\":[\"\\ud800\"]}");
    REPAIR("[\"text\",\"\\ud800\"]", "[\"text\",\"\\ud800\"]");
}

static void broken_strings_are_copied_to_the_end(void **state)
{
    REPAIR("{\"text\":\"abc", "{\"text\":\"abc");
    REPAIR("{\"text\":\"abc\\", "{\"text\":\"abc\\");
    REPAIR("{\"text\":\"\\u12", "{\"text\":\"\\u12");
    REPAIR("{\"text\":\"\\ud8", "{\"text\":\"\\ud8");
    REPAIR("{\"text\"", "{\"text\"");
    REPAIR("\"", "\"");
}

/* Unicode 15, table 3-8 and its examples. */
static void each_maximal_subpart_becomes_one_replacement(void **state)
{
    REPAIR("{\"text\":\"\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64\"}",
           "{\"text\":\"a" BAD BAD BAD "b" BAD "c" BAD BAD "d\"}");
    REPAIR("{\"text\":\"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41\"}",
           "{\"text\":\"" BAD BAD BAD BAD BAD BAD BAD BAD "A\"}");
    REPAIR("{\"text\":\"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41\"}",
           "{\"text\":\"" BAD BAD BAD BAD BAD BAD BAD BAD "A\"}");
    REPAIR("{\"text\":\"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42\"}",
           "{\"text\":\"" BAD BAD BAD BAD BAD "A" BAD BAD "B\"}");
}

static void a_path_finds_members_of_members(void **state)
{
    json_t *json = json_loads("{\"a\": {\"b\": {\"c\": 5}}, \"d\": 1}", 0, NULL);
    assert_int_equal(json_integer_value(rpc_path(json, "a.b.c")), 5);
    assert_int_equal(json_integer_value(rpc_path(json, "d")), 1);
    assert_null(rpc_path(json, "a.x.c"));
    assert_null(rpc_path(json, "d.x"));
    assert_null(rpc_path(NULL, "a"));
    assert_int_equal(rpc_integer(json, "d", 7), 1);
    assert_int_equal(rpc_integer(json, "a", 7), 7);
    assert_null(rpc_string(json, "d"));
    json_decref(json);
}

/* Parts of strings, good ones first: all that JSON can spell, and what is wrong with it. */
static const char *const parts[] = {"x = 1;", "    return value", "\\n", "\\t", "\\\"", "\\\\", "\\/", "\\b\\f\\r", "\\u00e9", "\\u0041",
                                    "\\u20ac", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\x7f", "a",
                                    "\\ud83d\\ude00", "\\ud800", "\\u0000", "\\u12", "\\x", "\xff", "\xed\xa0\x80", "\n"};
enum { GOOD_PARTS = 16, PARTS = sizeof parts / sizeof *parts };

static void long_string(struct buffer *out, uint64_t *n, int n_parts, size_t size)
{
    buffer_string(out, "\"");
    for (size_t end = out->size + size; out->size < end;)
        buffer_string(out, parts[rng_at(7, (*n)++) % (uint64_t) n_parts]);
    buffer_string(out, "\"");
}

/* What is read by the short way is what jansson reads; returns whether it was read. */
static bool same_as_jansson(const struct buffer *body)
{
    json_t *want = json_loadb(body->data, body->size, 0, NULL), *got = long_text_parse(body->data, body->size);
    bool read = got != NULL;
    if (got)
        assert_true(json_equal(got, want));
    json_decref(want);
    json_decref(got);
    return read;
}

static void long_texts_are_what_jansson_reads(void **state)
{
    uint64_t n = 0;
    int n_read = 0;
    for (int turn = 0; turn < 300; turn++) {
        struct buffer body = {0};
        int n_parts = turn % 3 ? GOOD_PARTS : PARTS;
        buffer_string(&body, "{\"a\": [{\"text\":");
        long_string(&body, &n, n_parts, LONG_TEXT_BYTES + rng_at(7, n++) % 100);
        buffer_string(&body, "}, ");
        long_string(&body, &n, n_parts, rng_at(7, n++) % 40);
        buffer_string(&body, ", 1.5, null ], \"b\": ");
        long_string(&body, &n, GOOD_PARTS, LONG_TEXT_BYTES);
        buffer_string(&body, turn % 50 ? "}" : "} x");
        n_read += same_as_jansson(&body);
        buffer_free(&body);
    }
    assert_true(n_read > 10); /* short strings with \\u are left to jansson */
}

static void check_long(const char *before, const char *behind, bool want)
{
    struct buffer body = {0};
    buffer_string(&body, before);
    for (int i = 0; i < LONG_TEXT_BYTES; i++)
        buffer_string(&body, "x");
    buffer_string(&body, behind);
    assert_int_equal(same_as_jansson(&body), want);
    buffer_free(&body);
}

static void what_looks_like_a_stand_in_is_left_to_jansson(void **state)
{
    check_long("{\"text\":\"", "\"}", true);
    check_long("{\"text\":\"", "\", \"text\": \"short\"}", true);     /* the last one counts */
    check_long("{\"a\":\"@dsr1-long-text-0\", \"text\":\"", "\"}", false);
    check_long("{\"a\":\"\\u0040dsr1-long-text-0\", \"text\":\"", "\"}", false);
    check_long("{\"", "\" : 1}", false);                                /* a key */
    check_long("{\"text\":\"", "", false);
    check_long("{\"text\":\"", "\\\"}", false);
    check_long("{\"text\":\"", "\\\\\"}", true);
    check_long("[\"", "\"]", true);
    check_long("\"", "\"", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_classified),
        cmocka_unit_test(ids_keep_their_type),
        cmocka_unit_test(only_text_is_repaired),
        cmocka_unit_test(broken_strings_are_copied_to_the_end),
        cmocka_unit_test(each_maximal_subpart_becomes_one_replacement),
        cmocka_unit_test(a_path_finds_members_of_members),
        cmocka_unit_test(long_texts_are_what_jansson_reads),
        cmocka_unit_test(what_looks_like_a_stand_in_is_left_to_jansson),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
