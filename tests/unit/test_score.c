/*
 * test_score.c - claims about core/serve/score.c, and embeddings, through dsr1.h
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "engine_answers.h"

#include <math.h>

enum { N_PROMPT = 45 };

static int32_t long_prompt[N_PROMPT];
static const int32_t texts[][5] = {{10}, {20, 21}, {30, 31, 32, 33, 34}, {20, 21, 22}, {40, 41, 42, 43}};
static const size_t sizes[] = {1, 2, 5, 3, 4};

enum { N_TEXTS = 5 };

static int open_model(void **state)
{
    (void) state;
    for (int i = 0; i < N_PROMPT; i++)
        long_prompt[i] = (i * 31 + 7) % 256;
    return dsr1_model_open("tests/golden/models/dsv3-f32.gguf", &model, NULL);
}

static int close_model(void **state)
{
    (void) state;
    dsr1_model_close(model);
    return 0;
}

static dsr1_request score_request(struct answer *a, dsr1_tokens *continuations)
{
    dsr1_request r = request(a, 0);
    r.tokens = long_prompt;
    r.n_tokens = N_PROMPT;
    for (int i = 0; i < N_TEXTS; i++)
        continuations[i] = (dsr1_tokens){texts[i], sizes[i]};
    r.continuations = continuations;
    r.n_continuations = N_TEXTS;
    return r;
}

/* The same by hand: logits of all positions of prompt and continuation in one row. */
struct by_hand {
    const int32_t *tokens;
    int n_tokens;
    double sum;
};

static void judge(const dsr1_event *event, void *user)
{
    struct by_hand *h = user;
    dsr1_model_info info;
    if (event->type != DSR1_EVENT_LOGITS || event->position < N_PROMPT - 1 || event->position == h->n_tokens - 1)
        return;
    dsr1_model_get_info(model, &info);
    double total = 0;
    for (int i = 0; i < info.n_vocab; i++)
        total += exp((double) event->logits[i]);
    h->sum += (double) event->logits[h->tokens[event->position + 1]] - log(total);
}

static double score_by_hand(int text)
{
    int32_t tokens[N_PROMPT + 5];
    memcpy(tokens, long_prompt, sizeof long_prompt);
    memcpy(tokens + N_PROMPT, texts[text], sizes[text] * sizeof *tokens);
    struct by_hand h = {tokens, N_PROMPT + (int) sizes[text], 0};
    dsr1_request r = {.tokens = tokens, .n_tokens = (size_t) h.n_tokens, .want_logits = DSR1_LOGITS_ALL,
                      .on_event = judge, .user = &h};
    ask_alone(&r, (dsr1_engine_options){0});
    return h.sum;
}

static void a_score_is_the_sum_of_the_tokens_log_probabilities(void **state)
{
    (void) state;
    struct answer a;
    dsr1_tokens continuations[N_TEXTS];
    dsr1_request r = score_request(&a, continuations);
    ask_alone(&r, (dsr1_engine_options){0});
    assert_int_equal(a.n_scores, N_TEXTS);
    assert_int_equal(a.n_done, 1);
    assert_int_equal(a.finish, DSR1_FINISH_LENGTH);
    for (int i = 0; i < N_TEXTS; i++)
        assert_true(fabs(a.scores[i] - score_by_hand(i)) < 1e-4);
}

static void the_prompt_is_computed_once(void **state)
{
    (void) state;
    struct answer a;
    dsr1_tokens continuations[N_TEXTS];
    dsr1_request r = score_request(&a, continuations);
    dsr1_engine *engine = open_engine((dsr1_engine_options){0});
    submit(engine, &r);
    pump(engine);
    /* The last token of each is judged, not fed. */
    size_t fed = N_PROMPT;
    for (int i = 0; i < N_TEXTS; i++)
        fed += sizes[i] - 1;
    assert_int_equal(stats_of(engine).n_step_rows, fed);
    dsr1_engine_close(engine);
}

