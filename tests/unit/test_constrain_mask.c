/*
 * test_constrain_mask.c - claims about core/constrain: masks are exact, states can be copied, text is healed and forced
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/constraint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>

#include "constrain_answers.h"
#include "shipped_tokens.h"

static struct constraint *open_text(dsr1_constraint_kind kind, const char *text)
{
    struct constraint *c;
    dsr1_error err = {0};
    dsr1_constraint from = {kind, &text, text != NULL, false};
    if (constraint_open(table, &from, &c, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return c;
}

static struct constraint_state *begin(struct constraint *c)
{
    struct constraint_state *state;
    assert_int_equal(constraint_begin(c, &state, NULL), DSR1_OK);
    return state;
}

static bool has(const uint64_t *mask, int32_t token)
{
    return mask[token / 64] >> (token % 64) & 1;
}

/* ------------------------------------------------------------------ */
/* Masks                                                               */
/* ------------------------------------------------------------------ */

/* Each token is tried: the mask has it exactly where it is accepted and what then is left fits. */
static void check_mask(struct constraint_state *at, struct constraint_state *trial, int budget)
{
    const uint64_t *mask = constraint_mask(at, budget);
    assert_non_null(mask);
    for (int32_t t = 0; t < tokenizer_n_vocab(file.tokenizer); t++) {
        constraint_copy(trial, at);
        bool goes = constraint_accept(trial, t);
        if (goes && budget >= 0 && !tokenizer_is_end(file.tokenizer, t))
            goes = constraint_left(trial) <= budget - 2;
        if (goes != has(mask, t))
            fail_msg("token %d, budget %d: mask %d, accepted %d", t, budget, has(mask, t), goes);
    }
}

static void check_masks(struct constraint *c, int steps)
{
    struct answers a;
    struct constraint_state *at = begin(c), *trial = begin(c);
    answers_open(&a, file.tokenizer, table, 11);
    for (int i = 0; i < steps && !constraint_complete(at); i++) {
        int left = constraint_left(at);
        check_mask(at, trial, -1);
        check_mask(at, trial, left + 1);
        check_mask(at, trial, left + 3);
        check_mask(at, trial, left + 9);
        assert_true(constraint_accept(at, answers_pick(&a, constraint_mask(at, left + 12))));
    }
    answers_close(&a);
    constraint_end(trial);
    constraint_end(at);
}

static void a_mask_has_what_is_accepted_and_nothing_else(void **state)
{
    static const struct {
        dsr1_constraint_kind kind;
        const char *text;
    } kinds[] = {
        {DSR1_CONSTRAINT_JSON, NULL},
        {DSR1_CONSTRAINT_REGEX, "(a{2,40}b){2,30}c|[^a]{0,100}"},
        {DSR1_CONSTRAINT_REGEX, "[\\s\\S]*x"},
        {DSR1_CONSTRAINT_GBNF, "root ::= \"[\" root{0,3} \"]\" | [a-z ]{1,20} | \"\xe2\x82\xac\""},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct constraint *c = open_text(kinds[i].kind, kinds[i].text);
        check_masks(c, 12);
        constraint_close(c);
    }
}

static void bytes_that_no_token_has_do_not_lead_astray(void **state)
{
    /* U+0004 and U+40000 begin with bytes that the vocabulary has in no token of one byte. */
    const char *hopeless = "\\x04", *partly = "[\\x04\\x06a]{3}|\\x{40000}";
    struct constraint *c;
    dsr1_error err = {0};
    dsr1_constraint from = {DSR1_CONSTRAINT_REGEX, &hopeless, 1, false};
    assert_int_equal(constraint_open(table, &from, &c, &err), DSR1_ERR_ARGUMENT);
    c = open_text(DSR1_CONSTRAINT_REGEX, partly);
    struct answers a;
    answers_open(&a, file.tokenizer, table, 1);
    for (int i = 0; i < 20; i++) {
        struct answer answer = answer_make(&a, c, 4);
        assert_null(a.wrong);
        assert_string_equal(answer.text.data, "aaa");
        buffer_free(&answer.text);
    }
    answers_close(&a);
    constraint_close(c);
}

