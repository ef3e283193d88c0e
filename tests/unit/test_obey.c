/*
 * test_obey.c - claims about answers that must be something: core/serve/obey.c in an engine
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "engine_answers.h"

#include <math.h>

struct spoken {
    struct answer answer;       /* first, so that note() may take it */
    char text[1024], reasoning[1024];
    size_t n_text, n_reasoning;
};

static void append(char *to, size_t *n, const char *from, size_t size)
{
    assert_true(*n + size < 1024);
    if (size)
        memcpy(to + *n, from, size);
    *n += size;
    to[*n] = 0;
}

static void hear(const dsr1_event *event, void *user)
{
    struct spoken *s = user;
    note(event, &s->answer);
    append(s->text, &s->n_text, event->text, event->text_size);
    append(s->reasoning, &s->n_reasoning, event->reasoning, event->reasoning_size);
}

static dsr1_request constrained(struct spoken *s, dsr1_constraint_kind kind, const char *const *texts, size_t n)
{
    memset(s, 0, sizeof *s);
    dsr1_request r = request(&s->answer, 60);
    r.on_event = hear;
    r.ignore_end = false;
    r.constraint = (dsr1_constraint){kind, texts, n, false};
    r.temperature = 2;
    return r;
}

static bool is_one_of(const char *text, const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(text, texts[i]) == 0)
            return true;
    return false;
}

static const char *const choices[] = {"bug", "bugfix", "praise", "question about the weather"};
enum { CHOICES = 4 };

static void an_answer_is_one_of_the_choices(void **state)
{
    (void) state;
    struct spoken s;
    int seen = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        dsr1_request r = constrained(&s, DSR1_CONSTRAINT_CHOICES, choices, CHOICES);
        r.seed = seed;
        ask_alone(&r, (dsr1_engine_options){.n_threads = 1});
        assert_int_equal(s.answer.finish, DSR1_FINISH_END);
        assert_true(is_one_of(s.text, choices, CHOICES));
        for (int i = 0; i < CHOICES; i++)
            seen |= (strcmp(s.text, choices[i]) == 0) << i;
    }
    assert_int_equal(seen, 15);
}

static void an_answer_is_whole_within_its_tokens(void **state)
{
    (void) state;
    struct spoken s;
    const char *const regex[] = {"[0-9]+(,[0-9]+)*;"};
    for (int n = 2; n < 30; n++) {
        dsr1_request r = constrained(&s, DSR1_CONSTRAINT_REGEX, regex, 1);
        r.max_tokens = n;
        r.seed = (uint64_t) n;
        ask_alone(&r, (dsr1_engine_options){.n_threads = 1});
        assert_int_equal(s.answer.finish, DSR1_FINISH_END);
        assert_int_equal(s.text[s.n_text - 1], ';');
        assert_in_range(s.answer.n_tokens, 2, n);
    }
}

/* Nothing else can be said: one step for the prompt and, where logits are wanted, all of the answer. */
static void forced_tokens_need_no_steps_of_their_own(void **state)
{
    (void) state;
    struct spoken s, judged;
    const char *const only[] = {"the only thing that can be said"};
    dsr1_engine *engine = open_engine((dsr1_engine_options){0});
    dsr1_request r = constrained(&s, DSR1_CONSTRAINT_CHOICES, only, 1);
    submit(engine, &r);
    pump(engine);
    dsr1_engine_stats stats = stats_of(engine);
    assert_string_equal(s.text, only[0]);
    assert_int_equal(s.answer.finish, DSR1_FINISH_END);
    assert_true(stats.n_steps <= 2);
    assert_true((int) stats.n_forced == s.answer.n_tokens);
    assert_true(isnan(s.answer.logprobs[0]));

    r = constrained(&judged, DSR1_CONSTRAINT_CHOICES, only, 1);
    r.want_logprobs = true;
    submit(engine, &r);
    pump(engine);
    assert_string_equal(judged.text, only[0]);
    assert_int_equal(judged.answer.n_tokens, s.answer.n_tokens);
    assert_memory_equal(judged.answer.tokens, s.answer.tokens, sizeof s.answer.tokens);
    assert_true(stats_of(engine).n_steps <= stats.n_steps + 2);
    for (int i = 0; i < judged.answer.n_tokens; i++)
        assert_true(judged.answer.logprobs[i] < 0);
    dsr1_engine_close(engine);
}

