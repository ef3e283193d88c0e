/*
 * test_ops.c - vector operations, every level of this CPU
 *
 * The scalar functions against plain double arithmetic, the others against the
 * scalar ones bit for bit.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/float16.h"
#include "base/rng.h"
#include "kernel/ops.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct ops {
    void (*rms_norm)(const float *, const float *, int, float, float *);
    void (*swiglu)(const float *, const float *, int, float *);
    void (*swiglu_oai)(const float *, const float *, int, float *);
    void (*scale)(float, const float *, int, float *);
    void (*add_scaled)(float *, float, const float *, int);
    void (*rope)(float *, int, bool, const float *);
    void (*kv_store)(enum kv_type, const float *, int, void *);
    double (*softmax_exp)(float *, int);
};

#define OPS(level)                                                                                                \
    {                                                                                                             \
        rms_norm_##level, swiglu_##level, swiglu_oai_##level, scale_##level, add_scaled_##level, rope_##level,    \
            kv_store_##level, softmax_exp_##level                                                                 \
    }

static const struct ops levels[CPU_LEVELS] = {OPS(scalar), OPS(avx2), OPS(avx2), OPS(avx512), OPS(avx512)};

enum { MOST = 1100 };

/* Every length up to 70, then some: whole vectors, and each kind of tail. */
static int next_length(int n)
{
    return n < 70 ? n + 1 : n + 101;
}

static void fill(float *x, int n, uint64_t seed, float range)
{
    for (int i = 0; i < n; i++)
        x[i] = (float) (rng_uniform(seed, (uint64_t) i) * 2 - 1) * range;
}

/* Exact size, so that AddressSanitizer sees a step too far. */
static float *copy_of(const float *x, int n)
{
    float *copy = malloc((size_t) n * sizeof *x + 1);
    memcpy(copy, x, (size_t) n * sizeof *x);
    return copy;
}

static double ulps(float got, double want)
{
    float near = fabsf((float) want);
    float step = near < FLT_MAX ? nextafterf(near, INFINITY) - near : near - nextafterf(near, 0);
    return fabs(got - want) / step;
}

static void exp_is_within_1_ulp_over_all_floats(void **state)
{
    double worst = 0;
    for (uint64_t i = 0; i < 4000000; i++) {
        /* Half of the draws uniform in value, half in bits. */
        float x = (float) (rng_uniform(1, i) * 194 - 105);
        if (i % 2)
            x = f32_from_bits((uint32_t) rng_at(2, i));
        float want = (float) exp(x), got = ops_exp(x);
        if (isnan(x)) {
            assert_true(isnan(got));
        } else if (isinf(want) || want == 0) {
            assert_true(got == want);
        } else {
            worst = fmax(worst, ulps(got, exp(x)));
        }
    }
    assert_true(worst < 1.02);
}

static void exp_is_exact_at_the_edges(void **state)
{
    assert_true(ops_exp(0) == 1 && ops_exp(-0.0f) == 1);
    assert_true(ops_exp(-INFINITY) == 0 && ops_exp(-FLT_MAX) == 0 && ops_exp(-104) == 0);
    assert_true(ops_exp(INFINITY) == INFINITY && ops_exp(FLT_MAX) == INFINITY && ops_exp(88.73f) == INFINITY);
    assert_true(ops_exp(-103.9f) == 0x1p-149f);
    assert_true(isfinite(ops_exp(88.72f)));
}

static void sigmoid_keeps_its_accuracy_on_both_sides(void **state)
{
    assert_true(ops_sigmoid(0) == 0.5f);
    assert_true(ops_sigmoid(INFINITY) == 1 && ops_sigmoid(-INFINITY) == 0);
    assert_true(isnan(ops_sigmoid(NAN)));
    for (float z = -87; z < 120; z += 0.37f)
        assert_true(ulps(ops_sigmoid(z), 1 / (1 + exp(-(double) z))) < 3);
}

