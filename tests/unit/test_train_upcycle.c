/*
 * test_train_upcycle.c - claims about cutting dense models into experts
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train_folder.h"

#include "base/memory.h"
#include "base/rng.h"
#include "text/chat.h"
#include "text/tokenizer.h"
#include "train/gram.h"
#include "train/head.h"
#include "train/pass.h"
#include "train/split.h"
#include "train/upcycle.h"

#include <math.h>
#include <unistd.h>

#define DENSE GOLDEN_FOLDER "llama3-f32.gguf"

static const char *const data[] = {"tests/train/policy_table.py"};

/* The tiny model's layers have 96 neurons. */
static struct upcycle_options small(void)
{
    struct upcycle_options o = upcycle_defaults();
    o.data = data;
    o.n_data = 1;
    o.n_tokens = 1024;
    o.seq = 64;
    o.n_slices = 12;
    o.n_shared = 4;
    o.n_used = 4;
    o.epochs = 3;
    o.down_type = TENSOR_F32;
    o.threads = 1;
    return o;
}

static struct upcycle_result upcycle(const struct upcycle_options *o, const char *to)
{
    struct upcycle_result result;
    dsr1_error err = {0};
    must(upcycle_file(DENSE, to, o, &result, &err), &err);
    return result;
}

/* Logits of the golden prompt with n_used experts per token. */
static real *logits(const char *path, int n_used, size_t *n)
{
    struct net net;
    struct pass pass;
    struct head head;
    dsr1_error err = {0};
    int32_t prompt[GOLDEN_PROMPT];
    const int start[] = {0, GOLDEN_PROMPT};
    golden_prompt("llama3-f32", prompt);
    struct batch batch = {.n_seqs = 1, .start = start, .tokens = prompt, .n_used = n_used};
    must(net_open(path, 64, &net, &err), &err);
    must(pass_open(&net, false, &pass, &err), &err);
    must(head_open(&net, &head, &err), &err);
    must(pass_begin(&pass, &batch, &err), &err);
    pass_forward(&pass);
    head_logits(&head, pass.out, NULL, GOLDEN_PROMPT);
    *n = GOLDEN_PROMPT * (size_t) net.shape.n_vocab;
    real *copy = memory_array(*n, sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, head.logits, *n * sizeof *copy);
    head_close(&head);
    pass_close(&pass);
    net_close(&net);
    return copy;
}

static double difference(const char *path, int n_used)
{
    size_t n, m;
    double worst = 0;
    real *dense = logits(DENSE, 0, &n), *experts = logits(path, n_used, &m);
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double) dense[i] - (double) experts[i]));
    free(dense);
    free(experts);
    return worst;
}

static void with_all_experts_it_is_the_dense_model(void **state)
{
    (void) state;
    struct upcycle_options o = small();
    const char *path = in_folder("all.gguf");
    for (int grain = 1; grain <= 8; grain *= 8)
        for (int shared = 0; shared <= 4; shared += 4)
            for (int copied = 0; copied < 2; copied++) {
                o.grain = grain;
                o.n_shared = shared;
                o.down_type = copied ? -1 : TENSOR_F32;
                upcycle(&o, path);
                double all = difference(path, o.n_slices - shared), some = difference(path, 4);
                if (!(all < 0.02 && some > 50 * all))
                    fail_msg("grain %d, %d shared: off by %g with all experts, by %g with four", grain, shared, all,
                             some);
            }
}

static void the_file_may_use_more_experts_than_it_was_cut_for(void **state)
{
    (void) state;
    struct upcycle_options o = small();
    const char *path = in_folder("default.gguf");
    for (o.n_default = 0; o.n_default <= 6; o.n_default += 6) {
        struct net net;
        dsr1_error err = {0};
        upcycle(&o, path);
        must(net_open(path, 8, &net, &err), &err);
        assert_int_equal(net.shape.n_used, o.n_default ? o.n_default : o.n_used);
        assert_int_equal(net.shape.n_experts, 8);
        net_close(&net);
    }
}

