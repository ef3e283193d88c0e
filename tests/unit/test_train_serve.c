/*
 * test_train_serve.c - claims about adapters in the serving engine
 *
 * Random adapters on every matrix of the tiny golden models, of all graphs that are served: beside the weights they do
 * what they do when they are merged into them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "engine_answers.h"
#include "train_folder.h"

#include "base/rng.h"
#include "gguf/gguf.h"
#include "gguf/gguf_write.h"
#include "train/merge.h"

#include <math.h>
#include <unistd.h>

/* ------------------------------------------------------------------ */
/* Random adapters                                                     */
/* ------------------------------------------------------------------ */

static bool adaptable(const struct gguf_tensor *t)
{
    return strncmp(t->name, "blk.", 4) == 0 && t->n_dims >= 2 && strstr(t->name, ".weight") && !strstr(t->name, "norm") &&
           !strstr(t->name, "gate_inp_shexp") && !strstr(t->name, "attn_qkv") && !strstr(t->name, "gate_up");
}

static void write_random(struct gguf_writer *writer, size_t n, double range, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        float value = (float) (range * (2 * rng_uniform(seed, i) - 1));
        gguf_write_data(writer, &value, sizeof value);
    }
}

/* An adapter of this rank on all matrices of a model whose names hold `part`. */
static const char *random_adapter(const char *base, const char *name, const char *part, int rank, uint64_t seed)
{
    struct gguf *file;
    struct gguf_writer *writer;
    struct gguf_string architecture;
    char text[128];
    dsr1_error err = {0};
    const char *path = in_folder(name);
    must(gguf_open(base, &file, &err), &err);
    must(gguf_get_string(file, "general.architecture", &architecture, &err), &err);
    snprintf(text, sizeof text, "%.*s", (int) architecture.size, architecture.bytes);
    must(gguf_write_open(path, &writer, &err), &err);
    gguf_write_text(writer, "general.type", "adapter");
    gguf_write_text(writer, "general.architecture", text);
    gguf_write_text(writer, "adapter.type", "lora");
    gguf_write_float(writer, "adapter.lora.alpha", 2 * (float) rank);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < gguf_n_tensors(file); i++) {
            const struct gguf_tensor *t = gguf_tensor_at(file, i);
            if (!adaptable(t) || !strstr(t->name, part))
                continue;
            int64_t a[3] = {t->ne[0], rank, t->ne[2]}, b[3] = {rank, t->ne[1], t->ne[2]};
            for (int which = 0; which < 2; which++) {
                const int64_t *ne = which ? b : a;
                snprintf(text, sizeof text, "%s.lora_%c", t->name, 'a' + which);
                if (pass == 0)
                    gguf_write_tensor(writer, text, TENSOR_F32, t->n_dims, ne);
                else
                    write_random(writer, (size_t) (ne[0] * ne[1] * ne[2]), 0.1, seed + 2 * i + (size_t) which);
            }
        }
    must(gguf_write_commit(writer, &err), &err);
    gguf_close(file);
    return path;
}

/* ------------------------------------------------------------------ */
/* Logits                                                              */
/* ------------------------------------------------------------------ */

struct rows {
    float *logits;
    size_t n_vocab;
};

static void keep_row(const dsr1_event *event, void *user)
{
    struct rows *rows = user;
    if (event->type == DSR1_EVENT_LOGITS)
        memcpy(rows->logits + (size_t) event->position * rows->n_vocab, event->logits, rows->n_vocab * sizeof(float));
}

/* Logits of all positions of a prompt; the caller frees. */
static float *logits_with(dsr1_model *of, dsr1_adapter *adapter, const int32_t *tokens, int n)
{
    dsr1_model_info info;
    dsr1_engine *engine;
    dsr1_error err = {0};
    dsr1_model_get_info(of, &info);
    struct rows rows = {calloc((size_t) n * (size_t) info.n_vocab, sizeof(float)), (size_t) info.n_vocab};
    dsr1_engine_options options = {.context_size = 64, .kv_type = DSR1_KV_F32, .n_threads = 2};
    dsr1_request r = {.tokens = tokens, .n_tokens = (size_t) n, .want_logits = DSR1_LOGITS_ALL, .on_event = keep_row,
                      .user = &rows, .adapter = adapter};
    must(dsr1_engine_open(of, &options, &engine, &err), &err);
    submit(engine, &r);
    pump(engine);
    dsr1_engine_close(engine);
    return rows.logits;
}

