/*
 * test_train_f64_policy.c - claims about the loss of policy optimisation
 *
 * The golden table comes from tests/train/policy_table.py, which knows definitions but no
 * derivatives; the rest are identities that hold for any numbers.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "train/policy.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 200, N_SEQS = 8 };

/* ------------------------------------------------------------------ */
/* The golden table                                                    */
/* ------------------------------------------------------------------ */

struct table {
    json_t *root;
    int n_seqs, start[32];
    real logp[MAX], old[MAX], ref[MAX], advantage[32];
    uint8_t mask[MAX];
    double rewards[32];
};

static size_t read_reals(const json_t *list, real *to)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        to[i] = json_number_value(json_array_get(list, i));
    return json_array_size(list);
}

static void open_table(struct table *t)
{
    json_error_t why;
    t->root = json_load_file("tests/train/policy_table.json", 0, &why);
    assert_non_null(t->root);
    read_reals(json_object_get(t->root, "logp"), t->logp);
    read_reals(json_object_get(t->root, "logp_old"), t->old);
    read_reals(json_object_get(t->root, "logp_ref"), t->ref);
    t->n_seqs = (int) read_reals(json_object_get(t->root, "rewards"), t->rewards);
    for (int i = 0; i <= t->n_seqs; i++)
        t->start[i] = (int) json_integer_value(json_array_get(json_object_get(t->root, "start"), (size_t) i));
    for (int i = 0; i < t->start[t->n_seqs]; i++)
        t->mask[i] = (uint8_t) json_integer_value(json_array_get(json_object_get(t->root, "mask"), (size_t) i));
}

static struct policy_options options_of(const json_t *c)
{
    struct policy_options o = {.sequence_ratio = json_is_true(json_object_get(c, "sequence")),
                               .clip_low = json_number_value(json_object_get(c, "low")),
                               .clip_high = json_number_value(json_object_get(c, "high")),
                               .delta = json_number_value(json_object_get(c, "delta")),
                               .beta = json_number_value(json_object_get(c, "beta")), .max_length = 10};
    assert_true(policy_parse_mean(json_string_value(json_object_get(c, "mean")), &o.mean));
    return o;
}

static void every_row_of_the_golden_table_holds(void **state)
{
    struct table t;
    size_t i;
    json_t *c;
    open_table(&t);
    assert_true(json_array_size(json_object_get(t.root, "cases")) == 48);
    json_array_foreach(json_object_get(t.root, "cases"), i, c) {
        struct policy_options o = options_of(c);
        enum policy_scale scale;
        bool useful[3];
        real wanted[MAX], got[MAX], advantage[32];
        assert_true(policy_parse_scale(json_string_value(json_object_get(c, "scale")), &scale));
        assert_int_equal(policy_advantages(scale, t.rewards, 3, 4, t.advantage, useful), 2);
        assert_true(useful[0] && useful[1] && !useful[2]);
        read_reals(json_object_get(c, "advantage"), advantage);
        for (int s = 0; s < t.n_seqs; s++)
            assert_true(fabs(t.advantage[s] - advantage[s]) < 1e-12);
        struct policy_part part = {t.n_seqs, t.start, t.logp, t.old, t.ref, t.mask, t.advantage};
        struct policy_totals totals = policy_count(&part);
        double loss = policy_loss(&o, &part, &totals, got, NULL);
        if (!(fabs(loss - json_number_value(json_object_get(c, "loss"))) < 1e-12))
            fail_msg("case %zu: loss %.15g", i, loss);
        size_t n = read_reals(json_object_get(c, "grad"), wanted);
        for (size_t j = 0; j < n; j++)
            if (!(fabs(got[j] - wanted[j]) < 1e-9))
                fail_msg("case %zu: gradient %zu is %.12g, wanted %.12g", i, j, got[j], wanted[j]);
    }
    json_decref(t.root);
}

/* ------------------------------------------------------------------ */
/* Identities                                                          */
/* ------------------------------------------------------------------ */

/* Two groups of four answers of 3 to 9 tokens, one token of each masked. */
struct answers {
    int start[N_SEQS + 1], n;
    real logp[MAX], old[MAX], ref[MAX], advantage[N_SEQS], grad[MAX];
    uint8_t mask[MAX];
    double rewards[N_SEQS];
};

