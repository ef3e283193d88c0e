/*
 * test_train_f64_gradient.c - claims about gradients, by finite differences through whole models
 *
 * In double precision: a central difference then agrees with a right gradient to
 * seven digits or so, and with a wrong one to none.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train_golden.h"

#include "base/memory.h"
#include "base/rng.h"
#include "train/head.h"
#include "train/pass.h"
#include "train/trainable.h"

#include <math.h>

enum { ALL_LORA = TRAINABLE_ATTENTION | TRAINABLE_FFN | TRAINABLE_SHARED | TRAINABLE_EXPERTS, MAX_ROWS = 64 };

static const int start[] = {0, 24, 33, 43};

/* One model with what is trained, and a batch of three sequences. */
struct fixture {
    struct net net, teacher;
    struct trainable trainable;
    struct pass pass, teacher_pass;
    struct head head, teacher_head;
    int32_t tokens[MAX_ROWS];
    struct batch batch;
    int rows[MAX_ROWS];
    int32_t target[MAX_ROWS];
    real weight[MAX_ROWS], logp[MAX_ROWS];
    int n;
    real *d_out, *grad;
    bool distill;
};

/* B starts at zero in real life; here everything counts from the start. */
static void scatter_values(struct trainable *t)
{
    for (int i = 0; i < t->n_params; i++) {
        const struct param *p = &t->params[i];
        double range = strstr(p->name, "lora_") ? 0.3 / sqrt((double) p->ne[0]) : 0.02;
        for (size_t j = 0; j < p->n; j++)
            t->value[p->at + j] += range * (2 * rng_uniform(77, p->at + j) - 1);
    }
}

static void open_fixture(struct fixture *f, const char *name, unsigned lora, unsigned whole)
{
    char path[300];
    dsr1_error err = {0};
    *f = (struct fixture){0};
    golden_path(name, ".gguf", path);
    if (net_open(path, 64, &f->net, &err) != DSR1_OK)
        fail_msg("%s: %s", name, err.message);
    struct trainable_options options = {.rank = 3, .alpha = 6, .lora = lora, .whole = whole, .seed = 5};
    assert_int_equal(trainable_open(&f->net, &options, &f->trainable, NULL), DSR1_OK);
    scatter_values(&f->trainable);
    assert_int_equal(pass_open(&f->net, true, &f->pass, NULL), DSR1_OK);
    assert_int_equal(head_open(&f->net, &f->head, NULL), DSR1_OK);
    golden_prompt(name, f->tokens);
    memcpy(f->tokens + 24, f->tokens + 3, 19 * sizeof *f->tokens);
    f->batch = (struct batch){.n_seqs = 3, .start = start, .tokens = f->tokens};
    for (int s = 0; s < 3; s++)
        for (int r = start[s]; r < start[s + 1] - 1; r += 1 + s % 2) {
            f->rows[f->n] = r;
            f->target[f->n] = f->tokens[r + 1];
            f->weight[f->n] = rng_uniform(3, (uint64_t) r) - 0.3;
            f->n++;
        }
    f->d_out = memory_array(MAX_ROWS, (size_t) f->net.shape.n_embd * sizeof(real));
    f->grad = memory_array(f->trainable.n, sizeof(real));
}

static void close_fixture(struct fixture *f)
{
    free(f->d_out);
    free(f->grad);
    head_close(&f->head);
    pass_close(&f->pass);
    trainable_close(&f->trainable);
    net_close(&f->net);
    if (f->distill) {
        head_close(&f->teacher_head);
        pass_close(&f->teacher_pass);
        net_close(&f->teacher);
    }
}

/* The loss; with its gradient in f->grad where wanted. */
static double loss_of(struct fixture *f, bool backward)
{
    double loss = 0;
    size_t size = (size_t) batch_rows(&f->batch) * (size_t) f->net.shape.n_embd * sizeof(real);
    memset(f->d_out, 0, size);
    assert_int_equal(pass_begin(&f->pass, &f->batch, NULL), DSR1_OK);
    pass_forward(&f->pass);
    if (f->distill) {
        real kl[MAX_ROWS];
        head_distill(&f->head, f->pass.out, &f->teacher_head, f->teacher_pass.out, f->rows, f->weight, f->n,
                     f->target, f->logp, kl, backward ? f->d_out : NULL);
        for (int i = 0; i < f->n; i++)
            loss += f->weight[i] * kl[i];
    } else {
        head_cross_entropy(&f->head, f->pass.out, f->rows, f->target, f->n, NULL, NULL, f->weight, f->logp,
                           backward ? f->d_out : NULL);
        for (int i = 0; i < f->n; i++)
            loss -= f->weight[i] * f->logp[i];
    }
    if (backward) {
        memset(f->grad, 0, f->trainable.n * sizeof *f->grad);
        pass_backward(&f->pass, f->d_out, f->grad);
    }
    return loss;
}

static double difference(struct fixture *f, size_t at)
{
    real *value = f->trainable.value + at, before = *value;
    const double step = 1e-5;
    *value = before + step;
    double above = loss_of(f, false);
    *value = before - step;
    double below = loss_of(f, false);
    *value = before;
    return (above - below) / (2 * step);
}

/* Some entries of each trained tensor, always those with the largest gradient. */
static void check_gradients(struct fixture *f, int per_param)
{
    loss_of(f, true);
    int n_flat = 0;
    for (int i = 0; i < f->trainable.n_params; i++) {
        const struct param *p = &f->trainable.params[i];
        size_t largest = p->at;
        for (size_t j = p->at; j < p->at + p->n; j++)
            if (fabs(f->grad[j]) > fabs(f->grad[largest]))
                largest = j;
        for (int k = 0; k < per_param; k++) {
            size_t at = k == 0 ? largest : p->at + rng_at(9, p->at + (uint64_t) k) % p->n;
            double wanted = difference(f, at), got = f->grad[at];
            if (!(fabs(got - wanted) <= 2e-6 * fabs(wanted) + 2e-8))
                fail_msg("%s[%zu]: gradient %.10g, difference quotient %.10g", p->name, at - p->at, got, wanted);
        }
        n_flat += f->grad[largest] == 0;
    }
    assert_true(n_flat * 10 <= f->trainable.n_params);
}