static void rms_norm_divides_by_the_root_of_the_mean_square(void **state)
{
    float x[MOST], w[MOST], y[MOST];
    fill(x, MOST, 1, 30);
    fill(w, MOST, 2, 2);
    for (int n = 1; n <= MOST; n = next_length(n)) {
        double sum = 0;
        for (int i = 0; i < n; i++)
            sum += (double) x[i] * x[i];
        double scale = 1 / sqrt(sum / n + 1e-6);
        rms_norm_scalar(x, w, n, 1e-6f, y);
        for (int i = 0; i < n; i++)
            assert_true(fabs(y[i] - x[i] * scale * w[i]) <= 4e-7 * fabs(x[i] * scale * w[i]));
        rms_norm_scalar(x, NULL, n, 1e-6f, y);
        for (int i = 0; i < n; i++)
            assert_true(fabs(y[i] - x[i] * scale) <= 4e-7 * fabs(x[i] * scale));
    }
}

/* Squares of 1e30 do not fit a float, those of 1e-30 vanish in one. */
static void rms_norm_takes_any_magnitude(void **state)
{
    for (int level = 0; level <= (int) cpu_level_hardware(); level++) {
        float x[40], y[40];
        for (int i = 0; i < 40; i++)
            x[i] = 1e15f;
        levels[level].rms_norm(x, NULL, 40, 1e-6f, y);
        assert_true(fabsf(y[0] - 1) < 1e-6f && y[39] == y[0]);
        memset(x, 0, sizeof x);
        levels[level].rms_norm(x, NULL, 40, 1e-6f, y);
        assert_true(y[0] == 0 && y[39] == 0);
    }
}

static void rms_norm_levels_agree(void **state)
{
    float x[MOST], w[MOST];
    fill(x, MOST, 3, 5);
    fill(w, MOST, 4, 1);
    for (int level = CPU_AVX2; level <= (int) cpu_level_hardware(); level++)
        for (int n = 1; n <= MOST; n = next_length(n)) {
            float *a = copy_of(x, n), *b = copy_of(x, n), *weight = copy_of(w, n);
            rms_norm_scalar(a, n % 2 ? weight : NULL, n, 1e-5f, a);
            levels[level].rms_norm(b, n % 2 ? weight : NULL, n, 1e-5f, b);
            assert_memory_equal(a, b, (size_t) n * sizeof *a);
            free(a);
            free(b);
            free(weight);
        }
}

static void swiglu_is_silu_times_up(void **state)
{
    float gate[MOST], up[MOST], y[MOST];
    fill(gate, MOST, 5, 40);
    fill(up, MOST, 6, 3);
    swiglu_scalar(gate, up, MOST, y);
    for (int i = 0; i < MOST; i++) {
        double want = gate[i] / (1 + exp(-(double) gate[i])) * up[i];
        assert_true(fabs(y[i] - want) <= 4e-7 * fabs(want) + 1e-44);
    }
}

static void swiglu_is_finite_for_every_finite_gate(void **state)
{
    const float gate[] = {FLT_MAX, -FLT_MAX, 1e30f, -1e30f, 100, -100, -88.5f, -104, 0, -0.0f, FLT_TRUE_MIN};
    enum { N = sizeof gate / sizeof *gate };
    float one[N], y[N];
    for (int i = 0; i < N; i++)
        one[i] = 1;
    for (int level = 0; level <= (int) cpu_level_hardware(); level++) {
        levels[level].swiglu(gate, one, N, y);
        for (int i = 0; i < N; i++)
            assert_true(gate[i] >= 0 ? fabsf(y[i]) <= gate[i] && y[i] >= 0.5f * gate[i] : fabsf(y[i]) < 1e-36f);
    }
}

static void swiglu_oai_clamps_gate_and_up(void **state)
{
    float gate[MOST], up[MOST], y[MOST];
    fill(gate, MOST, 7, 20);
    fill(up, MOST, 8, 20);
    swiglu_oai_scalar(gate, up, MOST, y);
    for (int i = 0; i < MOST; i++) {
        double g = fmin(gate[i], 7), u = fmax(fmin(up[i], 7), -7);
        double want = g / (1 + exp(-1.702 * g)) * (u + 1);
        /* The exponent, up to 34, is rounded before exp sees it. */
        assert_true(fabs(y[i] - want) <= 5e-6 * fabs(want) + 1e-40);
    }
}

