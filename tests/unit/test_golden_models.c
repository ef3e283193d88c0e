/*
 * test_golden_models.c - claims about whole models, held against llama.cpp
 *
 * tests/golden/models/README.md says what the files are, where the tolerances
 * come from and why quantised models are compared more loosely. Everything
 * goes through dsr1.h.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "dsr1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "tests/golden/models/"

enum { N_PROMPT = 24, N_GREEDY = 32, MAX_VOCAB = 1024, MAX_ROWS = N_PROMPT + N_GREEDY, MAX_REQUESTS = 4 };

static const struct row {
    const char *name;
    bool quantised;
} models[] = {
    {"llama3-f32", false},       {"llama3-q4km", true},     {"deepseek-f32", false},   {"deepseek-q4k", true},
    {"dsv3-f32", false},         {"dsv3-q4k", true},        {"dsv2-legacy-f32", false}, {"dsv2lite-f32", false},
    {"dsv2lite-q8", true},       {"qwen2-f32", false},      {"qwen2-q5k", true},       {"qwen3-f32", false},
    {"qwen3moe-f32", false},     {"qwen3moe-mix", true},    {"qwen2moe-f32", false},   {"qwen2moe-k", true},
    {"olmoe-f32", false},        {"granitemoe-f32", false}, {"gptoss-f32", false},     {"gptoss-mxfp4", true},
};

enum { N_MODELS = sizeof models / sizeof *models };

struct golden {
    const struct row *row;
    dsr1_model *model;
    size_t n_vocab;
    int32_t prompt[N_PROMPT], greedy[N_GREEDY];
    float margin[N_GREEDY];
    float tolerance;            /* tol_free */
    float *batch, *step_last;
};

/* ------------------------------------------------------------------ */
/* Reading the golden files                                            */
/* ------------------------------------------------------------------ */

static void *read_file(const char *name, const char *suffix, size_t *size)
{
    char path[300];
    snprintf(path, sizeof path, FOLDER "%s%s", name, suffix);
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t) ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    bytes[*size] = 0;
    fclose(file);
    return bytes;
}

static float *read_floats(const char *name, const char *suffix, size_t n)
{
    size_t size = 0;
    float *floats = read_file(name, suffix, &size);
    assert_non_null(floats);
    assert_int_equal(size, n * sizeof *floats);
    return floats;
}

/* The words behind key in NAME.txt, as numbers. */
static void read_record(const char *text, const char *key, double *numbers, int n)
{
    char start[40];
    snprintf(start, sizeof start, "\n%s ", key);
    const char *at = strstr(text, start);
    assert_non_null(at);
    at += strlen(start);
    for (int i = 0; i < n; i++) {
        char *end;
        numbers[i] = strtod(at, &end);
        assert_true(end != at);
        at = end;
    }
}

/* Models over a mebibyte lie in the repository in parts. */
static dsr1_status open_parts(const char *name, dsr1_model **model, dsr1_error *err)
{
    char path[] = "/tmp/dsr1-golden-XXXXXX", suffix[32];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (int part = 0;; part++) {
        size_t size = 0;
        snprintf(suffix, sizeof suffix, ".gguf.part%d", part);
        char *bytes = read_file(name, suffix, &size);
        if (!bytes)
            break;
        assert_int_equal(write(fd, bytes, size), size);
        free(bytes);
    }
    close(fd);
    dsr1_status status = dsr1_model_open(path, model, err);
    unlink(path);
    return status;
}

static void open_model(struct golden *golden)
{
    char path[300];
    dsr1_error err = {0};
    snprintf(path, sizeof path, FOLDER "%s.gguf", golden->row->name);
    dsr1_status status = access(path, R_OK) == 0 ? dsr1_model_open(path, &golden->model, &err)
                                                 : open_parts(golden->row->name, &golden->model, &err);
    if (status != DSR1_OK)
        fail_msg("%s: %s", golden->row->name, err.message);
}

