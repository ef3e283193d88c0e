/*
 * test_sampler.c - claims about core/serve/sampler.c
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "serve/sampler.h"

enum { N = 6 };
static const float plain[N] = {1.0f, 3.0f, 2.0f, 3.0f, -1.0f, 0.0f};

static int32_t choose(const struct sampler *s, const float *from, const int32_t *recent, int n_recent, uint64_t draw)
{
    float values[N];
    int ids[N];
    struct sampler_work work = {values, ids};
    return sampler_choose(s, kernels_for(CPU_SCALAR), from, N, NULL, recent, n_recent, draw, &work);
}

static void greedy_takes_the_largest_and_the_lowest_id_among_equals(void **state)
{
    (void) state;
    struct sampler s = {0};
    assert_int_equal(choose(&s, plain, NULL, 0, 0), 1);
}

static void the_penalty_lowers_recent_tokens_of_either_sign_once(void **state)
{
    (void) state;
    struct sampler s = {.repeat_penalty = 2.0f};
    int32_t recent[] = {1, 3, 1, 1};
    assert_int_equal(choose(&s, plain, recent, 4, 0), 2);
    const float negative[N] = {-1.0f, -1.5f, -4, -4, -4, -4};
    int32_t first[] = {0};
    assert_int_equal(choose(&s, negative, first, 1, 0), 1);
}

static void a_draw_depends_on_seed_and_index_alone(void **state)
{
    (void) state;
    struct sampler a = {.temperature = 1.0f, .seed = 7}, b = {.temperature = 1.0f, .seed = 8};
    int differs = 0;
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(choose(&a, plain, NULL, 0, i), choose(&a, plain, NULL, 0, i));
        differs += choose(&a, plain, NULL, 0, i) != choose(&b, plain, NULL, 0, i);
    }
    assert_true(differs > 20);
}

/* 20,000 draws: each frequency within five standard deviations of its probability. */
static void expect_frequencies(const struct sampler *s, const double *p)
{
    enum { DRAWS = 20000 };
    int count[N] = {0};
    for (uint64_t i = 0; i < DRAWS; i++)
        count[choose(s, plain, NULL, 0, i)]++;
    for (int i = 0; i < N; i++) {
        double sigma = sqrt(DRAWS * p[i] * (1 - p[i]));
        assert_true(fabs(count[i] - DRAWS * p[i]) <= 5 * sigma);
    }
}

/* 0 and 4 only: greedy takes the better one, and draws fall on no other. */
static void what_is_not_allowed_is_never_chosen(void **state)
{
    (void) state;
    struct sampler greedy = {0}, warm = {.temperature = 2.0f, .seed = 3};
    const uint64_t allowed = 1 << 0 | 1 << 4;
    float values[N];
    int ids[N], seen[N] = {0};
    struct sampler_work work = {values, ids};
    const struct kernels *k = kernels_for(CPU_SCALAR);
    assert_int_equal(sampler_choose(&greedy, k, plain, N, &allowed, NULL, 0, 0, &work), 0);
    for (uint64_t i = 0; i < 200; i++)
        seen[sampler_choose(&warm, k, plain, N, &allowed, NULL, 0, i, &work)]++;
    assert_int_equal(seen[0] + seen[4], 200);
    assert_true(seen[0] > seen[4] && seen[4] > 0);
}

static void the_most_likely_come_in_order(void **state)
{
    (void) state;
    dsr1_top top[4];
    double total = 0;
    for (int i = 0; i < N; i++)
        total += exp((double) plain[i]);
    total = log(total);
    assert_int_equal(sampler_top(plain, N, total, top, 4), 4);
    const int32_t wanted[] = {1, 3, 2, 0};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(top[i].token, wanted[i]);
        assert_true(fabs((double) top[i].logprob - ((double) plain[wanted[i]] - total)) < 1e-6);
    }
    assert_int_equal(sampler_top(plain, N, total, top, 0), 0);
}

static void frequencies_follow_temperature(void **state)
{
    (void) state;
    struct sampler s = {.temperature = 2.0f, .seed = 1};
    double p[N], total = 0;
    for (int i = 0; i < N; i++)
        total += p[i] = exp((double) plain[i] / 2);
    for (int i = 0; i < N; i++)
        p[i] /= total;
    expect_frequencies(&s, p);
}

static void top_k_keeps_the_k_largest(void **state)
{
    (void) state;
    struct sampler s = {.temperature = 1.0f, .top_k = 3, .seed = 2};
    double total = 2 * exp(3.0) + exp(2.0);
    double p[N] = {0, exp(3.0) / total, exp(2.0) / total, exp(3.0) / total, 0, 0};
    expect_frequencies(&s, p);
}