static void scores_fit_a_cache_with_room_for_one(void **state)
{
    (void) state;
    struct answer roomy, tight;
    dsr1_tokens continuations[N_TEXTS];
    dsr1_request r = score_request(&roomy, continuations);
    ask_alone(&r, (dsr1_engine_options){0});
    r = score_request(&tight, continuations);
    ask_alone(&r, (dsr1_engine_options){.context_size = N_PROMPT + 6, .kv_cache_size = 1});
    expect_same(&roomy, &tight);
}

/* Joined to the prompt's step, behind it, and joined to what is left of a cached prompt: no bit differs. */
static void compare_joined(const char *path)
{
    struct answer joined, behind, again;
    dsr1_tokens continuations[N_TEXTS];
    dsr1_model *other = model;
    assert_int_equal(dsr1_model_open(path, &model, NULL), DSR1_OK);
    dsr1_request r = score_request(&behind, continuations);
    ask_alone(&r, (dsr1_engine_options){.chunk_size = N_PROMPT});
    dsr1_engine *engine = open_engine((dsr1_engine_options){0});
    r = score_request(&joined, continuations);
    submit(engine, &r);
    pump(engine);
    assert_int_equal(stats_of(engine).n_steps, 1);
    expect_same(&joined, &behind);
    r = score_request(&again, continuations);
    submit(engine, &r);
    pump(engine);
    assert_int_equal(stats_of(engine).n_steps, 2);
    assert_int_equal(again.usage.cached_tokens, N_PROMPT - 1);
    expect_same(&joined, &again);
    dsr1_engine_close(engine);
    dsr1_model_close(model);
    model = other;
}

static void a_choice_takes_one_step_and_the_same_bits(void **state)
{
    (void) state;
    /* Grouped queries, latent attention absorbed and expanded, a window. */
    compare_joined("tests/golden/models/llama3-f32.gguf");
    compare_joined("tests/golden/models/dsv3-f32.gguf");
    compare_joined("tests/golden/models/dsv2-legacy-f32.gguf");
    compare_joined("tests/golden/models/gptoss-mxfp4.gguf");
}

static void choices_share_a_step(void **state)
{
    (void) state;
    enum { N = 8 };
    struct answer alone[N], together[N];
    dsr1_tokens continuations[N_TEXTS];
    int32_t prompts[N][20];
    dsr1_engine *engine = open_engine((dsr1_engine_options){0});
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < 20; j++)
            prompts[i][j] = (i * 37 + j * 11 + 5) % 256;
        dsr1_request r = score_request(&alone[i], continuations);
        r.tokens = prompts[i];
        r.n_tokens = 20;
        ask_alone(&r, (dsr1_engine_options){0});
        r.on_event = note;
        memset(&together[i], 0, sizeof together[i]);
        r.user = &together[i];
        submit(engine, &r);
    }
    pump(engine);
    for (int i = 0; i < N; i++)
        expect_same(&alone[i], &together[i]);
    /* Room for the logits of all branches of most of them; what has none follows. */
    assert_true(stats_of(engine).n_steps <= 3);
    dsr1_engine_close(engine);
}

