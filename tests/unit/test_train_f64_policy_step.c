/*
 * test_train_f64_policy_step.c - claims about a policy's gradient through a whole model
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train_golden.h"

#include "base/memory.h"
#include "base/rng.h"
#include "train/policy_step.h"

#include <math.h>

enum { N_ANSWERS = 8, N_PROMPT = 5, MAX_TOKENS = 20, MAX_ANSWER = 15, MAX_ALL = N_ANSWERS * MAX_ANSWER };

struct fixture {
    struct net net;
    struct trainable trainable;
    struct trainer trainer;
    struct thread_pool *pool;
    int32_t tokens[N_ANSWERS][MAX_TOKENS];
    real old[N_ANSWERS][MAX_ANSWER], ref[N_ANSWERS][MAX_ANSWER];
    uint8_t mask[N_ANSWERS][MAX_ANSWER];
    struct policy_answer answers[N_ANSWERS];
};

/* Answers of 4 to 15 tokens, ratios and references near the model's own probabilities. */
static void open_fixture_on(struct fixture *f, const char *model, int n_threads)
{
    char path[300];
    int32_t prompt[GOLDEN_PROMPT];
    real logp[MAX_ALL];
    struct trainable_options options = {.rank = 3, .alpha = 6, .seed = 2, .lora = TRAINABLE_ATTENTION |
                                        TRAINABLE_SHARED | TRAINABLE_EXPERTS | TRAINABLE_FFN,
                                        .whole = TRAINABLE_ROUTER};
    golden_path(model, ".gguf", path);
    golden_prompt(model, prompt);
    *f = (struct fixture){0};
    assert_int_equal(net_open(path, 64, &f->net, NULL), DSR1_OK);
    assert_int_equal(trainable_open(&f->net, &options, &f->trainable, NULL), DSR1_OK);
    for (size_t i = 0; i < f->trainable.n; i++)
        f->trainable.value[i] += 0.05 * (rng_uniform(1, i) - 0.5);
    assert_int_equal(thread_pool_open(n_threads, &f->pool, NULL), DSR1_OK);
    assert_int_equal(trainer_open(&f->net, &f->trainable, NULL, f->pool, &f->trainer, NULL), DSR1_OK);
    for (int a = 0; a < N_ANSWERS; a++) {
        int n = 4 + (int) (rng_at(2, (uint64_t) a) % 12);
        memcpy(f->tokens[a], prompt, N_PROMPT * sizeof *prompt);
        for (int i = 0; i < n; i++) {
            f->tokens[a][N_PROMPT + i] = prompt[(a * 7 + i * 3) % GOLDEN_PROMPT];
            f->mask[a][i] = i != 1;
        }
        f->answers[a] = (struct policy_answer){.tokens = f->tokens[a], .n_prompt = N_PROMPT, .n_tokens = N_PROMPT + n,
                                               .advantage = rng_uniform(3, (uint64_t) a) - 0.5, .mask = f->mask[a],
                                               .logp_old = f->old[a], .logp_ref = f->ref[a]};
    }
    assert_int_equal(policy_step_logp(&f->trainer, f->answers, N_ANSWERS, 0, logp, NULL), DSR1_OK);
    for (int a = 0, at = 0; a < N_ANSWERS; a++)
        for (int i = 0; i < f->answers[a].n_tokens - N_PROMPT; i++, at++) {
            f->old[a][i] = logp[at] + 0.5 * (rng_uniform(4, (uint64_t) at) - 0.5);
            f->ref[a][i] = logp[at] + 0.5 * (rng_uniform(5, (uint64_t) at) - 0.5);
        }
}

static void open_fixture(struct fixture *f, int n_threads)
{
    open_fixture_on(f, "deepseek-f32", n_threads);
}

static void close_fixture(struct fixture *f)
{
    trainer_close(&f->trainer);
    thread_pool_close(f->pool);
    trainable_close(&f->trainable);
    net_close(&f->net);
}

static double loss_of(struct fixture *f, const struct policy_options *o)
{
    double loss;
    struct policy_report report;
    dsr1_error err = {0};
    if (policy_step_gradient(&f->trainer, o, f->answers, N_ANSWERS, 0, NULL, &loss, &report, NULL, &err) != DSR1_OK)
        fail_msg("%s", err.message);
    return loss;
}

static void check_gradients(struct fixture *f, const struct policy_options *o)
{
    loss_of(f, o);
    size_t n = f->trainable.n;
    real *grad = memory_array(n, sizeof *grad);
    memcpy(grad, f->trainer.grad, n * sizeof *grad);
    for (int k = 0; k < 25; k++) {
        size_t at = rng_at(6, (uint64_t) k) % n;
        real before = f->trainable.value[at];
        f->trainable.value[at] = before + 1e-5;
        double above = loss_of(f, o);
        f->trainable.value[at] = before - 1e-5;
        double below = loss_of(f, o), wanted = (above - below) / 2e-5;
        f->trainable.value[at] = before;
        if (!(fabs(grad[at] - wanted) <= 5e-6 * fabs(wanted) + 2e-9))
            fail_msg("gradient %zu is %.10g, difference quotient %.10g", at, grad[at], wanted);
    }
    free(grad);
}