static struct answers some_answers(void)
{
    struct answers a = {0};
    for (int s = 0; s < N_SEQS; s++) {
        a.start[s + 1] = a.start[s] + 3 + (int) (rng_at(1, (uint64_t) s) % 7);
        a.rewards[s] = rng_uniform(2, (uint64_t) s);
    }
    a.n = a.start[N_SEQS];
    for (int i = 0; i < a.n; i++) {
        a.logp[i] = -3 * rng_uniform(3, (uint64_t) i);
        a.old[i] = a.logp[i] + 0.6 * (rng_uniform(4, (uint64_t) i) - 0.5);
        a.ref[i] = a.logp[i] + 0.6 * (rng_uniform(5, (uint64_t) i) - 0.5);
        a.mask[i] = 1;
    }
    for (int s = 0; s < N_SEQS; s++)
        a.mask[a.start[s] + 1] = 0;
    policy_advantages(POLICY_SCALE_GROUP, a.rewards, 2, 4, a.advantage, NULL);
    return a;
}

static struct policy_part part_of(const struct answers *a, bool on_policy)
{
    return (struct policy_part){N_SEQS, a->start, a->logp, on_policy ? NULL : a->old, a->ref, a->mask, a->advantage};
}

static double loss_of(const struct policy_options *o, struct answers *a, bool on_policy)
{
    struct policy_part part = part_of(a, on_policy);
    struct policy_totals totals = policy_count(&part);
    return policy_loss(o, &part, &totals, a->grad, NULL);
}

static struct policy_options plain(enum policy_mean mean, double beta)
{
    return (struct policy_options){.mean = mean, .clip_low = 0.2, .clip_high = 0.28, .beta = beta, .max_length = 12};
}

static void at_ratio_one_it_is_reinforce_with_a_baseline(void **state)
{
    struct answers a = some_answers();
    struct policy_options o = plain(POLICY_DAPO, 0);
    loss_of(&o, &a, true);
    int n = 0;
    for (int i = 0; i < a.n; i++)
        n += a.mask[i];
    for (int s = 0; s < N_SEQS; s++)
        for (int i = a.start[s]; i < a.start[s + 1]; i++)
            assert_true(fabs(a.grad[i] - (a.mask[i] ? -a.advantage[s] / n : 0)) < 1e-15);
}

static void equal_rewards_teach_exactly_nothing(void **state)
{
    struct answers a = some_answers();
    for (int s = 0; s < N_SEQS; s++)
        a.rewards[s] = 0.1;
    for (int scale = 0; scale < POLICY_SCALES; scale++) {
        assert_int_equal(policy_advantages((enum policy_scale) scale, a.rewards, 2, 4, a.advantage, NULL), 0);
        for (int mean = 0; mean < POLICY_MEANS; mean++) {
            struct policy_options o = plain((enum policy_mean) mean, 0);
            assert_true(loss_of(&o, &a, false) == 0);
            for (int i = 0; i < a.n; i++)
                assert_true(a.grad[i] == 0);
        }
    }
}

static void shifting_and_scaling_rewards_changes_nothing(void **state)
{
    struct answers a = some_answers();
    real shifted[N_SEQS], scaled[N_SEQS];
    double rewards[N_SEQS];
    for (int s = 0; s < N_SEQS; s++)
        rewards[s] = a.rewards[s] + 17;
    policy_advantages(POLICY_SCALE_GROUP, rewards, 2, 4, shifted, NULL);
    for (int s = 0; s < N_SEQS; s++)
        rewards[s] = 1000 * a.rewards[s];
    policy_advantages(POLICY_SCALE_GROUP, rewards, 2, 4, scaled, NULL);
    for (int s = 0; s < N_SEQS; s++) {
        assert_true(fabs(shifted[s] - a.advantage[s]) < 1e-12);
        /* The 1e-4 beside the deviation is what remains. */
        assert_true(fabs(scaled[s] - a.advantage[s]) < 1e-3 * fabs(a.advantage[s]) + 1e-12);
    }
}

