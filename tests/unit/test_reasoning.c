/*
 * test_reasoning.c - claims about core/text/reasoning.c: an answer is taken apart alike, however it arrives
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/reasoning.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

struct parts {
    struct buffer thought, answer;
    bool over;                  /* the reasoning was closed, or there was none */
};

static void parts_free(struct parts *p)
{
    buffer_free(&p->thought);
    buffer_free(&p->answer);
}

static bool is_text(const struct buffer *buffer, const char *wanted)
{
    return buffer->size == strlen(wanted) && (buffer->size == 0 || memcmp(buffer->data, wanted, buffer->size) == 0);
}

/* text in pieces that end at cut1, cut2 and its end. */
static void take_apart(struct parts *p, bool inside, const char *text, size_t cut1, size_t cut2)
{
    struct reasoning r;
    *p = (struct parts){.over = false};
    reasoning_begin(&r, inside);
    reasoning_feed(&r, text, cut1, &p->thought, &p->answer);
    reasoning_feed(&r, text + cut1, cut2 - cut1, &p->thought, &p->answer);
    reasoning_feed(&r, text + cut2, strlen(text) - cut2, &p->thought, &p->answer);
    p->over = reasoning_end(&r, &p->thought, &p->answer);
    assert_false(p->thought.failed || p->answer.failed);
}

static void check(bool inside, const char *text, const char *thought, const char *answer, bool over)
{
    size_t size = strlen(text);
    for (size_t cut1 = 0; cut1 <= size; cut1++) {
        for (size_t cut2 = cut1; cut2 <= size; cut2++) {
            struct parts p;
            take_apart(&p, inside, text, cut1, cut2);
            if (!is_text(&p.thought, thought) || !is_text(&p.answer, answer) || p.over != over)
                fail_msg("\"%s\" cut at %zu, %zu: thought \"%s\", answer \"%s\", %s", text, cut1, cut2,
                         p.thought.size ? p.thought.data : "", p.answer.size ? p.answer.data : "",
                         p.over ? "over" : "cut off");
            parts_free(&p);
        }
    }
}

static void reasoning_and_answer_are_separated(void **state)
{
    check(false, "<think>\nhm, 2\n</think>\n\nfour", "hm, 2", "four", true);
    check(false, "<think>hm</think>four", "hm", "four", true);
    check(false, "<think>\n\na\n\nb\n\n</think>\nfour\n\n", "\na\n\nb\n", "four\n\n", true);
}

static void a_prompt_that_ends_in_think_begins_inside(void **state)
{
    check(true, "hm\n</think>\n\nfour", "hm", "four", true);
    check(true, "hm</think>four", "hm", "four", true);
    check(true, "<think>\nhm\n</think>\n\nfour", "hm", "four", true);
    check(true, "<thin\n</think>\n\nfour", "<thin", "four", true);
}

static void text_without_tags_is_the_answer(void **state)
{
    check(false, "four", "", "four", true);
    check(false, "\n\nfour", "", "\n\nfour", true);
    check(false, "", "", "", true);
    check(false, "a < b", "", "a < b", true);
    check(false, "<thinking> is hard", "", "<thinking> is hard", true);
    check(false, "say <think> a </think>", "", "say <think> a </think>", true);
    check(false, "</think>\n\nfour", "", "</think>\n\nfour", true);
}

static void reasoning_that_is_not_closed_is_cut_off(void **state)
{
    check(false, "<think>\nhm", "hm", "", false);
    check(false, "<think>\nhm\n", "hm\n", "", false);
    check(false, "<think>", "", "", false);
    check(false, "<think>\nhm\n</thin", "hm\n</thin", "", false);
    check(true, "hm", "hm", "", false);
    check(true, "", "", "", false);
    check(true, "<thi", "<thi", "", false);
}

static void text_that_only_begins_like_a_tag_stays(void **state)
{
    check(false, "<th", "", "<th", true);
    check(false, "<", "", "<", true);
    check(true, "a </b> </ think> <</think>x", "a </b> </ think> <", "x", true);
    check(true, "\n\n\n<\n\n</think>", "\n\n\n<\n", "", true);
    check(true, "a\n</\n</think>x", "a\n</", "x", true);
    check(true, "</thin</think>x", "</thin", "x", true);
    check(true, "<\n</th\n</think>x", "<\n</th", "x", true);
}

static void the_first_close_counts_and_inner_tags_are_text(void **state)
{
    check(false, "<think>a<think>b</think>c</think>d", "a<think>b", "c</think>d", true);
    check(false, "<think>\na\n</think>\n\n<think>b</think>", "a", "<think>b</think>", true);
}

static void reasoning_may_be_empty(void **state)
{
    check(false, "<think>\n\n</think>\n\nfour", "", "four", true);
    check(false, "<think>\n</think>four", "", "four", true);
    check(false, "<think></think>four", "", "four", true);
    check(true, "\n</think>\n\nfour", "", "four", true);
    check(true, "</think>\n\nfour", "", "four", true);
    check(true, "</think>", "", "", true);
    check(true, "</think>\n\n", "", "", true);
}

/* Zeros and bytes above 127 are bytes like others. */
static void any_byte_may_stand_in_either_part(void **state)
{
    struct reasoning r;
    struct parts p = {.over = false};
    static const char text[] = "a\0\xff\n</think>\n\0b";
    reasoning_begin(&r, true);
    for (size_t i = 0; i + 1 < sizeof text; i++)
        reasoning_feed(&r, text + i, 1, &p.thought, &p.answer);
    assert_true(reasoning_end(&r, &p.thought, &p.answer));
    assert_int_equal(p.thought.size, 3);
    assert_memory_equal(p.thought.data, "a\0\xff", 3);
    assert_int_equal(p.answer.size, 2);
    assert_memory_equal(p.answer.data, "\0b", 2);
    parts_free(&p);
}

/* A tag's beginning is all that waits: at most eight bytes, and none behind the tag. */
static void text_is_handed_on_at_once(void **state)
{
    struct reasoning r;
    struct parts p = {.over = false};
    size_t fed = 0;
    static const char text[] = "hm\n</thi, <b>\n\n</thinkx </think>\nfour </think> five";
    reasoning_begin(&r, true);
    for (size_t i = 0; i + 1 < sizeof text; i++, fed++) {
        reasoning_feed(&r, text + i, 1, &p.thought, &p.answer);
        assert_true(p.answer.size > 0 || p.thought.size + 9 + 1 >= fed);
    }
    assert_string_equal(p.answer.data, "four </think> five");
    parts_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasoning_and_answer_are_separated),
        cmocka_unit_test(a_prompt_that_ends_in_think_begins_inside),
        cmocka_unit_test(text_without_tags_is_the_answer),
        cmocka_unit_test(reasoning_that_is_not_closed_is_cut_off),
        cmocka_unit_test(text_that_only_begins_like_a_tag_stays),
        cmocka_unit_test(the_first_close_counts_and_inner_tags_are_text),
        cmocka_unit_test(reasoning_may_be_empty),
        cmocka_unit_test(any_byte_may_stand_in_either_part),
        cmocka_unit_test(text_is_handed_on_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