static void top_p_keeps_the_smallest_set_that_reaches_p(void **state)
{
    (void) state;
    struct sampler s = {.temperature = 1.0f, .top_p = 0.7f, .seed = 3};
    /* exp(3) / sum = 0.389: two of them reach 0.7. */
    double p[N] = {0, 0.5, 0, 0.5, 0, 0};
    expect_frequencies(&s, p);
}

static void min_p_drops_what_is_far_below_the_best(void **state)
{
    (void) state;
    struct sampler s = {.temperature = 1.0f, .min_p = 0.2f, .seed = 4};
    double total = 2 * exp(3.0) + exp(2.0);
    double p[N] = {0, exp(3.0) / total, exp(2.0) / total, exp(3.0) / total, 0, 0};
    expect_frequencies(&s, p);
}

static void a_masked_token_is_never_chosen(void **state)
{
    (void) state;
    float masked[N];
    memcpy(masked, plain, sizeof masked);
    masked[1] = masked[3] = -INFINITY;
    struct sampler s = {.temperature = 5.0f, .seed = 5};
    for (uint64_t i = 0; i < 2000; i++) {
        int32_t token = choose(&s, masked, NULL, 0, i);
        assert_true(token != 1 && token != 3);
    }
}

/* Candidates in order, the plain way: all are sorted, then cut. */
static struct {
    float p[5000];
    int ids[5000];
} all;

static int by_probability(const void *a, const void *b)
{
    int i = *(const int *) a, j = *(const int *) b;
    return all.p[i] != all.p[j] ? (all.p[i] < all.p[j]) - (all.p[i] > all.p[j]) : i - j;
}

static int32_t choose_plainly(const struct sampler *s, const float *logits, int n, uint64_t index)
{
    for (int i = 0; i < n; i++) {
        all.p[i] = logits[i] / s->temperature;
        all.ids[i] = i;
    }
    double total = kernels_for(CPU_SCALAR)->softmax_exp(all.p, n), mass = 0, sum = 0;
    qsort(all.ids, (size_t) n, sizeof *all.ids, by_probability);
    int kept = 0;
    while (kept < n && all.p[all.ids[kept]] > 0 && all.p[all.ids[kept]] >= s->min_p &&
           (s->top_k == 0 || kept < s->top_k) && (s->top_p == 0 || mass < s->top_p * total))
        mass += all.p[all.ids[kept++]];
    double u = rng_uniform(s->seed, index);
    for (int i = kept - 1; i > 0; i--)
        if (u * mass < (sum += all.p[all.ids[i]]))
            return all.ids[i];
    return all.ids[0];
}

/* Many tokens, some of them equal, from flat distributions to steep ones. */
static void limits_choose_what_sorting_all_tokens_would(void **state)
{
    (void) state;
    enum { MANY = 5000 };
    static float logits[MANY], values[MANY];
    static int ids[MANY];
    struct sampler_work work = {values, ids};
    static const float steepness[] = {0.01f, 2, 9, 60};
    static const struct sampler limits[] = {{.top_p = 0.95f}, {.top_p = 0.1f}, {.top_p = 0.9999f}, {.top_k = 1},
                                            {.top_k = 40}, {.top_k = 64}, {.top_k = 65}, {.top_k = 4999},
                                            {.top_k = 20, .top_p = 0.8f}, {.top_k = 300, .top_p = 0.5f, .min_p = 0.01f},
                                            {.top_p = 0.99f, .min_p = 0.3f}, {.top_k = 7, .min_p = 1e-6f}};
    for (size_t steep = 0; steep < sizeof steepness / sizeof *steepness; steep++) {
        for (int i = 0; i < MANY; i++)
            logits[i] = steepness[steep] * floorf(100 * (float) rng_uniform(steep, (uint64_t) i)) / 100;
        for (size_t l = 0; l < sizeof limits / sizeof *limits; l++)
            for (uint64_t draw = 0; draw < 20; draw++) {
                struct sampler s = limits[l];
                s.temperature = 0.8f;
                s.seed = l;
                int32_t got = sampler_choose(&s, kernels_default(), logits, MANY, NULL, NULL, 0, draw, &work);
                assert_int_equal(got, choose_plainly(&s, logits, MANY, draw));
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_largest_and_the_lowest_id_among_equals),
        cmocka_unit_test(the_penalty_lowers_recent_tokens_of_either_sign_once),
        cmocka_unit_test(a_draw_depends_on_seed_and_index_alone),
        cmocka_unit_test(what_is_not_allowed_is_never_chosen),
        cmocka_unit_test(the_most_likely_come_in_order),
        cmocka_unit_test(frequencies_follow_temperature),
        cmocka_unit_test(top_k_keeps_the_k_largest),
        cmocka_unit_test(top_p_keeps_the_smallest_set_that_reaches_p),
        cmocka_unit_test(min_p_drops_what_is_far_below_the_best),
        cmocka_unit_test(a_masked_token_is_never_chosen),
        cmocka_unit_test(limits_choose_what_sorting_all_tokens_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