/* What a score says about the same tokens. */
static void a_forced_tokens_logprob_is_the_models_own(void **state)
{
    (void) state;
    struct spoken s;
    struct answer scored;
    const char *const only[] = {"said"};
    dsr1_request r = constrained(&s, DSR1_CONSTRAINT_CHOICES, only, 1), q = request(&scored, 0);
    r.want_logprobs = true;
    ask_alone(&r, (dsr1_engine_options){0});
    double sum = 0;
    for (int i = 0; i < s.answer.n_tokens; i++)
        sum += (double) s.answer.logprobs[i];
    const dsr1_tokens said = {s.answer.tokens, (size_t) s.answer.n_tokens};
    q.continuations = &said;
    q.n_continuations = 1;
    ask_alone(&q, (dsr1_engine_options){0});
    assert_true(fabs(scored.scores[0] - sum) < 1e-4);
}

static void asking_for_logprobs_changes_no_token(void **state)
{
    (void) state;
    struct spoken plain, judged;
    const char *const regex[] = {"name: [a-z]{2,8}, count: [0-9]{1,3}( and so on)?"};
    for (uint64_t seed = 0; seed < 10; seed++) {
        dsr1_request r = constrained(&plain, DSR1_CONSTRAINT_REGEX, regex, 1);
        r.seed = seed;
        ask_alone(&r, (dsr1_engine_options){0});
        r = constrained(&judged, DSR1_CONSTRAINT_REGEX, regex, 1);
        r.seed = seed;
        r.want_logprobs = true;
        r.n_top = 2;
        ask_alone(&r, (dsr1_engine_options){0});
        assert_string_equal(plain.text, judged.text);
        assert_int_equal(plain.answer.n_tokens, judged.answer.n_tokens);
        assert_memory_equal(plain.answer.tokens, judged.answer.tokens, sizeof plain.answer.tokens);
        assert_int_equal(plain.answer.finish, DSR1_FINISH_END);
    }
}

static void a_stop_string_ends_also_what_is_forced(void **state)
{
    (void) state;
    struct spoken s;
    const char *const only[] = {"one two three"}, *const stop[] = {"two"};
    for (int judged = 0; judged < 2; judged++) {
        dsr1_request r = constrained(&s, DSR1_CONSTRAINT_CHOICES, only, 1);
        r.stop = stop;
        r.n_stop = 1;
        r.want_logprobs = judged;
        ask_alone(&r, (dsr1_engine_options){0});
        assert_string_equal(s.text, "one ");
        assert_int_equal(s.answer.finish, DSR1_FINISH_STOP);
        assert_int_equal(s.answer.usage.completion_tokens, s.answer.n_tokens);
    }
}

static void a_constraint_that_cannot_be_read_is_refused(void **state)
{
    (void) state;
    struct spoken s;
    const char *const bad[] = {"(unclosed"};
    dsr1_error err = {0};
    dsr1_engine *engine = open_engine((dsr1_engine_options){0});
    dsr1_request r = constrained(&s, DSR1_CONSTRAINT_REGEX, bad, 1);
    assert_int_equal(dsr1_engine_submit(engine, &r, NULL, &err), DSR1_ERR_ARGUMENT);
    assert_true(err.message[0] != 0);
    pump(engine);
    assert_int_equal(s.answer.n_done, 0);
    dsr1_engine_close(engine);
}

/* ---- Healing ---- */