static int setup(void **state)
{
    struct golden *golden = calloc(1, sizeof *golden);
    double numbers[64];
    size_t size;
    golden->row = *state;
    *state = golden;
    char *text = read_file(golden->row->name, ".txt", &size);
    assert_non_null(text);
    read_record(text, "vocab", numbers, 1);
    golden->n_vocab = (size_t) numbers[0];
    assert_in_range(golden->n_vocab, 1, MAX_VOCAB);
    read_record(text, "tol_free", numbers, 1);
    golden->tolerance = (float) numbers[0];
    read_record(text, "prompt", numbers, N_PROMPT);
    for (int i = 0; i < N_PROMPT; i++)
        golden->prompt[i] = (int32_t) numbers[i];
    read_record(text, "greedy", numbers, N_GREEDY);
    for (int i = 0; i < N_GREEDY; i++)
        golden->greedy[i] = (int32_t) numbers[i];
    read_record(text, "margin", numbers, N_GREEDY);
    for (int i = 0; i < N_GREEDY; i++)
        golden->margin[i] = (float) numbers[i];
    free(text);
    golden->batch = read_floats(golden->row->name, ".batch.f32", N_PROMPT * golden->n_vocab);
    golden->step_last = read_floats(golden->row->name, ".step_last.f32", golden->n_vocab);
    open_model(golden);
    return 0;
}

static int teardown(void **state)
{
    struct golden *golden = *state;
    dsr1_model_close(golden->model);
    free(golden->batch);
    free(golden->step_last);
    free(golden);
    return 0;
}

/* ------------------------------------------------------------------ */
/* Asking the engine                                                   */
/* ------------------------------------------------------------------ */

struct answer {
    size_t n_vocab;
    float rows[MAX_ROWS][MAX_VOCAB];
    bool seen[MAX_ROWS];
    int n_tokens;
    int32_t tokens[N_GREEDY];
    float logprobs[N_GREEDY];
    int n_done;
    dsr1_finish finish;
    char message[500];
};

static void on_event(const dsr1_event *event, void *user)
{
    struct answer *answer = user;
    switch (event->type) {
    case DSR1_EVENT_LOGITS:
        assert_in_range(event->position, 0, MAX_ROWS - 1);
        memcpy(answer->rows[event->position], event->logits, answer->n_vocab * sizeof(float));
        answer->seen[event->position] = true;
        break;
    case DSR1_EVENT_TOKEN:
        assert_in_range(answer->n_tokens, 0, N_GREEDY - 1);
        answer->tokens[answer->n_tokens] = event->token;
        answer->logprobs[answer->n_tokens++] = event->logprob;
        break;
    case DSR1_EVENT_DONE:
        answer->n_done++;
        answer->finish = event->finish;
        if (event->error)
            snprintf(answer->message, sizeof answer->message, "%s", event->error->message);
        break;
    case DSR1_EVENT_SCORE:
    case DSR1_EVENT_EMBEDDING:
    case DSR1_EVENT_EXPERTS:
    case DSR1_EVENT_PHASE:
        fail_msg("nobody asked for this");
        break;
    }
}

struct question {
    const int32_t *tokens;
    size_t n_tokens;
    int max_tokens;
    dsr1_logits_mode want_logits;
};

static struct answer *new_answers(const struct golden *golden, int n)
{
    struct answer *answers = calloc((size_t) n, sizeof *answers);
    assert_non_null(answers);
    for (int i = 0; i < n; i++)
        answers[i].n_vocab = golden->n_vocab;
    return answers;
}

/* Asks all questions at once. */
static void ask_engine(dsr1_engine *engine, const struct question *questions, int n, struct answer *answers)
{
    dsr1_error err = {0};
    for (int i = 0; i < n; i++) {
        dsr1_request request = {.tokens = questions[i].tokens, .n_tokens = questions[i].n_tokens,
                                .max_tokens = questions[i].max_tokens, .want_logits = questions[i].want_logits,
                                .ignore_end = true, .on_event = on_event, .user = &answers[i]};
        uint64_t id;
        if (dsr1_engine_submit(engine, &request, &id, &err) != DSR1_OK)
            fail_msg("submit: %s", err.message);
    }
    int left;
    do
        left = dsr1_engine_step(engine, &err);
    while (left > 0);
    if (left < 0)
        fail_msg("step: %s", err.message);
    for (int i = 0; i < n; i++) {
        if (answers[i].n_done != 1 || answers[i].finish == DSR1_FINISH_ERROR)
            fail_msg("%d ends, finish %d: %s", answers[i].n_done, (int) answers[i].finish, answers[i].message);
        assert_int_equal(answers[i].n_tokens, questions[i].max_tokens);
        for (size_t r = 0; r < questions[i].n_tokens && questions[i].want_logits == DSR1_LOGITS_ALL; r++)
            assert_true(answers[i].seen[r]);
    }
}