static double distance(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double) a[i] - (double) b[i]));
    return worst;
}

static void an_adapter_beside_is_an_adapter_merged(void **state)
{
    static const char *const models[] = {"deepseek-f32", "dsv2-legacy-f32", "dsv2lite-f32", "dsv3-f32", "gptoss-f32",
                                         "granitemoe-f32", "llama3-f32", "olmoe-f32", "qwen2-f32", "qwen2moe-f32",
                                         "qwen3-f32", "qwen3moe-f32"};
    struct merge_options as_is = {.type = -1, .strength = 1};
    struct merge_result result;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        dsr1_model *base, *merged;
        dsr1_adapter *adapter;
        dsr1_model_info info;
        char path[300];
        int32_t tokens[GOLDEN_PROMPT];
        dsr1_error err = {0};
        golden_path(models[i], ".gguf", path);
        golden_prompt(models[i], tokens);
        const char *file = random_adapter(path, "random.gguf", "", 5, 11);
        must(merge_files(path, file, in_folder("merged.gguf"), &as_is, &result, &err), &err);
        must(dsr1_model_open(path, &base, &err), &err);
        must(dsr1_model_open(in_folder("merged.gguf"), &merged, &err), &err);
        must(dsr1_adapter_open(base, file, &adapter, &err), &err);
        dsr1_model_get_info(base, &info);
        size_t n = GOLDEN_PROMPT * (size_t) info.n_vocab;
        float *plain = logits_with(base, NULL, tokens, GOLDEN_PROMPT);
        float *beside = logits_with(base, adapter, tokens, GOLDEN_PROMPT);
        float *whole = logits_with(merged, NULL, tokens, GOLDEN_PROMPT);
        assert_true(distance(plain, beside, n) > 0.05);
        assert_true(distance(beside, whole, n) < 1e-4);
        free(plain);
        free(beside);
        free(whole);
        dsr1_adapter_close(adapter);
        dsr1_model_close(merged);
        dsr1_model_close(base);
    }
}

/* ------------------------------------------------------------------ */
/* Batches                                                             */
/* ------------------------------------------------------------------ */

enum { N_ADAPTERS = 4 };

static void open_adapters(const char *base, dsr1_adapter *adapters[N_ADAPTERS])
{
    static const char *const parts[N_ADAPTERS] = {"", "", "attn", "ffn"};
    dsr1_error err = {0};
    adapters[0] = NULL;
    for (int i = 1; i < N_ADAPTERS; i++)
        must(dsr1_adapter_open(model, random_adapter(base, "one.gguf", parts[i], 2 + 3 * i, 100 * (uint64_t) i),
                               &adapters[i], &err), &err);
}

static void ask_adapters(dsr1_engine *engine, dsr1_adapter *const adapters[N_ADAPTERS], struct answer *answers, int n,
                         uint64_t seed)
{
    for (int i = 0; i < n; i++) {
        dsr1_request r = request(&answers[i], 24);
        r.adapter = adapters[i % N_ADAPTERS];
        r.temperature = 1;
        r.seed = seed + (uint64_t) i / N_ADAPTERS;
        r.want_logprobs = true;
        submit(engine, &r);
    }
}

