/*
 * test_constrain_answers.c - claims about core/constrain: whatever is sampled, the answer obeys and is complete
 *
 * Each answer picks at random among the tokens that the masks allow; PCRE2, jansson and
 * plain comparison judge it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/constraint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <jansson.h>
#include <pcre2.h>

#include "constrain_answers.h"
#include "tokenizer_files.h"

static const char *const vocabularies[] = {"llama-spm", "gpt-2", "qwen2"};
enum { N_VOCABULARIES = sizeof vocabularies / sizeof *vocabularies, N_FILES = N_VOCABULARIES + 1 };
static struct tokenizer_file files[N_FILES];
static struct token_table *tables[N_FILES];

static int open_all(void **state)
{
    dsr1_error err = {0};
    for (int i = 0; i < N_FILES; i++) {
        files[i] = i < N_VOCABULARIES ? open_vocabulary(vocabularies[i])
                                      : open_tokenizer("models/dsr1-default.gguf");
        assert_int_equal(token_table_open(files[i].tokenizer, &tables[i], &err), DSR1_OK);
    }
    return 0;
}

static int close_all(void **state)
{
    for (int i = 0; i < N_FILES; i++) {
        token_table_close(tables[i]);
        close_tokenizer(&files[i]);
    }
    return 0;
}

typedef bool judge_fn(const char *text, size_t size, const void *user);

/* n answers of each vocabulary within `budget` tokens, judged one by one. */
static void check(const dsr1_constraint *from, int n, int budget, judge_fn *judge, const void *user)
{
    for (int i = 0; i < N_FILES; i++) {
        struct constraint *c;
        dsr1_error err = {0};
        struct answers a;
        if (constraint_open(tables[i], from, &c, &err) < 0)
            fail_msg("%s: %s", from->n_texts ? from->texts[0] : "", err.message);
        answers_open(&a, files[i].tokenizer, tables[i], 7);
        int room = budget ? budget : constraint_shortest(c) + 1;
        for (int k = 0; k < n; k++) {
            a.forced = k % 2;
            struct answer answer = answer_make(&a, c, room);
            if (a.wrong)
                fail_msg("vocabulary %d, %s: %s after \"%s\"", i, from->n_texts ? from->texts[0] : "json", a.wrong,
                         answer.text.data);
            if (!answer.complete || !judge(answer.text.data, answer.text.size, user))
                fail_msg("vocabulary %d, %s: wrong answer \"%s\"", i, from->n_texts ? from->texts[0] : "json",
                         answer.text.data);
            buffer_free(&answer.text);
        }
        answers_close(&a);
        constraint_close(c);
    }
}

/* ------------------------------------------------------------------ */
/* Choices                                                             */
/* ------------------------------------------------------------------ */

struct texts {
    const char *const *texts;
    size_t n;
    bool *seen;
};

static bool is_choice(const char *text, size_t size, const void *user)
{
    const struct texts *t = user;
    for (size_t i = 0; i < t->n; i++)
        if (strlen(t->texts[i]) == size && memcmp(t->texts[i], text, size) == 0) {
            t->seen[i] = true;
            return true;
        }
    return false;
}

static void an_answer_is_one_of_the_choices_and_each_can_be(void **state)
{
    static const char *const texts[] = {"yes", "no", "yes and no", "perhaps", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "y", "y"};
    bool seen[7] = {false};
    struct texts t = {texts, 7, seen};
    dsr1_constraint from = {DSR1_CONSTRAINT_CHOICES, texts, 7, false};
    check(&from, 200, 12, is_choice, &t);
    for (int i = 0; i < 6; i++)
        assert_true(seen[i]);
    check(&from, 5, 0, is_choice, &t);
}

static void ten_thousand_choices_are_quick(void **state)
{
    static char texts[10000][24];
    static const char *at[10000];
    static bool seen[10000];
    struct texts t = {at, 10000, seen};
    for (int i = 0; i < 10000; i++) {
        snprintf(texts[i], sizeof texts[i], "label %d of many", 7919 * i % 100003);
        at[i] = texts[i];
    }
    dsr1_constraint from = {DSR1_CONSTRAINT_CHOICES, at, 10000, false};
    check(&from, 50, 40, is_choice, &t);
}

/* ------------------------------------------------------------------ */
/* JSON                                                                */
/* ------------------------------------------------------------------ */

static bool is_json(const char *text, size_t size, const void *user)
{
    json_error_t err;
    json_t *root = json_loadb(text, size, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &err);
    json_decref(root);
    if (!root)
        print_message("%s\n", err.text);
    return root != NULL;
}