static void continuations_that_cannot_be_are_refused(void **state)
{
    (void) state;
    struct answer a;
    dsr1_tokens continuations[N_TEXTS];
    static const int32_t wild[] = {1, 99999}, many[CONTEXT] = {0};
    dsr1_engine *engine = open_engine((dsr1_engine_options){0});
    const struct {
        dsr1_tokens text;
        int max_tokens;
        dsr1_status status;
    } cases[] = {{{wild, 2}, 0, DSR1_ERR_ARGUMENT},
                 {{wild, 0}, 0, DSR1_ERR_ARGUMENT},
                 {{many, CONTEXT}, 0, DSR1_ERR_LIMIT},
                 {{many, 3}, 5, DSR1_ERR_ARGUMENT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dsr1_error err = {0};
        dsr1_request r = score_request(&a, continuations);
        continuations[2] = cases[i].text;
        r.max_tokens = cases[i].max_tokens;
        assert_int_equal(dsr1_engine_submit(engine, &r, NULL, &err), cases[i].status);
        assert_true(err.message[0] != 0);
    }
    assert_int_equal(stats_of(engine).kv_used, 0);
    dsr1_engine_close(engine);
}

static void a_cancelled_score_gives_its_pages_back(void **state)
{
    (void) state;
    struct answer a;
    dsr1_tokens continuations[N_TEXTS];
    dsr1_engine *engine = open_engine((dsr1_engine_options){.chunk_size = N_PROMPT});
    dsr1_request r = score_request(&a, continuations);
    r.pooling = DSR1_POOLING_MEAN;  /* nothing of its prompt comes from the tree */
    uint64_t id = submit(engine, &r);
    dsr1_engine_step(engine, NULL);
    dsr1_engine_cancel(engine, id);
    assert_int_equal(dsr1_engine_step(engine, NULL), 0);
    assert_int_equal(a.finish, DSR1_FINISH_CANCELLED);
    size_t kept = stats_of(engine).kv_used;
    /* What stays is the prompt's, in the tree; asking again takes no more. */
    for (int i = 0; i < 50; i++) {
        r = score_request(&a, continuations);
        submit(engine, &r);
        pump(engine);
    }
    assert_true(stats_of(engine).kv_used <= kept);
    dsr1_engine_close(engine);
}

/* ---- Embeddings ---- */

static void embed(struct answer *a, const int32_t *tokens, size_t n, dsr1_pooling pooling, int chunk)
{
    dsr1_request r = request(a, 0);
    r.tokens = tokens;
    r.n_tokens = n;
    r.pooling = pooling;
    ask_alone(&r, (dsr1_engine_options){.chunk_size = chunk});
    assert_int_equal(a->n_done, 1);
}

static double dot(const struct answer *a, const struct answer *b)
{
    double sum = 0;
    for (int i = 0; i < a->n_embd; i++)
        sum += (double) a->embedding[i] * (double) b->embedding[i];
    return sum;
}

static void an_embedding_has_length_one_and_depends_on_pooling(void **state)
{
    (void) state;
    struct answer mean, last, pieces, other;
    dsr1_model_info info;
    dsr1_model_get_info(model, &info);
    embed(&mean, long_prompt, N_PROMPT, DSR1_POOLING_MEAN, 64);
    embed(&pieces, long_prompt, N_PROMPT, DSR1_POOLING_MEAN, 7);
    embed(&last, long_prompt, N_PROMPT, DSR1_POOLING_LAST, 64);
    embed(&other, prompt, 12, DSR1_POOLING_MEAN, 64);
    assert_int_equal(mean.n_embd, info.n_embd);
    assert_true(fabs(dot(&mean, &mean) - 1) < 1e-5 && fabs(dot(&last, &last) - 1) < 1e-5);
    assert_memory_equal(mean.embedding, pieces.embedding, sizeof mean.embedding);
    assert_true(dot(&mean, &last) < 0.99 && dot(&mean, &other) < 0.999);
}

static void one_token_is_its_own_mean(void **state)
{
    (void) state;
    struct answer mean, last;
    embed(&mean, prompt, 1, DSR1_POOLING_MEAN, 64);
    embed(&last, prompt, 1, DSR1_POOLING_LAST, 64);
    assert_memory_equal(mean.embedding, last.embedding, sizeof mean.embedding);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_score_is_the_sum_of_the_tokens_log_probabilities),
        cmocka_unit_test(the_prompt_is_computed_once),
        cmocka_unit_test(scores_fit_a_cache_with_room_for_one),
        cmocka_unit_test(a_choice_takes_one_step_and_the_same_bits),
        cmocka_unit_test(choices_share_a_step),
        cmocka_unit_test(continuations_that_cannot_be_are_refused),
        cmocka_unit_test(a_cancelled_score_gives_its_pages_back),
        cmocka_unit_test(an_embedding_has_length_one_and_depends_on_pooling),
        cmocka_unit_test(one_token_is_its_own_mean),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