static void every_adapter_and_router_gets_its_gradient(void **state)
{
    struct fixture f;
    open_fixture(&f, *state, ALL_LORA, TRAINABLE_ROUTER | TRAINABLE_NORMS);
    check_gradients(&f, 3);
    close_fixture(&f);
}

static void every_whole_matrix_gets_its_gradient(void **state)
{
    struct fixture f;
    open_fixture(&f, *state, 0, ALL_LORA | TRAINABLE_ROUTER | TRAINABLE_NORMS);
    check_gradients(&f, 2);
    close_fixture(&f);
}

static void an_adapter_on_the_router_gets_its_gradient(void **state)
{
    struct fixture f;
    open_fixture(&f, "deepseek-f32", TRAINABLE_ROUTER, 0);
    check_gradients(&f, 4);
    close_fixture(&f);
}

static void fewer_experts_get_their_gradient(void **state)
{
    struct fixture f;
    open_fixture(&f, "deepseek-f32", TRAINABLE_EXPERTS, TRAINABLE_ROUTER);
    f.batch.n_used = 1;
    check_gradients(&f, 2);
    f.batch.n_used = f.net.shape.n_experts;
    check_gradients(&f, 1);
    close_fixture(&f);
}

/* The teacher is the same file without what was added; a divergence, not a likelihood. */
static void distillation_gets_its_gradient(void **state)
{
    struct fixture f;
    char path[300];
    golden_path("deepseek-f32", ".gguf", path);
    open_fixture(&f, "deepseek-f32", TRAINABLE_ATTENTION | TRAINABLE_SHARED, TRAINABLE_ROUTER);
    f.distill = true;
    assert_int_equal(net_open(path, 64, &f.teacher, NULL), DSR1_OK);
    assert_int_equal(pass_open(&f.teacher, false, &f.teacher_pass, NULL), DSR1_OK);
    assert_int_equal(head_open(&f.teacher, &f.teacher_head, NULL), DSR1_OK);
    assert_int_equal(pass_begin(&f.teacher_pass, &f.batch, NULL), DSR1_OK);
    pass_forward(&f.teacher_pass);
    for (int i = 0; i < f.n; i++)
        f.weight[i] = 0.1 + rng_uniform(4, (uint64_t) i);
    assert_true(loss_of(&f, false) > 1e-6);
    check_gradients(&f, 2);
    close_fixture(&f);
}

static void a_student_that_is_its_teacher_has_nothing_to_learn(void **state)
{
    struct fixture f;
    char path[300];
    golden_path("llama3-f32", ".gguf", path);
    open_fixture(&f, "llama3-f32", TRAINABLE_ATTENTION, 0);
    f.distill = true;
    for (int i = 0; i < f.trainable.n_params; i++)
        if (strstr(f.trainable.params[i].name, ".lora_b"))
            memset(f.trainable.value + f.trainable.params[i].at, 0, f.trainable.params[i].n * sizeof(real));
    assert_int_equal(net_open(path, 64, &f.teacher, NULL), DSR1_OK);
    assert_int_equal(pass_open(&f.teacher, false, &f.teacher_pass, NULL), DSR1_OK);
    assert_int_equal(head_open(&f.teacher, &f.teacher_head, NULL), DSR1_OK);
    assert_int_equal(pass_begin(&f.teacher_pass, &f.batch, NULL), DSR1_OK);
    pass_forward(&f.teacher_pass);
    assert_true(fabs(loss_of(&f, true)) < 1e-12);
    for (size_t i = 0; i < f.trainable.n; i++)
        assert_true(fabs(f.grad[i]) < 1e-12);
    close_fixture(&f);
}

int main(void)
{
    static char names[][20] = {"llama3-f32", "qwen2-f32", "deepseek-f32", "dsv3-f32", "dsv2lite-f32",
                               "dsv2-legacy-f32"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(every_adapter_and_router_gets_its_gradient, names[0]),
        cmocka_unit_test_prestate(every_adapter_and_router_gets_its_gradient, names[1]),
        cmocka_unit_test_prestate(every_adapter_and_router_gets_its_gradient, names[2]),
        cmocka_unit_test_prestate(every_adapter_and_router_gets_its_gradient, names[3]),
        cmocka_unit_test_prestate(every_adapter_and_router_gets_its_gradient, names[4]),
        cmocka_unit_test_prestate(every_adapter_and_router_gets_its_gradient, names[5]),
        cmocka_unit_test_prestate(every_whole_matrix_gets_its_gradient, names[0]),
        cmocka_unit_test_prestate(every_whole_matrix_gets_its_gradient, names[2]),
        cmocka_unit_test_prestate(every_whole_matrix_gets_its_gradient, names[3]),
        cmocka_unit_test_prestate(every_whole_matrix_gets_its_gradient, names[5]),
        cmocka_unit_test(an_adapter_on_the_router_gets_its_gradient),
        cmocka_unit_test(fewer_experts_get_their_gradient),
        cmocka_unit_test(distillation_gets_its_gradient),
        cmocka_unit_test(a_student_that_is_its_teacher_has_nothing_to_learn),
    };
    return cmocka_run_group_tests_name("train_gradient", tests, NULL, NULL);
}