static struct answer *ask_all(const struct golden *golden, const dsr1_engine_options *options,
                              const struct question *questions, int n)
{
    struct answer *answers = new_answers(golden, n);
    dsr1_engine *engine;
    dsr1_error err = {0};
    if (dsr1_engine_open(golden->model, options, &engine, &err) != DSR1_OK)
        fail_msg("engine: %s", err.message);
    ask_engine(engine, questions, n, answers);
    dsr1_engine_close(engine);
    return answers;
}

static struct answer *ask(const struct golden *golden, const dsr1_engine_options *options, int max_tokens,
                          dsr1_logits_mode want_logits)
{
    struct question question = {golden->prompt, N_PROMPT, max_tokens, want_logits};
    return ask_all(golden, options, &question, 1);
}

/* ------------------------------------------------------------------ */
/* Comparing                                                           */
/* ------------------------------------------------------------------ */

static float max_difference(const float *a, const float *b, size_t n)
{
    float max = 0;
    for (size_t i = 0; i < n; i++) {
        float d = fabsf(a[i] - b[i]);
        if (!(d <= max))    /* a NaN counts as the largest */
            max = isnan(d) ? INFINITY : d;
    }
    return max;
}

static double cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double) a[i] * (double) b[i];
        aa += (double) a[i] * (double) a[i];
        bb += (double) b[i] * (double) b[i];
    }
    return ab / sqrt(aa * bb);
}

static size_t best(const float *row, size_t n)
{
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        if (row[i] > row[at])
            at = i;
    return at;
}

/* All rows must be close but for n_exceptions, and no more than as many best tokens differ. */
static void assert_rows_agree(const struct golden *golden, const struct answer *answer, float tolerance,
                              double least_cosine, int n_exceptions)
{
    int n_far = 0, n_other = 0;
    float worst = 0;
    double worst_cosine = 1;
    for (size_t r = 0; r < N_PROMPT; r++) {
        const float *expected = golden->batch + r * golden->n_vocab;
        float difference = max_difference(answer->rows[r], expected, golden->n_vocab);
        double c = cosine(answer->rows[r], expected, golden->n_vocab);
        worst = difference > worst ? difference : worst;
        worst_cosine = c < worst_cosine || isnan(c) ? c : worst_cosine;
        n_far += !(difference <= tolerance && c >= least_cosine);
        n_other += best(answer->rows[r], golden->n_vocab) != best(expected, golden->n_vocab);
    }
    if (n_far > n_exceptions || n_other > n_exceptions)
        fail_msg("%d rows beyond %g or cosine %g (worst %g and %.7f), %d other best tokens", n_far,
                 (double) tolerance, least_cosine, (double) worst, worst_cosine, n_other);
}

static void assert_rows_are_close(const struct golden *golden, const struct answer *answer)
{
    if (golden->row->quantised)
        assert_rows_agree(golden, answer, golden->tolerance, 0.98, 2);
    else
        assert_rows_agree(golden, answer, 1e-3f, 0.999999, 0);
}

static void assert_tokens_equal(const struct answer *answer, const int32_t *expected)
{
    for (int i = 0; i < N_GREEDY; i++)
        if (answer->tokens[i] != expected[i])
            fail_msg("token %d is %d, not %d", i, answer->tokens[i], expected[i]);
}

/* Logits and log-probabilities are compared by their bits. */
static void assert_same_bits(const struct answer *a, const struct answer *b, size_t n_rows)
{
    for (size_t r = 0; r < n_rows; r++)
        if (memcmp(a->rows[r], b->rows[r], a->n_vocab * sizeof(float)) != 0)
            fail_msg("row %zu differs, by %g at most", r, (double) max_difference(a->rows[r], b->rows[r], a->n_vocab));
    assert_int_equal(a->n_tokens, b->n_tokens);
    for (int i = 0; i < a->n_tokens; i++) {
        assert_int_equal(a->tokens[i], b->tokens[i]);
        if (memcmp(&a->logprobs[i], &b->logprobs[i], sizeof(float)) != 0)
            fail_msg("log-probability %d is %.9g and %.9g", i, (double) a->logprobs[i], (double) b->logprobs[i]);
    }
}

