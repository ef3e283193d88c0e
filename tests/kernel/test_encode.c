/*
 * test_encode.c - floats to blocks and back
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/rng.h"
#include "kernel/encode.h"
#include "kernel/kernel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { N = 4096, MOST_BYTES = N * 4 };

/* The error that a format makes on normally distributed weights, relative to them. */
static const struct {
    enum tensor_type type;
    double most;
} formats[] = {{TENSOR_F32, 0},      {TENSOR_F16, 4e-4},  {TENSOR_BF16, 3e-3}, {TENSOR_Q8_0, 8e-3},
               {TENSOR_Q6_K, 0.021}, {TENSOR_Q5_0, 0.05}, {TENSOR_Q4_K, 0.08}, {TENSOR_Q4_0, 0.095},
               {TENSOR_Q4_1, 0.08}, {TENSOR_Q5_1, 0.04}};
enum { N_FORMATS = sizeof formats / sizeof *formats };

static float x[N], y[N];
static uint8_t bytes[MOST_BYTES], again[MOST_BYTES];

static void fill_normal(uint64_t seed, float scale)
{
    for (uint64_t i = 0; i < N; i++) {
        double u = rng_uniform(seed, 2 * i), v = rng_uniform(seed, 2 * i + 1);
        x[i] = scale * (float) (sqrt(-2 * log(u + 1e-12)) * cos(6.283185307179586 * v));
    }
}

static double relative_error(enum tensor_type type)
{
    double error = 0, sum = 0;
    encode_row(type, x, N, bytes);
    dequantize_row(type, bytes, N, y);
    for (int i = 0; i < N; i++) {
        error += ((double) x[i] - (double) y[i]) * ((double) x[i] - (double) y[i]);
        sum += (double) x[i] * (double) x[i];
    }
    return sum > 0 ? sqrt(error / sum) : sqrt(error);
}

static void normal_weights_lose_as_little_as_the_format_allows(void **state)
{
    (void) state;
    for (int f = 0; f < N_FORMATS; f++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            fill_normal(seed, 0.02f);
            double error = relative_error(formats[f].type);
            if (!(error <= formats[f].most))
                fail_msg("%s: relative error %g, more than %g", tensor_type_name(formats[f].type), error,
                         formats[f].most);
        }
}

static void zeros_stay_zeros(void **state)
{
    (void) state;
    memset(x, 0, sizeof x);
    for (int f = 0; f < N_FORMATS; f++)
        if (relative_error(formats[f].type) != 0)
            fail_msg("%s", tensor_type_name(formats[f].type));
}

/* What a format can hold exactly it shall not change, else every copy would lose a little. */
static void encoding_what_was_decoded_changes_little(void **state)
{
    (void) state;
    for (int f = 0; f < N_FORMATS; f++) {
        fill_normal(7, 1);
        relative_error(formats[f].type);
        memcpy(x, y, sizeof x);
        double error = relative_error(formats[f].type);
        if (!(error <= formats[f].most / 4))
            fail_msg("%s: relative error %g of a second encoding", tensor_type_name(formats[f].type), error);
    }
}

static void tiny_large_and_lonely_values_stay_finite(void **state)
{
    (void) state;
    const float scales[] = {1e-38f, 1e-20f, 1e3f};
    for (int f = 0; f < N_FORMATS; f++)
        for (int s = 0; s < 4; s++) {
            if (s < 3)
                fill_normal(9, scales[s]);
            else
                for (int i = 0; i < N; i++)
                    x[i] = i % 32 == 5 ? -3 : 0;
            relative_error(formats[f].type);
            for (int i = 0; i < N; i++)
                if (!isfinite(y[i]))
                    fail_msg("%s, case %d: value %d is %g", tensor_type_name(formats[f].type), s, i, (double) y[i]);
        }
}

static void a_row_is_encoded_block_by_block(void **state)
{
    (void) state;
    fill_normal(11, 1);
    for (int f = 0; f < N_FORMATS; f++) {
        enum tensor_type type = formats[f].type;
        size_t half = tensor_type_row(type, N / 2);
        encode_row(type, x, N, bytes);
        encode_row(type, x, N / 2, again);
        encode_row(type, x + N / 2, N / 2, again + half);
        assert_memory_equal(bytes, again, 2 * half);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_weights_lose_as_little_as_the_format_allows),
        cmocka_unit_test(zeros_stay_zeros),
        cmocka_unit_test(encoding_what_was_decoded_changes_little),
        cmocka_unit_test(tiny_large_and_lonely_values_stay_finite),
        cmocka_unit_test(a_row_is_encoded_block_by_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