/* What asks for the middle between "a" and "b" in a file whose tokens for it are a, b and c. */
static void check_fim_order(const char *path, const int32_t *expected)
{
    struct gguf *file;
    struct tokenizer *tokenizer;
    int32_t tokens[8];
    dsr1_error err = {0};
    must(gguf_open(path, &file, &err), &err);
    must(tokenizer_open(file, &tokenizer, &err), &err);
    ptrdiff_t n = fim_encode(tokenizer, "a", 1, "b", 1, tokens, 8, &err);
    int bos = tokenizer_adds_bos(tokenizer);
    assert_int_equal(n, 5 + bos);
    assert_memory_equal(tokens + bos, expected, 5 * sizeof *expected);
    tokenizer_close(tokenizer);
    gguf_close(file);
}

static void the_file_names_tokens_for_filling_in(void **state)
{
    (void) state;
    struct upcycle_options o = small();
    struct upcycle_result result;
    struct gguf *file;
    struct tokenizer *tokenizer;
    dsr1_error err = {0};
    const char *path = in_folder("fim.gguf");
    o.fim = "a,b,c";
    upcycle(&o, path);
    must(gguf_open(path, &file, &err), &err);
    must(tokenizer_open(file, &tokenizer, &err), &err);
    int32_t ids[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(tokenizer_encode(tokenizer, &"abc"[i], 1, 0, ids + i, 1), 1);
    assert_int_equal(tokenizer_fim_prefix(tokenizer), ids[0]);
    assert_int_equal(tokenizer_fim_suffix(tokenizer), ids[1]);
    assert_int_equal(tokenizer_fim_middle(tokenizer), ids[2]);
    tokenizer_close(tokenizer);
    gguf_close(file);
    check_fim_order(path, (const int32_t[]){ids[0], ids[0], ids[1], ids[1], ids[2]});
    o.fim_order = "spm";
    upcycle(&o, path);
    check_fim_order(path, (const int32_t[]){ids[0], ids[1], ids[1], ids[2], ids[0]});
    for (int i = 0; i < 3; i++) {
        o.fim = (const char *const[]){"a,b", "a,b,no such token", ",b,c"}[i];
        assert_int_equal(upcycle_file(DENSE, path, &o, &result, &err), DSR1_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "is no token"));
    }
}

static void a_refit_predicts_better_with_few_experts(void **state)
{
    (void) state;
    struct upcycle_options o = small();
    struct upcycle_result loose, tight;
    o.refit = true;
    o.ridge = 1e6f;
    loose = upcycle(&o, in_folder("loose.gguf"));
    o.ridge = 0.02f;
    tight = upcycle(&o, in_folder("tight.gguf"));
    double before = fabs(loose.experts - loose.dense), after = fabs(tight.experts - tight.dense);
    if (!(after < before))
        fail_msg("surprise differs by %g without and by %g with a refit", before, after);
}

static void the_number_of_threads_leaves_no_trace(void **state)
{
    (void) state;
    struct upcycle_options o = small();
    const char *paths[] = {in_folder("one.gguf"), in_folder("three.gguf")};
    o.refit = true;
    o.down_type = TENSOR_Q8_0;
    o.n_slices = 3;
    o.n_shared = 1;
    o.n_used = 1;
    char command[700];
    for (int i = 0; i < 2; i++) {
        o.threads = 1 + 2 * i;
        upcycle(&o, paths[i]);
    }
    snprintf(command, sizeof command, "cmp %s %s", paths[0], paths[1]);
    assert_int_equal(system(command), 0);
}

static void numbers_that_do_not_fit_are_refused(void **state)
{
    (void) state;
    struct upcycle_result result;
    struct upcycle_options o[6];
    for (int i = 0; i < 6; i++)
        o[i] = small();
    o[0].n_slices = 7;
    o[1].n_shared = 12;
    o[2].n_used = 9;
    o[3].down_type = TENSOR_Q4_1;
    o[4].n_tokens = 10;
    o[5].grain = 3;
    for (int i = 0; i < 6; i++)
        if (upcycle_file(DENSE, in_folder("never.gguf"), &o[i], &result, NULL) != DSR1_ERR_ARGUMENT)
            fail_msg("case %d is accepted", i);
    struct upcycle_options fine = small();
    assert_int_equal(upcycle_file(GOLDEN_FOLDER "deepseek-f32.gguf", in_folder("never.gguf"), &fine, &result, NULL),
                     DSR1_ERR_UNSUPPORTED);
    assert_int_equal(access(in_folder("never.gguf"), F_OK), -1);
}