static void a_healed_answer_goes_on_where_the_prompt_ended(void **state)
{
    (void) state;
    struct spoken s;
    int32_t cut[64];
    static const char text[] = "say hel";
    ptrdiff_t n = dsr1_tokenize(model, text, sizeof text - 1, 0, cut, 64);
    /* All of " hel", of whatever tokens it consists. */
    char last[64] = "";
    int healed = 0;
    for (size_t size = 0; size < 3; healed++) {
        char token[16];
        size_t n_token = dsr1_token_bytes(model, cut[n - 1 - healed], false, token, sizeof token);
        memmove(last + n_token, last, size);
        memcpy(last, token, n_token);
        size += n_token;
    }
    size_t n_last = strlen(last);
    assert_in_range(healed, 2, 4);
    for (uint64_t seed = 0; seed < 20; seed++) {
        char all[200] = "";
        size_t size = 0;
        dsr1_request r = constrained(&s, DSR1_CONSTRAINT_NONE, NULL, 0);
        r.tokens = cut;
        r.n_tokens = (size_t) n;
        r.heal = true;
        r.max_tokens = 5;
        r.seed = seed;
        ask_alone(&r, (dsr1_engine_options){0});
        for (int i = 0; i < s.answer.n_tokens; i++)
            size += dsr1_token_bytes(model, s.answer.tokens[i], false, all + size, sizeof all - size);
        assert_memory_equal(all, last, n_last);
        assert_int_equal(s.answer.usage.prompt_tokens, n - healed);
        assert_in_range(s.answer.n_tokens, 1, 5 + healed);
    }
}

static void a_healed_answer_obeys_behind_the_healed_token(void **state)
{
    (void) state;
    struct spoken s;
    for (uint64_t seed = 0; seed < 20; seed++) {
        dsr1_request r = constrained(&s, DSR1_CONSTRAINT_CHOICES, choices, CHOICES);
        r.heal = true;
        r.seed = seed;
        ask_alone(&r, (dsr1_engine_options){0});
        assert_true(is_one_of(s.text, choices, CHOICES));
    }
}

/* ---- Reasoning ---- */

static void a_constraint_begins_where_the_reasoning_ends(void **state)
{
    (void) state;
    struct spoken s;
    int closed_early = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        dsr1_request r = constrained(&s, DSR1_CONSTRAINT_CHOICES, choices, CHOICES);
        r.separate_reasoning = r.reasoning_open = true;
        r.max_tokens = 80;
        r.seed = seed;
        ask_alone(&r, (dsr1_engine_options){0});
        assert_int_equal(s.answer.finish, DSR1_FINISH_END);
        assert_true(is_one_of(s.text, choices, CHOICES));
        assert_in_range(s.answer.n_tokens, 3, 80);
        closed_early += s.answer.n_tokens < 60;
    }
    /* Some by themselves, some because tokens ran short. */
    assert_in_range(closed_early, 1, 59);
}

static void a_vocabulary_without_think_cannot_think_first(void **state)
{
    (void) state;
    struct spoken s;
    dsr1_error err = {0};
    dsr1_model *before = model;
    assert_int_equal(dsr1_model_open("tests/golden/models/deepseek-f32.gguf", &model, NULL), DSR1_OK);
    dsr1_engine *engine = open_engine((dsr1_engine_options){0});
    dsr1_request r = constrained(&s, DSR1_CONSTRAINT_CHOICES, choices, CHOICES);
    r.reasoning_open = true;
    assert_int_equal(dsr1_engine_submit(engine, &r, NULL, &err), DSR1_ERR_UNSUPPORTED);
    dsr1_engine_close(engine);
    dsr1_model_close(model);
    model = before;
}

static int open_model(void **state)
{
    (void) state;
    return dsr1_model_open("tests/golden/models/dsv3-f32.gguf", &model, NULL);
}

static int close_model(void **state)
{
    (void) state;
    dsr1_model_close(model);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_one_of_the_choices),
        cmocka_unit_test(an_answer_is_whole_within_its_tokens),
        cmocka_unit_test(forced_tokens_need_no_steps_of_their_own),
        cmocka_unit_test(a_forced_tokens_logprob_is_the_models_own),
        cmocka_unit_test(asking_for_logprobs_changes_no_token),
        cmocka_unit_test(a_stop_string_ends_also_what_is_forced),
        cmocka_unit_test(a_constraint_that_cannot_be_read_is_refused),
        cmocka_unit_test(a_healed_answer_goes_on_where_the_prompt_ended),
        cmocka_unit_test(a_healed_answer_obeys_behind_the_healed_token),
        cmocka_unit_test(a_constraint_begins_where_the_reasoning_ends),
        cmocka_unit_test(a_vocabulary_without_think_cannot_think_first),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