static void control_tokens_and_marks_never_come(void **state)
{
    struct constraint *c = open_text(DSR1_CONSTRAINT_REGEX, "[\\s\\S]*");
    struct constraint_state *at = begin(c);
    const uint64_t *mask = constraint_mask(at, -1);
    int n = 0, n_ends = 0;
    for (int32_t t = 0; t < tokenizer_n_vocab(file.tokenizer); t++) {
        bool text = tokenizer_token_bytes(file.tokenizer, t, false, NULL, 0) > 0;
        if (has(mask, t) && !text)
            assert_true(tokenizer_is_end(file.tokenizer, t));
        n_ends += tokenizer_is_end(file.tokenizer, t) && has(mask, t);
        n += has(mask, t);
    }
    assert_true(n > 48000 && n_ends > 0);
    assert_false(has(mask, tokenizer_find(file.tokenizer, "<|im_start|>")));
    constraint_end(at);
    constraint_close(c);
}

static void a_machine_that_grew_is_built_anew_unseen(void **state)
{
    struct constraint *c = open_text(DSR1_CONSTRAINT_JSON, NULL);
    struct answers a;
    answers_open(&a, file.tokenizer, table, 3);
    for (int i = 0; i < 12; i++) {
        struct constraint_state *other = begin(c);
        struct answer answer = answer_make(&a, c, 1500);
        if (a.wrong)
            fail_msg("%s", a.wrong);
        json_t *value = json_loadb(answer.text.data, answer.text.size, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
        assert_non_null(value);
        json_decref(value);
        buffer_free(&answer.text);
        constraint_end(other);
    }
    answers_close(&a);
    constraint_close(c);
}

/* How many of the text's tokens are accepted, each in the mask; -1: all of them, and the answer may end after each. */
static int accepts(struct constraint *c, const char *text, int budget)
{
    int32_t ids[200];
    ptrdiff_t n = tokenizer_encode(file.tokenizer, text, strlen(text), 0, ids, 200);
    struct constraint_state *at = begin(c);
    int i = 0;
    for (; i < n; i++) {
        const uint64_t *mask = constraint_mask(at, budget);
        bool allowed = has(mask, ids[i]);
        assert_int_equal(constraint_accept(at, ids[i]), allowed);
        if (!allowed)
            break;
        assert_int_equal(has(constraint_mask(at, budget), tokenizer_eos(file.tokenizer)), constraint_can_end(at));
    }
    bool all = i == n && constraint_can_end(at);
    constraint_end(at);
    return all ? -1 : i;
}

static void an_open_end_may_come_anywhere(void **state)
{
    const char *text = "root ::= \"(\" [a-z ]* \")\" root";
    const char *closed = "root ::= \"(\" [a-z ]* \")\" root?";
    struct constraint *open, *c = open_text(DSR1_CONSTRAINT_GBNF, closed);
    dsr1_constraint from = {.kind = DSR1_CONSTRAINT_GBNF, .texts = &closed, .n_texts = 1, .open_end = true};
    assert_int_equal(constraint_open(table, &from, &open, NULL), DSR1_OK);
    assert_ptr_not_equal(open, c);                  /* the same text, and another constraint */
    assert_int_equal(accepts(c, "(some words)", 40), -1);
    assert_true(accepts(c, "(some words", 40) >= 0);
    assert_int_equal(accepts(open, "(some words", 40), -1);
    assert_int_equal(accepts(open, "(some words and more words and more", 3), -1);
    assert_int_equal(accepts(open, "(", 1), -1);
    assert_true(accepts(open, "(some words))", 40) >= 0);
    assert_int_equal(accepts(open, ")", 40), 0);
    assert_int_equal(constraint_shortest(open), 0);
    /* A byte that is certain is not forced: the answer may stop before it. */
    struct constraint_state *at = begin(open);
    int32_t forced[4];
    assert_int_equal(constraint_forced(at, forced, 4, -1), 0);
    constraint_end(at);
    constraint_close(open);
    constraint_close(c);
    /* What never ends cannot be asked for, whether it has to or not. */
    from.texts = &text;
    assert_int_equal(constraint_open(table, &from, &c, NULL), DSR1_ERR_ARGUMENT);
}

/* ------------------------------------------------------------------ */
/* Forced tokens, healing                                              */
/* ------------------------------------------------------------------ */

static void what_is_certain_is_forced_as_the_tokenizer_cuts_it(void **state)
{
    const char *text = "The answer to this question is (yes|no)";
    struct constraint *c = open_text(DSR1_CONSTRAINT_REGEX, text);
    struct constraint_state *at = begin(c);
    int32_t forced[32], wanted[32];
    ptrdiff_t n_wanted = tokenizer_encode(file.tokenizer, text, strlen("The answer to this question is"), 0, wanted, 32);
    int n = constraint_forced(at, forced, 32, -1);
    assert_int_equal(n, n_wanted);
    assert_memory_equal(forced, wanted, (size_t) n * sizeof *forced);
    assert_int_equal(constraint_forced(at, forced, 2, -1), 2);
    for (int i = 0; i < n; i++)
        assert_true(constraint_accept(at, wanted[i]));
    assert_int_equal(constraint_forced(at, forced, 32, -1), 0);
    constraint_end(at);
    constraint_close(c);
}

static void healed_text_begins_with_the_prefix(void **state)
{
    struct constraint *inner = open_text(DSR1_CONSTRAINT_REGEX, "r(ld|k)s?"), *c;
    struct answers a;
    answers_open(&a, file.tokenizer, table, 5);
    assert_int_equal(constraint_open_prefix(table, " wo", 3, inner, &c, NULL), DSR1_OK);
    constraint_close(inner);
    bool joined = false;
    for (int i = 0; i < 200; i++) {
        a.forced = i % 2;
        struct answer answer = answer_make(&a, c, 8);
        if (a.wrong)
            fail_msg("%s", a.wrong);
        bool right = false;
        for (int k = 0; k < 4; k++)
            right |= strcmp(answer.text.data, (const char *[]){" world", " worlds", " work", " works"}[k]) == 0;
        if (!right)
            fail_msg("\"%s\"", answer.text.data);
        joined |= answer.n_tokens <= 2;
        buffer_free(&answer.text);
    }
    assert_true(joined);        /* one token over the seam */
    constraint_close(c);

    assert_int_equal(constraint_open_prefix(table, " hel", 4, NULL, &c, NULL), DSR1_OK);
    struct constraint_state *at = begin(c);
    const uint64_t *mask = constraint_mask(at, -1);
    for (int32_t t = 0; t < tokenizer_n_vocab(file.tokenizer); t++) {
        char bytes[256];
        size_t size = tokenizer_token_bytes(file.tokenizer, t, false, bytes, sizeof bytes);
        size_t shared = size < 4 ? size : 4;
        if (size <= sizeof bytes)
            assert_int_equal(has(mask, t), size > 0 && memcmp(bytes, " hel", shared) == 0);
    }
    assert_int_equal(constraint_forced(at, (int32_t[4]){0}, 4, -1), 0);     /* " h", "el" would be no word's beginning */
    assert_false(constraint_is_free(at));
    int32_t hello;
    assert_int_equal(tokenizer_encode(file.tokenizer, " hello", 6, 0, &hello, 1), 1);
    assert_true(constraint_accept(at, hello));
    assert_true(constraint_is_free(at));
    constraint_end(at);
    constraint_close(c);
    answers_close(&a);
}

/* ------------------------------------------------------------------ */
/* Refusals                                                            */
/* ------------------------------------------------------------------ */

static void what_cannot_be_read_is_refused_by_name(void **state)
{
    static const struct {
        dsr1_constraint_kind kind;
        const char *text;
        dsr1_status status;
        const char *says;
    } cases[] = {
        {DSR1_CONSTRAINT_REGEX, "(a", DSR1_ERR_ARGUMENT, "not closed"},
        {DSR1_CONSTRAINT_REGEX, "a)", DSR1_ERR_ARGUMENT, "byte 2"},
        {DSR1_CONSTRAINT_REGEX, "[b-a]", DSR1_ERR_ARGUMENT, "out of order"},
        {DSR1_CONSTRAINT_REGEX, "a{3,2}", DSR1_ERR_ARGUMENT, "out of order"},
        {DSR1_CONSTRAINT_REGEX, "*", DSR1_ERR_ARGUMENT, "nothing to repeat"},
        {DSR1_CONSTRAINT_REGEX, "a\\", DSR1_ERR_ARGUMENT, "backslash"},
        {DSR1_CONSTRAINT_REGEX, "\xff", DSR1_ERR_ARGUMENT, "UTF-8"},
        {DSR1_CONSTRAINT_REGEX, "(a)\\1", DSR1_ERR_UNSUPPORTED, "references"},
        {DSR1_CONSTRAINT_REGEX, "(?=a)b", DSR1_ERR_UNSUPPORTED, "look around"},
        {DSR1_CONSTRAINT_REGEX, "\\bword", DSR1_ERR_UNSUPPORTED, "word boundaries"},
        {DSR1_CONSTRAINT_REGEX, "\\p{L}", DSR1_ERR_UNSUPPORTED, "Unicode properties"},
        {DSR1_CONSTRAINT_REGEX, "a{99999999}", DSR1_ERR_LIMIT, "too long"},
        {DSR1_CONSTRAINT_REGEX, "a[^\\s\\S]", DSR1_ERR_ARGUMENT, "nothing fulfils"},
        {DSR1_CONSTRAINT_GBNF, "", DSR1_ERR_ARGUMENT, "no rule root"},
        {DSR1_CONSTRAINT_GBNF, "root ::= a", DSR1_ERR_ARGUMENT, "no definition of rule a"},
        {DSR1_CONSTRAINT_GBNF, "root ::= root \"a\" | \"b\"", DSR1_ERR_ARGUMENT, "rule root begins with itself"},
        {DSR1_CONSTRAINT_GBNF, "root ::= \"x\" a\na ::= b? a \"y\"\nb ::= \"z\"", DSR1_ERR_ARGUMENT, "rule a begins"},
        {DSR1_CONSTRAINT_GBNF, "root ::= \"a\" root", DSR1_ERR_ARGUMENT, "nothing fulfils"},
        {DSR1_CONSTRAINT_GBNF, "root ::= \"a\nroot ::= \"b\"", DSR1_ERR_ARGUMENT, "line"},
        {DSR1_CONSTRAINT_GBNF, "root = \"a\"", DSR1_ERR_ARGUMENT, "::="},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct constraint *c;
        dsr1_error err = {0};
        dsr1_constraint from = {cases[i].kind, &cases[i].text, 1, false};
        dsr1_status status = constraint_open(table, &from, &c, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].says))
            fail_msg("\"%s\": status %d, \"%s\"", cases[i].text, status, err.message);
        assert_null(c);
    }
}