/* ------------------------------------------------------------------ */
/* Claims                                                              */
/* ------------------------------------------------------------------ */

static void a_whole_prompt_gives_the_reference_logits(void **state)
{
    const struct golden *golden = *state;
    dsr1_engine_options options = {.n_threads = 1, .kv_type = DSR1_KV_F32};
    struct answer *answer = ask(golden, &options, 0, DSR1_LOGITS_ALL);
    assert_rows_are_close(golden, answer);
    free(answer);
}

static void single_steps_give_the_reference_logits(void **state)
{
    const struct golden *golden = *state;
    dsr1_engine_options options = {.n_threads = 1, .kv_type = DSR1_KV_F32, .chunk_size = 1};
    struct answer *answer = ask(golden, &options, 0, DSR1_LOGITS_ALL);
    assert_rows_are_close(golden, answer);
    float difference = max_difference(answer->rows[N_PROMPT - 1], golden->step_last, golden->n_vocab);
    float tolerance = golden->row->quantised ? golden->tolerance : 1e-3f;
    if (!(difference <= tolerance))
        fail_msg("the last row differs by %g, more than %g", (double) difference, (double) tolerance);
    free(answer);
}

static void the_greedy_answer_is_the_reference_s(void **state)
{
    const struct golden *golden = *state;
    dsr1_engine_options options = {.n_threads = 1, .kv_type = DSR1_KV_F32};
    struct answer *answer = ask(golden, &options, N_GREEDY, DSR1_LOGITS_NONE);
    assert_tokens_equal(answer, golden->greedy);
    free(answer);
}

/* Quantised models: each step after the reference's own tokens, where its choice is clear. */
static void clear_choices_are_the_reference_s(void **state)
{
    const struct golden *golden = *state;
    dsr1_engine_options options = {.n_threads = 1, .kv_type = DSR1_KV_F32};
    int32_t tokens[N_PROMPT + N_GREEDY];
    memcpy(tokens, golden->prompt, sizeof golden->prompt);
    memcpy(tokens + N_PROMPT, golden->greedy, sizeof golden->greedy);
    struct question question = {tokens, N_PROMPT + N_GREEDY - 1, 0, DSR1_LOGITS_ALL};
    struct answer *answer = ask_all(golden, &options, &question, 1);
    int n_clear = 0;
    for (int i = 0; i < N_GREEDY; i++) {
        if (golden->margin[i] <= 2 * golden->tolerance)
            continue;
        n_clear++;
        size_t token = best(answer->rows[N_PROMPT - 1 + i], golden->n_vocab);
        if (token != (size_t) golden->greedy[i])
            fail_msg("step %d chooses %zu, not %d (margin %g)", i, token, golden->greedy[i],
                     (double) golden->margin[i]);
    }
    assert_true(n_clear > 0);
    free(answer);
}

static void a_half_precision_cache_stays_close(void **state)
{
    const struct golden *golden = *state;
    dsr1_engine_options options = {.n_threads = 1, .kv_type = DSR1_KV_F16};
    struct answer *answer = ask(golden, &options, N_GREEDY, DSR1_LOGITS_ALL);
    assert_rows_agree(golden, answer, golden->tolerance, 0.9999, 0);
    assert_tokens_equal(answer, golden->greedy);
    free(answer);
}

static void bits_do_not_depend_on_threads(void **state)
{
    const struct golden *golden = *state;
    dsr1_engine_options options = {.n_threads = 1};
    struct answer *one = ask(golden, &options, 8, DSR1_LOGITS_ALL);
    for (int n_threads = 2; n_threads <= 3; n_threads++) {
        options.n_threads = n_threads;
        struct answer *several = ask(golden, &options, 8, DSR1_LOGITS_ALL);
        assert_same_bits(one, several, N_PROMPT);
        free(several);
    }
    free(one);
}

static void bits_do_not_depend_on_chunks(void **state)
{
    const struct golden *golden = *state;
    dsr1_engine_options options = {.n_threads = 2, .chunk_size = 256};
    struct answer *whole = ask(golden, &options, 8, DSR1_LOGITS_ALL);
    for (int chunk_size = 1; chunk_size <= 5; chunk_size += 4) {
        options.chunk_size = chunk_size;
        struct answer *chunked = ask(golden, &options, 8, DSR1_LOGITS_ALL);
        assert_same_bits(whole, chunked, N_PROMPT);
        free(chunked);
    }
    free(whole);
}