static void swiglu_levels_agree(void **state)
{
    float gate[MOST], up[MOST], a[MOST];
    fill(gate, MOST, 9, 120);
    fill(up, MOST, 10, 10);
    for (int level = CPU_AVX2; level <= (int) cpu_level_hardware(); level++)
        for (int n = 0; n <= MOST; n = next_length(n)) {
            float *b = copy_of(gate, n), *u = copy_of(up, n);
            swiglu_scalar(gate, up, n, a);
            levels[level].swiglu(b, u, n, b);
            assert_memory_equal(a, b, (size_t) n * sizeof *a);
            memcpy(b, gate, (size_t) n * sizeof *b);
            swiglu_oai_scalar(gate, up, n, a);
            levels[level].swiglu_oai(b, u, n, b);
            assert_memory_equal(a, b, (size_t) n * sizeof *a);
            free(b);
            free(u);
        }
}

static void scale_multiplies_and_levels_agree(void **state)
{
    float x[MOST], a[MOST];
    fill(x, MOST, 10, 10);
    for (int level = 0; level <= (int) cpu_level_hardware(); level++)
        for (int n = 0; n <= MOST; n = next_length(n)) {
            for (int i = 0; i < n; i++)
                a[i] = 0.7f * x[i];
            float *b = copy_of(x, n), *c = copy_of(x, n);
            levels[level].scale(0.7f, b, n, c);
            assert_memory_equal(a, c, (size_t) n * sizeof *a);
            levels[level].scale(0.7f, b, n, b);
            assert_memory_equal(a, b, (size_t) n * sizeof *a);
            free(b);
            free(c);
        }
}

static void add_scaled_adds_and_levels_agree(void **state)
{
    float x[MOST], y[MOST], a[MOST];
    fill(x, MOST, 11, 10);
    fill(y, MOST, 12, 10);
    for (int level = 0; level <= (int) cpu_level_hardware(); level++)
        for (int n = 0; n <= MOST; n = next_length(n)) {
            for (int i = 0; i < n; i++)
                a[i] = fmaf(0.7f, y[i], x[i]);
            float *b = copy_of(x, n), *c = copy_of(y, n);
            levels[level].add_scaled(b, 0.7f, c, n);
            assert_memory_equal(a, b, (size_t) n * sizeof *a);
            free(b);
            free(c);
        }
}

static void rope_turns_pairs(void **state)
{
    float x[64], cos_sin[64];
    fill(x, 64, 13, 3);
    for (int neox = 0; neox < 2; neox++)
        for (int n_rot = 2; n_rot <= 64; n_rot += 2) {
            for (int i = 0; i < n_rot / 2; i++) {
                cos_sin[2 * i] = cosf((float) i + 0.3f);
                cos_sin[2 * i + 1] = sinf((float) i + 0.3f);
            }
            float *y = copy_of(x, 64);
            rope_scalar(y, n_rot, neox, cos_sin);
            for (int i = 0; i < n_rot / 2; i++) {
                int a = neox ? i : 2 * i, b = neox ? i + n_rot / 2 : 2 * i + 1;
                double c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
                assert_true(fabs(y[a] - (x[a] * c - x[b] * s)) < 1e-6);
                assert_true(fabs(y[b] - (x[a] * s + x[b] * c)) < 1e-6);
            }
            assert_memory_equal(y + n_rot, x + n_rot, (size_t) (64 - n_rot) * sizeof *x);
            free(y);
        }
}