/* Whatever is asked for comes to an end: an answer that obeys, or an error. */
static void hostile_expressions_stay_within_bounds(void **state)
{
    static const char *const texts[] = {
        "((((a{0,1000}){0,1000}){0,1000}){0,1000}){0,1000}", "(a|aa|aaa|aaaa)*{1000}", "(.*a.{500})|(.*b.{500})",
        "([ab]*a[ab]{300}){3}", "((a?){500}a{500}){500}", "(x+x+)+y", "(.{0,100000}y){0,1000}",
        "((a|b|c|d|e|f|g)*(a|b|c)(a|b){200}){1,1000}", "(((((.*){9,99}){9,99}){9,99}){9,99}){9,99}",
        "(\\w{1,300}\\s?){0,300}(\\w{1,300}\\s?){0,300}(\\w{1,300}\\s?){0,300}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct constraint *c;
        dsr1_error err = {0};
        dsr1_constraint from = {DSR1_CONSTRAINT_REGEX, &texts[i], 1, false};
        if (constraint_open(table, &from, &c, &err) < 0) {
            assert_true(err.message[0]);
            continue;
        }
        struct answers a;
        answers_open(&a, file.tokenizer, table, 2);
        struct answer answer = answer_make(&a, c, 6);
        if (a.wrong && strcmp(a.wrong, "there is no mask") != 0)
            fail_msg("%s: %s", texts[i], a.wrong);
        buffer_free(&answer.text);
        answers_close(&a);
        constraint_close(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mask_has_what_is_accepted_and_nothing_else),
        cmocka_unit_test(bytes_that_no_token_has_do_not_lead_astray),
        cmocka_unit_test(control_tokens_and_marks_never_come),
        cmocka_unit_test(a_machine_that_grew_is_built_anew_unseen),
        cmocka_unit_test(an_open_end_may_come_anywhere),
        cmocka_unit_test(what_is_certain_is_forced_as_the_tokenizer_cuts_it),
        cmocka_unit_test(healed_text_begins_with_the_prefix),
        cmocka_unit_test(what_cannot_be_read_is_refused_by_name),
        cmocka_unit_test(hostile_expressions_stay_within_bounds),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
