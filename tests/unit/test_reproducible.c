/*
 * test_reproducible.c - claims about a request's bits: nothing else in the engine touches them
 *
 * Requests of every kind are asked alone first, then in random mixes: order,
 * batch and chunk size, threads, memory (so that requests make way and start
 * over), priorities, clients, others that are cancelled, a cold or a warm cache.
 * Every token, log-probability, score and embedding must come out the same.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "engine_answers.h"

#include <stdio.h>

/* Sanitizers look for other things and take their time. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { REQUESTS = 24, MAX_PROMPT = 160, SHARE = 8 };
#else
enum { REQUESTS = 24, MAX_PROMPT = 160, SHARE = 1 };
#endif

struct wish {
    int32_t tokens[MAX_PROMPT];
    int32_t more[4][6];
    dsr1_tokens continuations[4];
    dsr1_request request;
};

static int at_random(unsigned *seed, int n)
{
    return rand_r(seed) % n;
}

/* Prompts that share beginnings; every fifth repeats itself, so that drafts find something. */
static void fill_prompt(struct wish *w, int n, unsigned *seed)
{
    int shared = at_random(seed, n), period = 5 + at_random(seed, 20);
    bool repeats = at_random(seed, 5) == 0;
    for (int j = 0; j < n; j++)
        w->tokens[j] = j < shared ? (j * 37 + 5) % 256 : repeats && j >= period ? w->tokens[j - period] : at_random(seed, 256);
}

static void score_instead(struct wish *w, unsigned *seed)
{
    dsr1_request *r = &w->request;
    r->max_tokens = 0;
    r->n_continuations = 1 + (size_t) at_random(seed, 4);
    for (size_t i = 0; i < r->n_continuations; i++) {
        w->continuations[i] = (dsr1_tokens){w->more[i], 1 + (size_t) at_random(seed, 6)};
        for (int j = 0; j < 6; j++)
            w->more[i][j] = at_random(seed, 256);
    }
    r->continuations = w->continuations;
}

/* Some answers must be something, some begin with the prompt's last token, chosen anew. */
static void constrain(struct wish *w, int i, unsigned *seed)
{
    static const char *const choices[] = {"one of these", "one of those", "none"};
    static const char *const regex[] = {"(a|b|[0-9]{2,4}), and so on: (x, y, z; ){2,6}[a-z]*"};
    static const char *const grammar[] = {"root ::= \"the list: \" item (\", \" item)* \".\"\nitem ::= [a-f]+ | [0-9] root"};
    static const char *const schema[] = {"{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\"}, "
                                         "\"n\": {\"type\": \"integer\", \"minimum\": 3}}, \"required\": [\"name\", \"n\"]}"};
    static const dsr1_constraint kinds[] = {
        {DSR1_CONSTRAINT_CHOICES, choices, 3, false}, {DSR1_CONSTRAINT_JSON, NULL, 0, false},
        {DSR1_CONSTRAINT_REGEX, regex, 1, false},     {DSR1_CONSTRAINT_GBNF, grammar, 1, false},
        {DSR1_CONSTRAINT_GBNF, grammar, 1, true},     {DSR1_CONSTRAINT_JSON_SCHEMA, schema, 1, false},
        {DSR1_CONSTRAINT_NONE, NULL, 0, false},
    };
    dsr1_request *r = &w->request;
    r->constraint = kinds[i / 4 % 7];
    r->heal = r->constraint.kind == DSR1_CONSTRAINT_NONE || at_random(seed, 2) == 0;
    r->want_logprobs = at_random(seed, 2) == 0;
    r->temperature = 1.5f;
}

static void make_wish(struct wish *w, int i, unsigned *seed)
{
    int n = 5 + at_random(seed, MAX_PROMPT - 10);
    fill_prompt(w, n, seed);
    w->request = (dsr1_request){.tokens = w->tokens, .n_tokens = (size_t) n, .max_tokens = 1 + at_random(seed, 60),
                                .seed = (uint64_t) i, .temperature = i % 2 ? 0.9f : 0, .top_p = i % 3 ? 0 : 0.9f,
                                .repeat_penalty = i % 5 ? 0 : 1.2f, .ignore_end = true, .on_event = note};
    if (i % 4 == 2)
        constrain(w, i, seed);
    if (i % 6 == 5)
        score_instead(w, seed);
    if (i % 8 == 7) {
        w->request.max_tokens = 0;
        w->request.pooling = i % 16 == 7 ? DSR1_POOLING_MEAN : DSR1_POOLING_LAST;
    }
}

static void answer_alone(struct wish *w, struct answer *a)
{
    memset(a, 0, sizeof *a);
    w->request.user = a;
    w->request.no_draft = true;
    ask_alone(&w->request, (dsr1_engine_options){.n_threads = 1});
    w->request.no_draft = false;
}

/* Somebody else's request, which is given up before it is done. */
static void disturb(dsr1_engine *engine, unsigned *seed)
{
    static struct answer ignored;
    dsr1_request r = request(&ignored, 50);
    r.priority = at_random(seed, 3) - 1;
    uint64_t id = submit(engine, &r);
    for (int i = at_random(seed, 3); i > 0; i--)
        dsr1_engine_step(engine, NULL);
    dsr1_engine_cancel(engine, id);
    dsr1_engine_step(engine, NULL);
}