static void rope_levels_agree(void **state)
{
    float x[300], cos_sin[300];
    fill(x, 300, 14, 3);
    fill(cos_sin, 300, 15, 1);
    for (int level = CPU_AVX2; level <= (int) cpu_level_hardware(); level++)
        for (int neox = 0; neox < 2; neox++)
            for (int n_rot = 0; n_rot <= 300; n_rot += 2) {
                float *a = copy_of(x, n_rot), *b = copy_of(x, n_rot), *table = copy_of(cos_sin, n_rot);
                rope_scalar(a, n_rot, neox, table);
                levels[level].rope(b, n_rot, neox, table);
                assert_memory_equal(a, b, (size_t) n_rot * sizeof *a);
                free(a);
                free(b);
                free(table);
            }
}

static void softmax_exp_gives_1_to_the_largest_and_0_to_minus_infinity(void **state)
{
    for (int level = 0; level <= (int) cpu_level_hardware(); level++)
        for (int n = 1; n <= MOST; n = next_length(n)) {
            float x[MOST];
            fill(x, n, 16, 20);
            for (int i = 0; i < n - 1; i += 3)
                x[i] = -INFINITY;
            x[n / 2] = 4000;
            double sum = levels[level].softmax_exp(x, n), want = 0;
            for (int i = 0; i < n; i++) {
                assert_true(x[i] == (i == n / 2));
                want += x[i];
            }
            assert_true(sum == want);
        }
}

static void softmax_exp_of_nothing_is_zero(void **state)
{
    for (int level = 0; level <= (int) cpu_level_hardware(); level++)
        for (int n = 0; n < 40; n++) {
            float x[40];
            for (int i = 0; i < n; i++)
                x[i] = -INFINITY;
            assert_true(levels[level].softmax_exp(x, n) == 0);
            for (int i = 0; i < n; i++)
                assert_true(x[i] == 0);
        }
}

static void softmax_exp_agrees_with_double_and_levels_agree(void **state)
{
    float x[MOST], a[MOST];
    fill(x, MOST, 17, 60);
    for (int n = 1; n <= MOST; n = next_length(n)) {
        double max = -INFINITY, want = 0;
        for (int i = 0; i < n; i++)
            max = fmax(max, x[i]);
        memcpy(a, x, (size_t) n * sizeof *x);
        double sum = softmax_exp_scalar(a, n);
        for (int i = 0; i < n; i++) {
            double w = exp((double) (float) (x[i] - max));
            assert_true(fabs(a[i] - w) <= 1.3e-7 * w + 1e-45);
            want += w;
        }
        assert_true(fabs(sum - want) < 1e-6 * want);
        for (int level = CPU_AVX2; level <= (int) cpu_level_hardware(); level++) {
            float *b = copy_of(x, n);
            assert_true(levels[level].softmax_exp(b, n) == sum);
            assert_memory_equal(a, b, (size_t) n * sizeof *a);
            free(b);
        }
    }
}

/* Values of every magnitude a half knows, ties between halves, and what overflows. */
static void fill_halves(float *x, int n, uint64_t seed)
{
    for (int i = 0; i < n; i++) {
        uint64_t bits = rng_at(seed, (uint64_t) i);
        x[i] = f32_from_f16((uint16_t) bits);
        if (!isfinite(x[i]))
            x[i] = 1e6f;
        else if (bits & 0x10000)
            x[i] = f32_from_bits((f32_bits(x[i]) + 0x1000) ^ (uint32_t) (bits >> 17 & 1));
    }
}

static void kv_store_rounds_halves_to_even_at_every_level(void **state)
{
    float x[MOST];
    for (uint64_t seed = 0; seed < 40; seed++) {
        fill_halves(x, MOST, seed);
        for (int level = 0; level <= (int) cpu_level_hardware(); level++)
            for (int n = seed ? MOST : 0; n <= MOST; n = next_length(n)) {
                uint8_t *row = malloc(2 * (size_t) n + 1);
                levels[level].kv_store(KV_F16, x, n, row);
                for (int i = 0; i < n; i++) {
                    uint16_t half;
                    memcpy(&half, row + 2 * i, 2);
                    assert_int_equal(half, f16_from_f32(x[i]));
                }
                free(row);
            }
    }
}