static void permuting_a_group_permutes_its_gradients(void **state)
{
    struct answers a = some_answers(), b = {0};
    static const int order[N_SEQS] = {2, 0, 3, 1, 7, 6, 4, 5};
    for (int s = 0; s < N_SEQS; s++) {
        int from = a.start[order[s]], n = a.start[order[s] + 1] - from, to = b.start[s];
        b.start[s + 1] = to + n;
        b.rewards[s] = a.rewards[order[s]];
        memcpy(b.logp + to, a.logp + from, (size_t) n * sizeof(real));
        memcpy(b.old + to, a.old + from, (size_t) n * sizeof(real));
        memcpy(b.ref + to, a.ref + from, (size_t) n * sizeof(real));
        memcpy(b.mask + to, a.mask + from, (size_t) n);
    }
    b.n = a.n;
    policy_advantages(POLICY_SCALE_GROUP, b.rewards, 2, 4, b.advantage, NULL);
    struct policy_options o = plain(POLICY_GRPO, 0.04);
    assert_true(fabs(loss_of(&o, &a, false) - loss_of(&o, &b, false)) < 1e-14);
    for (int s = 0; s < N_SEQS; s++)
        for (int i = 0; i < b.start[s + 1] - b.start[s]; i++)
            assert_true(fabs(b.grad[b.start[s] + i] - a.grad[a.start[order[s]] + i]) < 1e-15);
}

static void what_stands_behind_the_mask_is_never_looked_at(void **state)
{
    struct answers a = some_answers(), b = some_answers();
    for (int i = 0; i < b.n; i++)
        if (!b.mask[i])
            b.logp[i] = b.old[i] = b.ref[i] = NAN;
    for (int sequence = 0; sequence < 2; sequence++)
        for (int mean = 0; mean < POLICY_MEANS; mean++) {
            struct policy_options o = plain((enum policy_mean) mean, 0.04);
            o.sequence_ratio = sequence;
            assert_true(loss_of(&o, &a, false) == loss_of(&o, &b, false));
            assert_memory_equal(a.grad, b.grad, sizeof a.grad);
        }
}

static void one_batch_is_the_sum_of_its_parts(void **state)
{
    struct answers a = some_answers();
    static const enum policy_mean means[] = {POLICY_DAPO, POLICY_GRPO, POLICY_DR_GRPO};
    for (int m = 0; m < 3; m++) {
        struct policy_options o = plain(means[m], 0.04);
        struct policy_part whole = part_of(&a, false);
        struct policy_totals totals = policy_count(&whole);
        double loss = loss_of(&o, &a, false), sum = 0;
        for (int s = 0; s < N_SEQS; s++) {
            real grad[MAX];
            struct policy_part one = {1, a.start + s, a.logp, a.old, a.ref, a.mask, a.advantage + s};
            sum += policy_loss(&o, &one, &totals, grad, NULL);
            for (int i = a.start[s]; i < a.start[s + 1]; i++)
                assert_true(grad[i] == a.grad[i]);
        }
        assert_true(fabs(sum - loss) < 1e-14);
    }
}

