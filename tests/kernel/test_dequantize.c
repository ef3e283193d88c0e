/*
 * test_dequantize.c - every format's golden blocks, to the last bit
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/float16.h"
#include "kernel/kernel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N = 2048 };

static const char *const names[] = {"F16",  "BF16", "Q4_0", "Q4_1", "Q5_0",   "Q5_1",   "Q8_0", "Q2_K",
                                    "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"};

/* Exactly size bytes, so that AddressSanitizer sees a step too far. */
static void *read_golden(const char *name, const char *suffix, size_t size)
{
    char path[100];
    snprintf(path, sizeof path, "tests/golden/quants/%s%s", name, suffix);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s", path);
    void *bytes = malloc(size);
    assert_int_equal(fread(bytes, 1, size, file), size);
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    return bytes;
}

static void check(const char *name, const char *blocks, const char *values)
{
    enum tensor_type type = (enum tensor_type) tensor_type_parse(name);
    void *src = read_golden(name, blocks, tensor_type_row(type, N));
    float *want = read_golden(name, values, N * sizeof *want);
    float *got = malloc(N * sizeof *got);
    dequantize_row(type, src, N, got);
    for (int i = 0; i < N; i++)
        if (f32_bits(got[i]) != f32_bits(want[i]))
            fail_msg("%s%s: value %d is %.9g, not %.9g", name, blocks, i, got[i], want[i]);
    free(src);
    free(want);
    free(got);
}

static void quantised_floats_come_back(void **state)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check(names[i], ".q", ".f32");
}

static void random_blocks_stand_for_the_golden_floats(void **state)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check(names[i], ".rand.q", ".rand.f32");
}

static void floats_are_copied(void **state)
{
    float *src = read_golden("src", ".f32", N * sizeof *src), got[N];
    dequantize_row(TENSOR_F32, src, N, got);
    assert_memory_equal(src, got, sizeof got);
    free(src);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantised_floats_come_back),
        cmocka_unit_test(random_blocks_stand_for_the_golden_floats),
        cmocka_unit_test(floats_are_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