static void kv_store_keeps_floats(void **state)
{
    float x[33], y[33];
    fill(x, 33, 18, 1e30f);
    for (int level = 0; level <= (int) cpu_level_hardware(); level++) {
        levels[level].kv_store(KV_F32, x, 33, y);
        assert_memory_equal(x, y, sizeof x);
    }
}

/* Floats of every kind, ties between values of bf16 among them; small ones become zero, and rows are whole blocks. */
static void kv_store_rounds_to_bf16_at_every_level(void **state)
{
    float x[MOST];
    for (uint64_t seed = 0; seed < 40; seed++) {
        for (int i = 0; i < MOST; i++) {
            uint64_t bits = rng_at(seed, (uint64_t) i);
            x[i] = f32_from_bits(bits & 0x100000000 ? ((uint32_t) bits & 0xffff0000) | 0x8000 : (uint32_t) bits);
        }
        for (int level = 0; level <= (int) cpu_level_hardware(); level++)
            for (int n = seed ? MOST : 0; n <= MOST; n = next_length(n)) {
                float *exact = copy_of(x, n);
                uint16_t *row = malloc(kv_row_size(KV_BF16, (size_t) n) + 1);
                levels[level].kv_store(KV_BF16, exact, n, row);
                for (int i = 0; i < n; i++)
                    assert_int_equal(row[i], fabsf(x[i]) < 0x1p-56f ? 0 : bf16_from_f32(x[i]));
                for (int i = n; i < (n + 31) / 32 * 32; i++)
                    assert_int_equal(row[i], 0);
                free(row);
                free(exact);
            }
    }
}

static void kv_store_quantises_blocks_to_half_a_step(void **state)
{
    float x[320];
    fill(x, 320, 19, 7);
    uint8_t row[340];
    kv_store_scalar(KV_Q8_0, x, 320, row);
    for (int i = 0; i < 320; i++) {
        const uint8_t *block = row + i / 32 * 34;
        uint16_t half;
        memcpy(&half, block, 2);
        float d = f32_from_f16(half);
        /* Half a step, and what rounding d to a half moves 127 steps. */
        assert_true(fabsf((float) (int8_t) block[2 + i % 32] * d - x[i]) <= d * (0.5f + 127 * 0x1p-11f) * 1.0001f);
    }
}

/* One block each: max 127 makes d = 1, so that halves are ties; zeros; subnormals; what no half holds; no numbers. */
static void kv_store_quantises_the_same_at_every_level(void **state)
{
    float x[32 * 9];
    fill(x, 32, 20, 5);
    for (int i = 0; i < 32; i++) {
        x[32 + i] = i == 0 ? 127.0f : (float) (i - 16) + 0.5f;
        x[64 + i] = 0;
        x[96 + i] = 1e-7f * (float) i;
        x[128 + i] = 1e-42f * (float) i;
        x[160 + i] = 1e9f * (float) (i - 16);
        x[192 + i] = i == 5 ? NAN : (float) i;
        x[224 + i] = i == 5 ? INFINITY : (float) i;
        x[256 + i] = -3;
    }
    uint8_t want[34 * 9], got[34 * 9];
    kv_store_scalar(KV_Q8_0, x, 32 * 9, want);
    assert_int_equal((int8_t) want[34 + 2 + 16], 0);  /* 0.5 */
    assert_int_equal((int8_t) want[34 + 2 + 17], 2);  /* 1.5 */
    assert_int_equal((int8_t) want[34 + 2 + 14], -2); /* -1.5 */
    for (int i = 0; i < 34; i++)
        assert_int_equal(want[68 + i], 0);
    assert_int_equal((int8_t) want[34 * 8 + 2], -127);
    for (int level = CPU_AVX2; level <= (int) cpu_level_hardware(); level++) {
        levels[level].kv_store(KV_Q8_0, x, 32 * 9, got);
        assert_memory_equal(want, got, sizeof want);
    }
}