static uint64_t n_preempted, n_drafted, n_accepted, n_cached, n_forced;

static void run_schedule(struct wish *wishes, const struct answer *alone, unsigned *seed)
{
    static struct answer mixed[REQUESTS];
    /* Room for everybody, or for one request at a time. */
    dsr1_engine *engine = open_engine((dsr1_engine_options){
        .n_threads = 1 + at_random(seed, 4), .chunk_size = 1 + at_random(seed, 100), .max_batch = 1 + at_random(seed, 16),
        .kv_cache_size = at_random(seed, 2) ? 1 : 0});
    static const int strides[] = {1, 5, 7, 11};     /* prime to REQUESTS */
    int stride = strides[at_random(seed, 4)], start = at_random(seed, REQUESTS);
    for (int i = 0; i < REQUESTS; i++) {
        int k = (start + i * stride) % REQUESTS;
        memset(&mixed[k], 0, sizeof mixed[k]);
        wishes[k].request.user = &mixed[k];
        wishes[k].request.priority = at_random(seed, 3) - 1;
        wishes[k].request.client = (uint64_t) at_random(seed, 4);
        submit(engine, &wishes[k].request);
        for (int steps = at_random(seed, 4); steps > 0; steps--)
            dsr1_engine_step(engine, NULL);
        if (at_random(seed, 8) == 0)
            disturb(engine, seed);
    }
    pump(engine);
    for (int i = 0; i < REQUESTS; i++)
        expect_same(&alone[i], &mixed[i]);
    dsr1_engine_stats stats = stats_of(engine);
    assert_int_equal(stats.n_running + stats.n_queued, 0);
    n_preempted += stats.n_preempted;
    n_drafted += stats.n_drafted;
    n_accepted += stats.n_accepted;
    n_cached += stats.cached_tokens;
    n_forced += stats.n_forced;
    dsr1_engine_close(engine);
}

static void run_schedules(const char *path, int n, unsigned seed)
{
    static struct wish wishes[REQUESTS];
    static struct answer alone[REQUESTS];
    assert_int_equal(dsr1_model_open(path, &model, NULL), DSR1_OK);
    for (int i = 0; i < REQUESTS; i++) {
        make_wish(&wishes[i], i, &seed);
        answer_alone(&wishes[i], &alone[i]);
    }
    uint64_t n_cached_before = n_cached, n_forced_before = n_forced;
    for (int i = 0; i < n / SHARE; i++)
        run_schedule(wishes, alone, &seed);
    /* The mixes were worth it. */
    assert_true(n_cached > n_cached_before && n_forced > n_forced_before);
    dsr1_model_close(model);
}

/* Over all models: who makes way, and what is guessed, depends on how fast the machine is at the moment. */
static void in_these_schedules_all_of_it_happened(void **state)
{
    (void) state;
    printf("# %llu made way, %llu of %llu guessed tokens were right, %llu cached, %llu forced\n", (unsigned long long) n_preempted,
           (unsigned long long) n_accepted, (unsigned long long) n_drafted, (unsigned long long) n_cached, (unsigned long long) n_forced);
    assert_true(n_preempted > 0 && n_drafted > 0 && n_cached > 0 && n_forced > 0);
}

static void an_moe_model_gives_the_same_bits_in_any_schedule(void **state)
{
    (void) state;
    run_schedules("tests/golden/models/deepseek-f32.gguf", 80, 1);
    /* This one repeats itself, so that guesses come true. */
    assert_true(n_accepted > 0);
}

static void an_mla_model_gives_the_same_bits_in_any_schedule(void **state)
{
    (void) state;
    run_schedules("tests/golden/models/dsv3-f32.gguf", 50, 2);
}

static void a_quantised_moe_model_gives_the_same_bits_in_any_schedule(void **state)
{
    (void) state;
    run_schedules("tests/golden/models/qwen3moe-mix.gguf", 50, 3);
}

static void a_quantised_dense_model_gives_the_same_bits_in_any_schedule(void **state)
{
    (void) state;
    run_schedules("tests/golden/models/llama3-q4km.gguf", 40, 4);
}

/* tests/golden/nextn: mkmodel tiny-nextn --type Q8_0. What its block guesses is noise, and now and then right. */
static void a_model_that_guesses_its_next_token_gives_the_same_bits(void **state)
{
    (void) state;
    run_schedules("tests/golden/nextn/tiny.gguf", 40, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_moe_model_gives_the_same_bits_in_any_schedule),
        cmocka_unit_test(an_mla_model_gives_the_same_bits_in_any_schedule),
        cmocka_unit_test(a_quantised_moe_model_gives_the_same_bits_in_any_schedule),
        cmocka_unit_test(a_quantised_dense_model_gives_the_same_bits_in_any_schedule),
        cmocka_unit_test(a_model_that_guesses_its_next_token_gives_the_same_bits),
        cmocka_unit_test(in_these_schedules_all_of_it_happened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