static void the_whole_way_down_is_the_losss_gradient(void **state)
{
    struct fixture f;
    open_fixture(&f, 1);
    for (int mean = 0; mean < POLICY_MEANS; mean++)
        for (int sequence = 0; sequence < 2; sequence++) {
            struct policy_options o = {.mean = (enum policy_mean) mean, .sequence_ratio = sequence, .clip_low = 0.2,
                                       .clip_high = 0.28, .beta = 0.04, .max_length = 15};
            check_gradients(&f, &o);
        }
    close_fixture(&f);
}

static void one_part_alone_is_the_same_for_both_token_means(void **state)
{
    struct fixture f;
    struct policy_options o = {.mean = POLICY_DAPO, .clip_low = 0.2, .clip_high = 0.28};
    open_fixture(&f, 1);
    double dapo = loss_of(&f, &o);
    o.mean = POLICY_BNPO;
    assert_true(dapo != 0 && loss_of(&f, &o) == dapo);
    close_fixture(&f);
}

/* In the batch the answers share one prompt, in the parts each has its own. */
static void is_the_sum_of_its_parts(const char *model)
{
    struct fixture f;
    struct policy_options o = {.mean = POLICY_DAPO, .clip_low = 0.2, .clip_high = 0.28, .beta = 0.04};
    struct policy_totals totals = {.n_seqs = N_ANSWERS, .n_parts = 1};
    open_fixture_on(&f, model, 1);
    double whole = loss_of(&f, &o), sum = 0, loss;
    size_t n = f.trainable.n;
    real *grad = memory_array(2 * n, sizeof *grad), *parts = grad + n;
    memcpy(grad, f.trainer.grad, n * sizeof *grad);
    for (int a = 0; a < N_ANSWERS; a++)
        totals.n_tokens += f.answers[a].n_tokens - N_PROMPT - 1;
    for (int a = 0; a < N_ANSWERS; a++) {
        struct policy_report report;
        assert_int_equal(policy_step_gradient(&f.trainer, &o, f.answers + a, 1, 0, &totals, &loss, &report, NULL, NULL),
                         DSR1_OK);
        sum += loss;
        for (size_t i = 0; i < n; i++)
            parts[i] += f.trainer.grad[i];
    }
    assert_true(fabs(sum - whole) < 1e-12);
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(parts[i] - grad[i]) < 1e-12);
    free(grad);
    close_fixture(&f);
}

static void a_batch_is_the_sum_of_its_parts(void **state)
{
    is_the_sum_of_its_parts("deepseek-f32");
    is_the_sum_of_its_parts("dsv3-f32");
    is_the_sum_of_its_parts("llama3-f32");
}

/* With ratios of one the head runs once instead of twice; the gradient is that of logp_old = logp. */
static void the_short_cut_on_policy_changes_nothing(void **state)
{
    struct fixture f;
    struct policy_options o = {.mean = POLICY_GRPO, .clip_low = 0.2, .clip_high = 0.2};
    real logp[MAX_ALL], again[MAX_ALL];
    double loss;
    struct policy_report report;
    open_fixture(&f, 2);
    assert_int_equal(policy_step_logp(&f.trainer, f.answers, N_ANSWERS, 0, logp, NULL), DSR1_OK);
    for (int a = 0, at = 0; a < N_ANSWERS; at += f.answers[a].n_tokens - N_PROMPT, a++)
        f.answers[a].logp_old = logp + at;
    loss_of(&f, &o);
    size_t n = f.trainable.n;
    real *grad = memory_array(n, sizeof *grad);
    memcpy(grad, f.trainer.grad, n * sizeof *grad);
    for (int a = 0; a < N_ANSWERS; a++) {
        f.answers[a].logp_old = NULL;
        f.answers[a].mask = f.mask[a];
    }
    assert_int_equal(policy_step_gradient(&f.trainer, &o, f.answers, N_ANSWERS, 0, NULL, &loss, &report, again, NULL),
                     DSR1_OK);
    assert_true(report.ratio == 1);
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(grad[i] - f.trainer.grad[i]) < 1e-14);
    for (int a = 0, at = 0; a < N_ANSWERS; a++)
        for (int i = 0; i < f.answers[a].n_tokens - N_PROMPT; i++, at++)
            assert_true(!f.mask[a][i] || fabs(again[at] - logp[at]) < 1e-14);
    free(grad);
    close_fixture(&f);
}