/* Four requests: different texts, lengths and ends, two with a common beginning, in chunks that cut across them. */
static void bits_do_not_depend_on_company(void **state)
{
    const struct golden *golden = *state;
    dsr1_engine_options options = {.n_threads = 2, .chunk_size = 7, .max_batch = MAX_REQUESTS};
    const struct question questions[MAX_REQUESTS] = {
        {golden->prompt, N_PROMPT, 8, DSR1_LOGITS_ALL},
        {golden->greedy, 11, 20, DSR1_LOGITS_ALL},
        {golden->prompt, 13, 3, DSR1_LOGITS_ALL},
        {golden->greedy + 5, 1, N_GREEDY, DSR1_LOGITS_ALL},
    };
    struct answer *together = ask_all(golden, &options, questions, MAX_REQUESTS);
    for (int i = 0; i < MAX_REQUESTS; i++) {
        struct answer *alone = ask_all(golden, &options, &questions[i], 1);
        assert_same_bits(alone, &together[i], questions[i].n_tokens);
        free(alone);
    }
    free(together);
}

static void bits_do_not_depend_on_a_warm_cache(void **state)
{
    const struct golden *golden = *state;
    dsr1_engine_options options = {.n_threads = 2};
    const struct question question = {golden->prompt, N_PROMPT, 8, DSR1_LOGITS_LAST};
    struct answer *answers = new_answers(golden, 2);
    dsr1_engine *engine;
    assert_int_equal(dsr1_engine_open(golden->model, &options, &engine, NULL), DSR1_OK);
    ask_engine(engine, &question, 1, &answers[0]);
    ask_engine(engine, &question, 1, &answers[1]);
    dsr1_engine_close(engine);
    assert_true(answers[0].seen[N_PROMPT - 1] && answers[1].seen[N_PROMPT - 1]);
    assert_same_bits(&answers[0], &answers[1], 0);
    assert_memory_equal(answers[0].rows[N_PROMPT - 1], answers[1].rows[N_PROMPT - 1],
                        golden->n_vocab * sizeof(float));
    free(answers);
}

/* ------------------------------------------------------------------ */
/* Every claim of every model                                          */
/* ------------------------------------------------------------------ */

enum { EXACT = 1, QUANTISED = 2 };

static const struct claim {
    const char *text;
    CMUnitTestFunction function;
    int which;
} claims[] = {
    {"a whole prompt gives the reference's logits", a_whole_prompt_gives_the_reference_logits, EXACT | QUANTISED},
    {"single steps give the reference's logits", single_steps_give_the_reference_logits, EXACT | QUANTISED},
    {"the greedy answer is the reference's", the_greedy_answer_is_the_reference_s, EXACT},
    {"clear choices are the reference's", clear_choices_are_the_reference_s, EXACT | QUANTISED},
    {"a half-precision cache stays close", a_half_precision_cache_stays_close, EXACT},
    {"bits do not depend on threads", bits_do_not_depend_on_threads, EXACT | QUANTISED},
    {"bits do not depend on chunks", bits_do_not_depend_on_chunks, EXACT | QUANTISED},
    {"bits do not depend on company", bits_do_not_depend_on_company, EXACT | QUANTISED},
    {"bits do not depend on a warm cache", bits_do_not_depend_on_a_warm_cache, EXACT | QUANTISED},
};

enum { N_CLAIMS = sizeof claims / sizeof *claims };

/* An argument names one model, for work on a single graph. */
int main(int argc, char **argv)
{
    static struct CMUnitTest tests[N_MODELS * N_CLAIMS];
    static char names[N_MODELS * N_CLAIMS][100];
    size_t n = 0;
    for (size_t m = 0; m < N_MODELS; m++) {
        for (size_t c = 0; c < N_CLAIMS; c++) {
            if (!(claims[c].which & (models[m].quantised ? QUANTISED : EXACT)))
                continue;
            if (argc > 1 && strcmp(argv[1], models[m].name) != 0)
                continue;
            snprintf(names[n], sizeof names[n], "%s: %s", models[m].name, claims[c].text);
            tests[n] = (struct CMUnitTest){names[n], claims[c].function, setup, teardown, (void *) &models[m]};
            n++;
        }
    }
    return _cmocka_run_group_tests("golden models", tests, n, NULL, NULL);
}
