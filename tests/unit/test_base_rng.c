/*
 * test_base_rng.c - claims about base/rng.h
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

/* A seed that a user wrote down gives the same answer in every later version: these numbers never change. */
static void draws_are_frozen_for_ever(void **state)
{
    assert_true(rng_at(0, 0) == UINT64_C(0xa706dd2f4d197e6f));
    assert_true(rng_at(0, 1) == UINT64_C(0xb382a305f4414f5e));
    assert_true(rng_at(42, 0) == UINT64_C(0x57e1faba65107204));
    assert_true(rng_at(UINT64_MAX, UINT64_MAX) == UINT64_C(0x445018e305810b78));
}

static void uniform_draws_lie_in_the_half_open_interval(void **state)
{
    double sum = 0, squares = 0;
    enum { N = 1000000 };
    for (uint64_t i = 0; i < N; i++) {
        double u = rng_uniform(3, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
    }
    /* Five standard errors of the mean and of the second moment. */
    assert_true(fabs(sum / N - 0.5) < 5 * sqrt(1 / 12.0 / N));
    assert_true(fabs(squares / N - 1 / 3.0) < 5 * sqrt(4 / 45.0 / N));
}

/* 256 cells, 255 degrees of freedom: the sum stays under 384 with a probability of 1 - 1e-6. */
static double chi_square(const int *counts, int n_draws)
{
    double expected = n_draws / 256.0, sum = 0;
    for (int c = 0; c < 256; c++)
        sum += (counts[c] - expected) * (counts[c] - expected) / expected;
    return sum;
}

static void bytes_are_even_over_indexes_and_over_seeds(void **state)
{
    enum { N = 256 * 1000 };
    for (int shift = 0; shift < 64; shift += 8) {
        int by_index[256] = {0}, by_seed[256] = {0};
        for (uint64_t i = 0; i < N; i++) {
            by_index[(rng_at(0, i) >> shift) & 255]++;
            by_seed[(rng_at(i, 0) >> shift) & 255]++;
        }
        assert_true(chi_square(by_index, N) < 384);
        assert_true(chi_square(by_seed, N) < 384);
    }
}

static void neighbours_share_no_more_bits_than_chance(void **state)
{
    enum { N = 100000 };
    double bits = 0;
    for (uint64_t i = 0; i < N; i++)
        bits += __builtin_popcountll(rng_at(i, 0) ^ rng_at(i + 1, 0)) +
                __builtin_popcountll(rng_at(1, i) ^ rng_at(1, i + 1));
    assert_true(fabs(bits / (2.0 * N) - 32) < 5 * 4 / sqrt(2.0 * N));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_frozen_for_ever),
        cmocka_unit_test(uniform_draws_lie_in_the_half_open_interval),
        cmocka_unit_test(bytes_are_even_over_indexes_and_over_seeds),
        cmocka_unit_test(neighbours_share_no_more_bits_than_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