static void switched_off_adapters_are_the_base(void **state)
{
    struct fixture f;
    real with[MAX_ALL], without[MAX_ALL], base[MAX_ALL], back[MAX_ALL];
    struct trainer plain;
    open_fixture(&f, 1);
    size_t size = 0;
    for (int a = 0; a < N_ANSWERS; a++)
        size += (size_t) (f.answers[a].n_tokens - N_PROMPT) * sizeof(real);
    assert_int_equal(policy_step_logp(&f.trainer, f.answers, N_ANSWERS, 0, with, NULL), DSR1_OK);
    trainable_activate(&f.trainable, false);
    assert_int_equal(policy_step_logp(&f.trainer, f.answers, N_ANSWERS, 0, without, NULL), DSR1_OK);
    trainable_activate(&f.trainable, true);
    assert_int_equal(policy_step_logp(&f.trainer, f.answers, N_ANSWERS, 0, back, NULL), DSR1_OK);
    assert_memory_equal(with, back, size);
    trainer_close(&f.trainer);
    trainable_close(&f.trainable);
    assert_int_equal(trainer_open(&f.net, NULL, NULL, f.pool, &plain, NULL), DSR1_OK);
    assert_int_equal(policy_step_logp(&plain, f.answers, N_ANSWERS, 0, base, NULL), DSR1_OK);
    assert_memory_equal(without, base, size);
    assert_memory_not_equal(with, base, size);
    trainer_close(&plain);
    thread_pool_close(f.pool);
    net_close(&f.net);
}

/* Experts as the model chose them, given back: the same probabilities. Others: other ones. */
static void replayed_routing_is_obeyed(void **state)
{
    struct fixture f;
    real logp[MAX_ALL], again[MAX_ALL];
    open_fixture(&f, 1);
    int k = f.net.shape.n_used, layers = f.net.shape.n_layers;
    int *chosen[N_ANSWERS];
    size_t size = 0;
    assert_int_equal(policy_step_logp(&f.trainer, f.answers, N_ANSWERS, 0, logp, NULL), DSR1_OK);
    for (int a = 0; a < N_ANSWERS; a++) {
        struct pass pass;
        int n = f.answers[a].n_tokens - 1, start[] = {0, n}, used;
        struct batch batch = {.n_seqs = 1, .start = start, .tokens = f.tokens[a]};
        assert_int_equal(pass_open(&f.net, true, &pass, NULL), DSR1_OK);
        assert_int_equal(pass_begin(&pass, &batch, NULL), DSR1_OK);
        pass_forward(&pass);
        chosen[a] = calloc((size_t) (layers * n * k), sizeof *chosen[a]);
        for (int l = 0; l < layers; l++)
            if (pass_chosen(&pass, l, &used))
                memcpy(chosen[a] + l * n * k, pass_chosen(&pass, l, &used), (size_t) (n * k) * sizeof **chosen);
        pass_close(&pass);
        f.answers[a].chosen = chosen[a];
        size += (size_t) (n + 1 - N_PROMPT);
    }
    assert_int_equal(policy_step_logp(&f.trainer, f.answers, N_ANSWERS, 0, again, NULL), DSR1_OK);
    for (size_t i = 0; i < size; i++)
        assert_true(fabs(logp[i] - again[i]) < 1e-12);
    for (int i = 0; i < layers * (f.answers[3].n_tokens - 1) * k; i++)
        chosen[3][i] = (chosen[3][i] + 1) % f.net.shape.n_experts;
    assert_int_equal(policy_step_logp(&f.trainer, f.answers, N_ANSWERS, 0, again, NULL), DSR1_OK);
    for (int a = 0, at = 0; a < N_ANSWERS; at += f.answers[a].n_tokens - N_PROMPT, a++)
        assert_true((fabs(logp[at] - again[at]) > 1e-6) == (a == 3));
    for (int a = 0; a < N_ANSWERS; a++)
        free(chosen[a]);
    close_fixture(&f);
}

static void broken_answers_are_refused(void **state)
{
    struct fixture f;
    struct policy_options o = {.beta = 0.1};
    double loss;
    struct policy_report report;
    open_fixture(&f, 1);
    f.answers[2].logp_ref = NULL;
    assert_int_equal(policy_step_gradient(&f.trainer, &o, f.answers, N_ANSWERS, 0, NULL, &loss, &report, NULL, NULL),
                     DSR1_ERR_ARGUMENT);
    o.beta = 0;
    f.answers[5].n_tokens = N_PROMPT;
    assert_int_equal(policy_step_gradient(&f.trainer, &o, f.answers, N_ANSWERS, 0, NULL, &loss, &report, NULL, NULL),
                     DSR1_ERR_ARGUMENT);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_way_down_is_the_losss_gradient),
        cmocka_unit_test(one_part_alone_is_the_same_for_both_token_means),
        cmocka_unit_test(a_batch_is_the_sum_of_its_parts),
        cmocka_unit_test(the_short_cut_on_policy_changes_nothing),
        cmocka_unit_test(switched_off_adapters_are_the_base),
        cmocka_unit_test(replayed_routing_is_obeyed),
        cmocka_unit_test(broken_answers_are_refused),
    };
    return cmocka_run_group_tests_name("train_policy_step", tests, NULL, NULL);
}