static void answers_with_adapters_depend_on_nothing_else(const char *base)
{
    enum { N = 16 };
    dsr1_adapter *adapters[N_ADAPTERS];
    struct answer mixed[N], again[N];
    dsr1_error err = {0};
    must(dsr1_model_open(base, &model, &err), &err);
    open_adapters(base, adapters);
    dsr1_engine *engine = open_engine((dsr1_engine_options){.n_threads = 2, .max_batch = 16,
                                                                .kv_cache_size = (size_t) 64 << 20});
    ask_adapters(engine, adapters, mixed, N, 5);
    pump(engine);
    assert_true(memcmp(mixed[0].tokens, mixed[1].tokens, sizeof mixed[0].tokens) != 0);
    assert_true(memcmp(mixed[1].tokens, mixed[2].tokens, sizeof mixed[0].tokens) != 0);
    /* Alone, with one thread, a cold cache and small chunks; and once more in the warm engine. */
    for (int i = 0; i < N; i++) {
        struct answer alone;
        dsr1_request r = request(&alone, 24);
        r.adapter = adapters[i % N_ADAPTERS];
        r.temperature = 1;
        r.seed = 5 + (uint64_t) i / N_ADAPTERS;
        r.want_logprobs = true;
        ask_alone(&r, (dsr1_engine_options){.n_threads = 1, .chunk_size = 5});
        expect_same(&mixed[i], &alone);
    }
    ask_adapters(engine, adapters, again, N, 5);
    pump(engine);
    for (int i = 0; i < N; i++) {
        expect_same(&mixed[i], &again[i]);
        assert_true(again[i].usage.cached_tokens > 0);
    }
    dsr1_engine_close(engine);
    for (int i = 1; i < N_ADAPTERS; i++)
        dsr1_adapter_close(adapters[i]);
    dsr1_model_close(model);
}

static void bits_do_not_depend_on_other_adapters_in_the_batch(void **state)
{
    answers_with_adapters_depend_on_nothing_else(GOLDEN_FOLDER "deepseek-f32.gguf");
    answers_with_adapters_depend_on_nothing_else(GOLDEN_FOLDER "deepseek-q4k.gguf");
    answers_with_adapters_depend_on_nothing_else(GOLDEN_FOLDER "dsv3-f32.gguf");
    answers_with_adapters_depend_on_nothing_else(GOLDEN_FOLDER "qwen2-q5k.gguf");
    /* Wide enough for runs of more panels than an adapter adds at once. */
    answers_with_adapters_depend_on_nothing_else("models/dsr1-default.gguf");
}

static void a_closed_adapter_lives_until_its_requests_are_over(void **state)
{
    struct answer first, second;
    dsr1_adapter *adapter;
    dsr1_error err = {0};
    const char *base = GOLDEN_FOLDER "deepseek-f32.gguf";
    must(dsr1_model_open(base, &model, &err), &err);
    must(dsr1_adapter_open(model, random_adapter(base, "short.gguf", "", 3, 9), &adapter, &err), &err);
    dsr1_engine *engine = open_engine((dsr1_engine_options){.n_threads = 1});
    dsr1_request r = request(&first, 16);
    r.adapter = adapter;
    submit(engine, &r);
    r.user = &second;
    memset(&second, 0, sizeof second);
    submit(engine, &r);
    dsr1_engine_step(engine, &err);
    dsr1_adapter_close(adapter);
    pump(engine);
    expect_same(&first, &second);
    assert_int_equal(first.n_tokens, 16);
    dsr1_engine_close(engine);
    dsr1_model_close(model);
}

static void an_adapter_that_does_not_fit_is_refused(void **state)
{
    dsr1_adapter *adapter;
    dsr1_error err = {0};
    const char *deepseek = GOLDEN_FOLDER "deepseek-f32.gguf", *llama = GOLDEN_FOLDER "llama3-f32.gguf";
    must(dsr1_model_open(deepseek, &model, &err), &err);
    assert_int_equal(dsr1_adapter_open(model, deepseek, &adapter, &err), DSR1_ERR_FORMAT);
    assert_null(adapter);
    err = (dsr1_error){0};
    assert_int_equal(dsr1_adapter_open(model, random_adapter(llama, "llama.gguf", "", 3, 9), &adapter, &err),
                     DSR1_ERR_FORMAT);
    assert_non_null(strstr(err.message, "another architecture"));
    assert_int_equal(dsr1_adapter_open(model, in_folder("none.gguf"), &adapter, NULL), DSR1_ERR_IO);
    assert_int_equal(dsr1_adapter_open(model, random_adapter(deepseek, "wide.gguf", "attn_q", 600, 9), &adapter, NULL),
                     DSR1_ERR_UNSUPPORTED);
    dsr1_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_adapter_beside_is_an_adapter_merged),
        cmocka_unit_test(bits_do_not_depend_on_other_adapters_in_the_batch),
        cmocka_unit_test(a_closed_adapter_lives_until_its_requests_are_over),
        cmocka_unit_test(an_adapter_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, open_folder, remove_folder);
}