static void json_is_always_whole(void **state)
{
    dsr1_constraint from = {DSR1_CONSTRAINT_JSON, NULL, 0, false};
    check(&from, 100, 40, is_json, NULL);
    check(&from, 100, 7, is_json, NULL);
    check(&from, 20, 0, is_json, NULL);
    check(&from, 10, 400, is_json, NULL);
}

/* ------------------------------------------------------------------ */
/* Expressions                                                         */
/* ------------------------------------------------------------------ */

static bool matches(const char *text, size_t size, const void *user)
{
    int code;
    PCRE2_SIZE offset;
    const char *pattern = user;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR) pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED, &code, &offset, NULL);
    assert_non_null(re);
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(re, NULL);
    int rc = pcre2_match(re, (PCRE2_SPTR) text, size, 0, 0, data, NULL);
    if (rc < 0)
        print_message("pcre2: %d\n", rc);
    pcre2_match_data_free(data);
    pcre2_code_free(re);
    return rc >= 0;
}

static void what_an_expression_allows_pcre2_matches(void **state)
{
    static const char *const patterns[] = {
        "[a-z]{3,5}", "(foo|ba[rz])+", "\\d{4}-\\d{2}-\\d{2}", "[^\\x00-\\x7f]{1,4}", "a{0,300}b", "(a|b)*c(a|b){10}",
        "(?:[01]?\\d|2[0-3]):[0-5]\\d", "[\\w.+-]+@[\\w-]+\\.[a-z]{2,6}", ".{2,20}", "(x{2,4}y){3,100}",
        "((a{2,40}b){2,30}c){2,3}", "[\\s\\S]{0,30}", "\\S+( \\S+){2,5}", "^abc$|^def", "[[:upper:]][[:lower:]]*",
        "\\x{1F600}|\\u{1F601}?", "a|", "(ab?c*?)+d{2,}", "[^a]", "[]a]+", "\\[\\]\\{2\\}"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        dsr1_constraint from = {DSR1_CONSTRAINT_REGEX, &patterns[i], 1, false};
        if (strstr(patterns[i], "\\u{"))
            continue;           /* PCRE2 does not know it */
        check(&from, 20, 200, matches, patterns[i]);
        check(&from, 5, 0, matches, patterns[i]);
    }
}

/* ------------------------------------------------------------------ */
/* Grammars                                                            */
/* ------------------------------------------------------------------ */

/* Parentheses in balance, and letters. */
static bool is_balanced(const char *text, size_t size, const void *user)
{
    int depth = 0;
    for (size_t i = 0; i < size; i++) {
        depth += (text[i] == '(') - (text[i] == ')');
        if (depth < 0 || !strchr("()xy", text[i]))
            return false;
    }
    return depth == 0;
}

static void grammars_recurse(void **state)
{
    static const char *const texts[] = {
        "root ::= item*\nitem ::= \"(\" root \")\" | [xy]",
        "root ::= \"(\" root \")\" root | \"x\" root | \"\" # right recursion\n",
        "root ::= pair{1,3}\n\npair ::= open\n  | \"y\"\nopen ::= (\n \"(\" pair? \")\" )",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        dsr1_constraint from = {DSR1_CONSTRAINT_GBNF, &texts[i], 1, false};
        check(&from, 50, 30, is_balanced, NULL);
        check(&from, 5, 0, is_balanced, NULL);
        check(&from, 5, 300, is_balanced, NULL);
    }
}

static void a_grammar_of_json_writes_json(void **state)
{
    static const char *const text =
        "root   ::= object\n"
        "value  ::= object | array | string | number | (\"true\" | \"false\" | \"null\") ws\n"
        "object ::= \"{\" ws ( string \":\" ws value (\",\" ws string \":\" ws value)* )? \"}\" ws\n"
        "array  ::= \"[\" ws ( value (\",\" ws value)* )? \"]\" ws\n"
        "string ::= \"\\\"\" ( [^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u00\" [1-7] [0-9a-fA-F]) )* \"\\\"\" ws\n"
        "number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ([eE] [-+]? [1-9])? ws\n"
        "ws     ::= | \" \" | \"\\n\" [ \\t]{0,20}\n";
    dsr1_constraint from = {DSR1_CONSTRAINT_GBNF, &text, 1, false};
    check(&from, 60, 60, is_json, NULL);
    check(&from, 10, 0, is_json, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_one_of_the_choices_and_each_can_be),
        cmocka_unit_test(ten_thousand_choices_are_quick),
        cmocka_unit_test(json_is_always_whole),
        cmocka_unit_test(what_an_expression_allows_pcre2_matches),
        cmocka_unit_test(grammars_recurse),
        cmocka_unit_test(a_grammar_of_json_writes_json),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