static void top_k_is_in_descending_order_lowest_index_first(void **state)
{
    const float x[] = {1, 5, 3, 5, NAN, -INFINITY, 3, 5, -0.0f, 0.0f};
    const int want[] = {1, 3, 7, 2, 6, 0, 8, 9, 5, 4};
    int ids[10];
    for (int k = 0; k <= 12; k++) {
        int n = ops_top_k(x, 10, k, ids);
        assert_int_equal(n, k < 10 ? k : 10);
        assert_memory_equal(ids, want, (size_t) n * sizeof *ids);
    }
    assert_int_equal(ops_top_k(x, 0, 4, ids), 0);
}

/* Few different values, so that the largest comes often; NaN here and there. */
static void argmax_is_the_first_of_the_largest(void **state)
{
    float x[MOST];
    for (int n = 1; n < MOST; n = next_length(n)) {
        int want = 0;
        for (int i = 0; i < n; i++) {
            x[i] = (float) (rng_at(44, (uint64_t) (n + i)) % 30);
            x[i] = i > 0 && x[i] == 3 ? NAN : i % 7 ? -x[i] : x[i] - 20;
            want = x[i] > x[want] ? i : want;
        }
        assert_int_equal(ops_argmax(x, n), want);
    }
    x[0] = NAN;
    assert_int_equal(ops_argmax(x, 40), 0);
}

static void top_k_agrees_with_repeated_search(void **state)
{
    float x[257];
    int ids[64];
    for (uint64_t seed = 0; seed < 200; seed++) {
        int n = (int) (1 + rng_at(seed, 1) % 257), k = (int) (1 + rng_at(seed, 2) % 64);
        for (int i = 0; i < n; i++)
            x[i] = (float) (rng_at(seed, 10 + (uint64_t) i) % 50);
        int count = ops_top_k(x, n, k, ids);
        assert_int_equal(count, k < n ? k : n);
        for (int j = 0; j < count; j++) {
            int best = -1;
            for (int i = 0; i < n; i++)
                if (!isnan(x[i]) && (best < 0 || x[i] > x[best]))
                    best = i;
            assert_int_equal(ids[j], best);
            x[best] = NAN;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_1_ulp_over_all_floats),
        cmocka_unit_test(exp_is_exact_at_the_edges),
        cmocka_unit_test(sigmoid_keeps_its_accuracy_on_both_sides),
        cmocka_unit_test(rms_norm_divides_by_the_root_of_the_mean_square),
        cmocka_unit_test(rms_norm_takes_any_magnitude),
        cmocka_unit_test(rms_norm_levels_agree),
        cmocka_unit_test(swiglu_is_silu_times_up),
        cmocka_unit_test(swiglu_is_finite_for_every_finite_gate),
        cmocka_unit_test(swiglu_oai_clamps_gate_and_up),
        cmocka_unit_test(swiglu_levels_agree),
        cmocka_unit_test(scale_multiplies_and_levels_agree),
        cmocka_unit_test(add_scaled_adds_and_levels_agree),
        cmocka_unit_test(rope_turns_pairs),
        cmocka_unit_test(rope_levels_agree),
        cmocka_unit_test(softmax_exp_gives_1_to_the_largest_and_0_to_minus_infinity),
        cmocka_unit_test(softmax_exp_of_nothing_is_zero),
        cmocka_unit_test(softmax_exp_agrees_with_double_and_levels_agree),
        cmocka_unit_test(kv_store_rounds_halves_to_even_at_every_level),
        cmocka_unit_test(kv_store_keeps_floats),
        cmocka_unit_test(kv_store_rounds_to_bf16_at_every_level),
        cmocka_unit_test(kv_store_quantises_blocks_to_half_a_step),
        cmocka_unit_test(kv_store_quantises_the_same_at_every_level),
        cmocka_unit_test(top_k_is_in_descending_order_lowest_index_first),
        cmocka_unit_test(top_k_agrees_with_repeated_search),
        cmocka_unit_test(argmax_is_the_first_of_the_largest),
    };
    return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
