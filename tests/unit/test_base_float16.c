/*
 * test_base_float16.c - claims about base/float16.h
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/float16.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

/* The value of a half from the definition of the format, in double. */
static double half_value(uint16_t h)
{
    int exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
    double magnitude = exponent == 31 ? (mantissa ? (double) NAN : (double) INFINITY)
                       : exponent == 0 ? ldexp(mantissa, -24)
                                       : ldexp(1024 + mantissa, exponent - 25);
    return h & 0x8000 ? -magnitude : magnitude;
}

/* x rounded to nearest even on a grid with digits bits of mantissa and least as the smallest step. */
static double round_to(double x, int digits, int least)
{
    int exponent;
    frexp(x, &exponent);
    int step = exponent - digits > least ? exponent - digits : least;
    return ldexp(nearbyint(ldexp(x, -step)), step);
}

static void every_half_decodes_to_its_value(void **state)
{
    for (int h = 0; h < 65536; h++) {
        double expected = half_value((uint16_t) h), got = (double) f32_from_f16((uint16_t) h);
        if (isnan(expected))
            assert_true(isnan(got));
        else
            assert_true(got == expected && !signbit(got) == !signbit(expected));
    }
}

static void every_half_survives_the_round_trip(void **state)
{
    for (int h = 0; h < 65536; h++) {
        uint16_t back = f16_from_f32(f32_from_f16((uint16_t) h));
        if ((h & 0x7c00) == 0x7c00 && (h & 0x3ff))
            assert_int_equal(back | 0x200, h | 0x200);  /* NaNs become quiet */
        else
            assert_int_equal(back, h);
    }
}

static void floats_round_to_the_nearest_even_half(void **state)
{
    for (uint64_t i = 0; i < 2000000; i++) {
        float f = f32_from_bits((uint32_t) rng_at(7, i));
        uint16_t h = f16_from_f32(f);
        if (isnan(f)) {
            assert_true(isnan(f32_from_f16(h)));
            continue;
        }
        double expected = isinf(f) ? (double) f : round_to((double) f, 11, -24);
        if (fabs(expected) > 65504)
            expected = copysign((double) INFINITY, (double) f);
        assert_true((double) f32_from_f16(h) == expected);
        assert_int_equal(h >> 15, signbit(f) ? 1 : 0);
    }
}

/* Random bits rarely fall in the narrow range of halves: look there closely. */
static void floats_between_two_halves_round_right(void **state)
{
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float low = f32_from_f16((uint16_t) h), high = f32_from_f16((uint16_t) (h + 1));
        float middle = low + (high - low) / 2;
        assert_int_equal(f16_from_f32(middle), h & 1 ? h + 1 : h);
        assert_int_equal(f16_from_f32(nextafterf(middle, 0)), h);
        assert_int_equal(f16_from_f32(nextafterf(middle, INFINITY)), h + 1);
    }
    assert_int_equal(f16_from_f32(65519.99f), 0x7bff);
    assert_int_equal(f16_from_f32(65520.0f), 0x7c00);
}

static void every_bfloat_survives_the_round_trip(void **state)
{
    for (int h = 0; h < 65536; h++) {
        uint16_t back = bf16_from_f32(f32_from_bf16((uint16_t) h));
        if ((h & 0x7f80) == 0x7f80 && (h & 0x7f))
            assert_int_equal(back, h | 64);
        else
            assert_int_equal(back, h);
    }
}

static void floats_round_to_the_nearest_even_bfloat(void **state)
{
    for (uint64_t i = 0; i < 2000000; i++) {
        float f = f32_from_bits((uint32_t) rng_at(8, i));
        float got = f32_from_bf16(bf16_from_f32(f));
        if (isnan(f)) {
            assert_true(isnan(got));
            continue;
        }
        double expected = isinf(f) ? (double) f : round_to((double) f, 8, -133);
        if (fabs(expected) >= 0x1p128)
            expected = copysign((double) INFINITY, (double) f);
        assert_true((double) got == expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_decodes_to_its_value),
        cmocka_unit_test(every_half_survives_the_round_trip),
        cmocka_unit_test(floats_round_to_the_nearest_even_half),
        cmocka_unit_test(floats_between_two_halves_round_right),
        cmocka_unit_test(every_bfloat_survives_the_round_trip),
        cmocka_unit_test(floats_round_to_the_nearest_even_bfloat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