static void an_answer_without_a_reward_is_left_out(void **state)
{
    double rewards[] = {1, NAN, 0, 0.5};
    real advantage[4];
    assert_int_equal(policy_advantages(POLICY_SCALE_NONE, rewards, 1, 4, advantage, NULL), 1);
    assert_true(advantage[1] == 0);
    assert_true(fabs(advantage[0] - 0.5) < 1e-15 && fabs(advantage[2] + 0.5) < 1e-15 && advantage[3] == 0);
    double none[] = {NAN, NAN, 1, NAN};
    assert_int_equal(policy_advantages(POLICY_SCALE_GROUP, none, 1, 4, advantage, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_true(advantage[i] == 0);
}

static void long_answers_pay_little_by_little(void **state)
{
    assert_true(policy_overlong(80, 100, 20) == 0);
    assert_true(fabs(policy_overlong(90, 100, 20) + 0.5) < 1e-15);
    assert_true(policy_overlong(100, 100, 20) == -1 && policy_overlong(300, 100, 20) == -1);
}

static double k3_of(double logp, double ref)
{
    real lp = logp, lr = ref, grad, zero = 0;
    uint8_t one = 1;
    const int start[] = {0, 1};
    struct policy_options o = plain(POLICY_DAPO, 1);
    struct policy_part part = {1, start, &lp, NULL, &lr, &one, &zero};
    struct policy_totals totals = policy_count(&part);
    return policy_loss(&o, &part, &totals, &grad, NULL);
}

/* E_p[k3] = sum p (ref/p - 1) - sum p log(ref/p) = 0 + KL(p || ref). */
static void the_divergence_estimate_is_unbiased_and_never_negative(void **state)
{
    enum { V = 11 };
    double p[V], q[V], sum_p = 0, sum_q = 0, kl = 0, mean = 0;
    for (int i = 0; i < V; i++) {
        sum_p += p[i] = 0.05 + rng_uniform(6, (uint64_t) i);
        sum_q += q[i] = 0.05 + rng_uniform(7, (uint64_t) i);
    }
    for (int i = 0; i < V; i++) {
        double lp = log(p[i] / sum_p), lq = log(q[i] / sum_q), k3 = k3_of(lp, lq);
        assert_true(k3 >= 0);
        assert_true(k3_of(lp, lp) == 0);
        mean += p[i] / sum_p * k3;
        kl += p[i] / sum_p * (lp - lq);
    }
    assert_true(fabs(mean - kl) < 1e-12);
}

/*
 * Five levers, a softmax over five numbers, groups of eight pulls each, a plain gradient step: what
 * pays best is pulled more and more often.
 */
static void a_bandit_learns_the_best_lever(void **state)
{
    static const double pay[5] = {0.1, 0.3, 0.9, 0.2, 0.5};
    double score[5] = {0}, p[5], last = 0;
    uint64_t draw = 0;
    for (int step = 0; step < 300; step++) {
        int start[33], lever[32];
        real logp[32], grad[32], advantage[32];
        double reward[32], sum = 0;
        uint8_t mask[32];
        for (int i = 0; i < 5; i++)
            sum += exp(score[i]);
        for (int i = 0; i < 5; i++)
            p[i] = exp(score[i]) / sum;
        for (int i = 0; i < 32; i++) {
            double u = rng_uniform(11, draw++);
            for (lever[i] = 0; lever[i] < 4 && u >= p[lever[i]]; lever[i]++)
                u -= p[lever[i]];
            start[i] = i;
            logp[i] = log(p[lever[i]]);
            reward[i] = pay[lever[i]];
            mask[i] = 1;
        }
        start[32] = 32;
        policy_advantages(POLICY_SCALE_GROUP, reward, 4, 8, advantage, NULL);
        struct policy_options o = plain(POLICY_DAPO, 0);
        struct policy_part part = {32, start, logp, NULL, NULL, mask, advantage};
        struct policy_totals totals = policy_count(&part);
        policy_loss(&o, &part, &totals, grad, NULL);
        for (int i = 0; i < 32; i++)
            for (int j = 0; j < 5; j++)
                score[j] -= 0.5 * grad[i] * ((j == lever[i]) - p[j]);
        if (step % 30 == 29) {
            assert_true(p[2] > last || last > 0.95);
            last = p[2];
        }
    }
    assert_true(last > 0.95);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_golden_table_holds),
        cmocka_unit_test(at_ratio_one_it_is_reinforce_with_a_baseline),
        cmocka_unit_test(equal_rewards_teach_exactly_nothing),
        cmocka_unit_test(shifting_and_scaling_rewards_changes_nothing),
        cmocka_unit_test(permuting_a_group_permutes_its_gradients),
        cmocka_unit_test(what_stands_behind_the_mask_is_never_looked_at),
        cmocka_unit_test(one_batch_is_the_sum_of_its_parts),
        cmocka_unit_test(an_answer_without_a_reward_is_left_out),
        cmocka_unit_test(long_answers_pay_little_by_little),
        cmocka_unit_test(the_divergence_estimate_is_unbiased_and_never_negative),
        cmocka_unit_test(a_bandit_learns_the_best_lever),
    };
    return cmocka_run_group_tests_name("train_policy", tests, NULL, NULL);
}