/* ------------------------------------------------------------------ */
/* Its parts                                                           */
/* ------------------------------------------------------------------ */

enum { ROWS = 400, IN = 100, OUT = 7 };

static void least_squares_find_the_weights_behind_the_rows(void **state)
{
    (void) state;
    static real x[ROWS * IN], y[ROWS * OUT], w[OUT * IN], found[OUT * IN];
    struct thread_pool *pool;
    struct gram g;
    dsr1_error err = {0};
    for (uint64_t i = 0; i < ROWS * IN; i++)
        x[i] = (real) (rng_uniform(1, i) - 0.5);
    for (uint64_t i = 0; i < OUT * IN; i++)
        w[i] = (real) (rng_uniform(2, i) - 0.5);
    real_gemm_nt(ROWS, OUT, IN, 1, x, IN, w, IN, 0, y, OUT);
    must(thread_pool_open(3, &pool, &err), &err);
    must(gram_open(IN, OUT, &g, &err), &err);
    gram_add_xx(&g, pool, x, ROWS, 0.5);
    gram_add_xy(&g, pool, x, y, ROWS, 0.5);
    must(gram_factor(&g, 1e-6, &err), &err);
    must(gram_solve(&g, NULL, found, &err), &err);
    for (int i = 0; i < OUT * IN; i++)
        assert_true(fabs((double) (found[i] - w[i])) < 1e-3);
    /* A large ridge believes the prior, not the rows. */
    real prior[OUT * IN];
    for (int i = 0; i < OUT * IN; i++)
        prior[i] = (real) 0.25;
    must(gram_factor(&g, 1e6, &err), &err);
    must(gram_solve(&g, prior, found, &err), &err);
    for (int i = 0; i < OUT * IN; i++)
        assert_true(fabs((double) (found[i] - prior[i])) < 1e-3);
    gram_close(&g);
    thread_pool_close(pool);
}

enum { ITEMS = 60, GROUPS = 5 };

static void groups_are_equal_and_no_swap_helps(void **state)
{
    (void) state;
    real gain[ITEMS * GROUPS];
    int group[ITEMS], size[GROUPS] = {0};
    for (uint64_t i = 0; i < ITEMS * GROUPS; i++)
        gain[i] = (real) rng_uniform(3, i);
    assert_true(split_assign(gain, ITEMS, GROUPS, ITEMS / GROUPS, group));
    for (int i = 0; i < ITEMS; i++)
        size[group[i]]++;
    for (int g = 0; g < GROUPS; g++)
        assert_int_equal(size[g], ITEMS / GROUPS);
    for (int i = 0; i < ITEMS; i++)
        for (int j = 0; j < i; j++)
            assert_true(gain[i * GROUPS + group[j]] + gain[j * GROUPS + group[i]] <=
                        gain[i * GROUPS + group[i]] + gain[j * GROUPS + group[j]] + (real) 1e-5);
}

static void like_directions_come_together(void **state)
{
    (void) state;
    real rows[ITEMS * 8];
    int group[ITEMS];
    /* Two bundles, of scattered lengths. */
    for (int i = 0; i < ITEMS; i++)
        for (int c = 0; c < 8; c++)
            rows[i * 8 + c] = (real) ((c == i % 2 ? 3 : 0.3 * rng_uniform(5, (uint64_t) (i * 8 + c))) * (1 + i % 7));
    assert_true(split_cluster(rows, ITEMS, 8, 2, 1, group));
    for (int i = 2; i < ITEMS; i++)
        assert_int_equal(group[i], group[i - 2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_all_experts_it_is_the_dense_model),
        cmocka_unit_test(the_file_may_use_more_experts_than_it_was_cut_for),
        cmocka_unit_test(the_file_names_tokens_for_filling_in),
        cmocka_unit_test(a_refit_predicts_better_with_few_experts),
        cmocka_unit_test(the_number_of_threads_leaves_no_trace),
        cmocka_unit_test(numbers_that_do_not_fit_are_refused),
        cmocka_unit_test(least_squares_find_the_weights_behind_the_rows),
        cmocka_unit_test(groups_are_equal_and_no_swap_helps),
        cmocka_unit_test(like_directions_come_together),
    };
    return cmocka_run_group_tests(tests, open_folder, remove_folder);
}
