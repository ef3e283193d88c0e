/*
 * test_attend.c - attention over pieces of cache, every level of this CPU
 *
 * Against a softmax in double over the values that the cache really holds, and
 * against each other bit for bit.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/float16.h"
#include "base/rng.h"
#include "kernel/ops.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* A cache of n_positions rows and n_q queries over it. */
struct problem {
    enum kv_type type;
    int n_k, n_v, n_q, n_positions;
    int piece; /* positions at a time */
    bool latent;
    size_t k_stride, v_stride;
    uint8_t *k, *v;
    float *q;
    int *from, *to; /* in positions of the whole cache */
};

struct answer {
    struct attend_state *state;
    float *acc;
};

static float random_float(uint64_t seed, uint64_t i)
{
    return (float) (rng_uniform(seed, i) * 4 - 2);
}

static void fill_rows(const struct problem *p, uint8_t *rows, size_t stride, int n, uint64_t seed)
{
    float *x = calloc((size_t) n + 1, sizeof *x);
    for (int r = 0; r < p->n_positions; r++) {
        for (int i = 0; i < n; i++)
            x[i] = random_float(seed, (uint64_t) r * 4096 + (uint64_t) i);
        kv_store_scalar(p->type, x, n, rows + (size_t) r * stride);
    }
    free(x);
}

static struct problem open_problem(enum kv_type type, int n_k, int n_v, bool latent, int n_q, int n_positions)
{
    struct problem p = {.type = type, .n_k = n_k, .n_v = n_v, .n_q = n_q, .n_positions = n_positions, .latent = latent};
    p.piece = n_q % 2 ? ATTEND_PIECE : 32;
    p.k_stride = kv_row_size(type, (size_t) n_k);
    p.v_stride = latent ? p.k_stride : kv_row_size(type, (size_t) n_v);
    p.k = calloc((size_t) n_positions, p.k_stride);
    fill_rows(&p, p.k, p.k_stride, n_k, 1);
    p.v = p.k;
    if (!latent) {
        p.v = calloc((size_t) n_positions, p.v_stride);
        fill_rows(&p, p.v, p.v_stride, n_v, 2);
    }
    p.q = calloc((size_t) n_q * (size_t) n_k, sizeof *p.q);
    for (int i = 0; i < n_q * n_k; i++)
        p.q[i] = random_float(3, (uint64_t) i) / sqrtf((float) n_k);
    p.from = calloc((size_t) n_q, sizeof *p.from);
    p.to = calloc((size_t) n_q, sizeof *p.to);
    for (int i = 0; i < n_q; i++)
        p.to[i] = n_positions;
    return p;
}

/* What a sliding window does: query i sees the window positions up to its own, n_q of which end the cache. */
static void set_window(struct problem *p, int window)
{
    for (int i = 0; i < p->n_q; i++) {
        p->to[i] = p->n_positions - (p->n_q - 1 - i) % p->n_positions;
        p->from[i] = p->to[i] > window ? p->to[i] - window : 0;
    }
}

static void close_problem(struct problem *p)
{
    if (!p->latent)
        free(p->v);
    free(p->k);
    free(p->q);
    free(p->from);
    free(p->to);
}

static struct answer open_answer(const struct problem *p)
{
    struct answer a;
    a.state = calloc((size_t) p->n_q, sizeof *a.state);
    a.acc = calloc((size_t) p->n_q * (size_t) p->n_v, sizeof *a.acc);
    for (int i = 0; i < p->n_q; i++)
        a.state[i].max = -INFINITY;
    return a;
}

static void close_answer(struct answer *a)
{
    free(a->state);
    free(a->acc);
}

static int clamp_to_piece(int position, int start, int rows)
{
    position -= start;
    return position < 0 ? 0 : position > rows ? rows : position;
}

/* Walks over the cache with the queries order[0] .. order[n - 1] at once. */
static void walk(const struct problem *p, int level, const int *order, int n, struct answer *a)
{
    const struct kernels *kernels = kernels_for((enum cpu_level) level);
    size_t q_size = kv_query_size((size_t) p->n_k);
    uint8_t *queries = malloc((size_t) n * q_size);
    const void **q = calloc((size_t) n, sizeof *q);
    float **acc = calloc((size_t) n, sizeof *acc);
    int *from = calloc((size_t) n, sizeof *from), *to = calloc((size_t) n, sizeof *to);
    struct attend_state *state = calloc((size_t) n, sizeof *state);
    for (int i = 0; i < n; i++) {
        q[i] = queries + (size_t) i * q_size;
        kernels->load_query(p->type, 1, p->q + (size_t) order[i] * (size_t) p->n_k, p->n_k,
                            queries + (size_t) i * q_size);
        acc[i] = a->acc + (size_t) order[i] * (size_t) p->n_v;
        state[i] = a->state[order[i]];
    }
    for (int start = 0; start < p->n_positions; start += p->piece) {
        int end = p->n_positions - start < p->piece ? p->n_positions - start : p->piece;
        for (int i = 0; i < n; i++) {
            from[i] = clamp_to_piece(p->from[order[i]], start, end);
            to[i] = clamp_to_piece(p->to[order[i]], start, end);
        }
        struct attend_piece piece = {.type = p->type,
                                     .n_k = p->n_k,
                                     .n_v = p->n_v,
                                     .k = p->k + (size_t) start * p->k_stride,
                                     .v = p->v + (size_t) start * p->v_stride,
                                     .k_stride = p->k_stride,
                                     .v_stride = p->v_stride,
                                     .n_q = n,
                                     .q = q,
                                     .from = from,
                                     .to = to,
                                     .state = state,
                                     .acc = acc};
        kernels->attend(&piece);
    }
    for (int i = 0; i < n; i++)
        a->state[order[i]] = state[i];
    free(queries);
    free(q);
    free(acc);
    free(from);
    free(to);
    free(state);
}

static void walk_all(const struct problem *p, int level, struct answer *a)
{
    int *order = calloc((size_t) p->n_q, sizeof *order);
    for (int i = 0; i < p->n_q; i++)
        order[i] = i;
    walk(p, level, order, p->n_q, a);
    free(order);
}

static double cached_value(enum kv_type type, const uint8_t *row, int i)
{
    uint16_t half;
    float f;
    if (type == KV_F32) {
        memcpy(&f, row + 4 * i, 4);
        return f;
    }
    const uint8_t *at = type == KV_Q8_0 ? row + i / 32 * 34 : row + 2 * i;
    memcpy(&half, at, 2);
    if (type == KV_BF16)
        return f32_from_bf16(half);
    double d = f32_from_f16(half);
    return type == KV_F16 ? d : d * (int8_t) at[2 + i % 32];
}

static double query_value(const struct problem *p, int i, int j)
{
    float q = p->q[i * p->n_k + j];
    return p->type == KV_BF16 ? f32_from_bf16(bf16_from_f32(q)) : q;
}

/* Query i in double, rounded where attention rounds it. A sink is one more logit without a value; -INFINITY for none. */
static void reference(const struct problem *p, int i, double sink, double *out)
{
    double *s = calloc((size_t) p->n_positions, sizeof *s), max = sink, sum;
    for (int r = p->from[i]; r < p->to[i]; r++) {
        for (int j = 0; j < p->n_k; j++)
            s[r] += query_value(p, i, j) * cached_value(p->type, p->k + (size_t) r * p->k_stride, j);
        max = s[r] > max ? s[r] : max;
    }
    sum = exp(sink - max);
    memset(out, 0, (size_t) p->n_v * sizeof *out);
    for (int r = p->from[i]; r < p->to[i]; r++) {
        double w = exp(s[r] - max);
        sum += w;
        for (int j = 0; j < p->n_v; j++)
            out[j] += w * cached_value(p->type, p->v + (size_t) r * p->v_stride, j);
    }
    for (int j = 0; j < p->n_v; j++)
        out[j] /= sum;
    free(s);
}

static void assert_near_reference(const struct problem *p, const struct answer *a, float sink)
{
    double *out = calloc((size_t) p->n_v, sizeof *out);
    for (int i = 0; i < p->n_q; i++) {
        if (p->from[i] >= p->to[i])
            continue;
        reference(p, i, sink, out);
        for (int j = 0; j < p->n_v; j++) {
            double got = a->acc[i * p->n_v + j] / (double) a->state[i].sum;
            /* Weights of 8 bits are wrong by 2^-9, and so is their sum; values are below 2. */
            if (!(fabs(got - out[j]) < (p->type == KV_BF16 ? 8e-3 : 2e-6)))
                fail_msg("type %d, %d/%d, query %d of %d, column %d: %.9g, not %.9g", p->type, p->n_k, p->n_v, i,
                         p->n_q, j, got, out[j]);
        }
    }
    free(out);
}

static void assert_same(const struct problem *p, const struct answer *a, const struct answer *b)
{
    assert_memory_equal(a->state, b->state, (size_t) p->n_q * sizeof *a->state);
    assert_memory_equal(a->acc, b->acc, (size_t) p->n_q * (size_t) p->n_v * sizeof *a->acc);
}

struct shape {
    int n_k, n_v;
    bool latent;
};

static const struct shape shapes[] = {
    {8, 8, false},     {16, 16, false},   {24, 24, false},  {32, 32, false},   {24, 16, true},
    {40, 32, true},    {64, 64, false},   {80, 80, false},  {96, 96, false},   {128, 128, false},
    {192, 128, false}, {256, 256, false}, {576, 512, true}, {1, 1, false},     {5, 3, false},
    {17, 33, false},   {100, 71, false},  {1024, 8, false}, {1040, 40, false},
};

static const int query_counts[] = {1, 2, 3, 4, 5, 7, 16, 33, 130};

/* Calls test for every type and shape that fit together. */
static void for_each_shape(void (*test)(enum kv_type, const struct shape *, int n_q))
{
    for (enum kv_type type = 0; type < KV_TYPES; type++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (size_t c = 0; c < sizeof query_counts / sizeof *query_counts; c++) {
                bool blocks = shapes[s].n_k % 32 == 0 && (shapes[s].latent || shapes[s].n_v % 32 == 0);
                if ((type == KV_Q8_0 && !blocks) || (shapes[s].n_k > 200 && query_counts[c] > 16))
                    continue;
                test(type, &shapes[s], query_counts[c]);
            }
}

static void check_levels(enum kv_type type, const struct shape *shape, int n_q)
{
    struct problem p = open_problem(type, shape->n_k, shape->n_v, shape->latent, n_q, 150);
    set_window(&p, 97);
    struct answer first = open_answer(&p);
    walk_all(&p, CPU_SCALAR, &first);
    assert_near_reference(&p, &first, -INFINITY);
    for (int level = CPU_AVX2; level <= (int) cpu_level_hardware(); level++) {
        struct answer a = open_answer(&p);
        walk_all(&p, level, &a);
        assert_same(&p, &first, &a);
        close_answer(&a);
    }
    close_answer(&first);
    close_problem(&p);
}

static void attend_agrees_with_double_and_levels_agree_bit_for_bit(void **state)
{
    for_each_shape(check_levels);
}

static void check_company(enum kv_type type, const struct shape *shape, int n_q)
{
    struct problem p = open_problem(type, shape->n_k, shape->n_v, shape->latent, n_q, 100);
    set_window(&p, 41);
    int *order = calloc((size_t) n_q, sizeof *order);
    for (int i = 0; i < n_q; i++)
        order[i] = i;
    for (int i = n_q - 1; i > 0; i--) {
        int other = (int) (rng_at(7, (uint64_t) i) % (uint64_t) (i + 1)), id = order[i];
        order[i] = order[other];
        order[other] = id;
    }
    for (int level = CPU_AVX2; level <= (int) cpu_level_hardware(); level++) {
        struct answer all = open_answer(&p), shuffled = open_answer(&p), alone = open_answer(&p);
        walk_all(&p, level, &all);
        walk(&p, level, order, n_q, &shuffled);
        for (int i = 0; i < n_q; i++)
            walk(&p, level, &i, 1, &alone);
        assert_same(&p, &all, &shuffled);
        assert_same(&p, &all, &alone);
        close_answer(&all);
        close_answer(&shuffled);
        close_answer(&alone);
    }
    free(order);
    close_problem(&p);
}

static void attend_gives_a_query_the_same_bits_in_any_company(void **state)
{
    for_each_shape(check_company);
}

/* Ranges of every kind side by side; what lies outside them is then filled with NaN. */
static void attend_ignores_positions_outside_the_range(void **state)
{
    static const int ranges[][2] = {{0, 64}, {63, 64}, {0, 1}, {5, 5}, {10, 30}, {20, 25}, {33, 61}, {40, 20}, {2, 62}};
    enum { N_RANGES = sizeof ranges / sizeof *ranges };
    for (int level = 0; level <= (int) cpu_level_hardware(); level++)
        for (int round = 0; round < 48; round++) {
            int n_q = round / 2 + 1;
            struct problem p = open_problem(round % 2 ? KV_BF16 : KV_F16, 72, 88, false, n_q, 64);
            for (int i = 0; i < n_q; i++) {
                p.from[i] = ranges[i * 4 % N_RANGES][0];
                p.to[i] = ranges[i * 4 % N_RANGES][1];
            }
            struct answer before = open_answer(&p);
            walk_all(&p, level, &before);
            assert_near_reference(&p, &before, -INFINITY);
            for (int i = 0; i < n_q; i++) {
                /* Query i again among its neighbours, with everything it does not see made NaN. */
                uint8_t *k = p.k, *v = p.v;
                p.k = malloc(64 * p.k_stride);
                p.v = malloc(64 * p.v_stride);
                memset(p.k, 0xff, 64 * p.k_stride);
                memset(p.v, 0xff, 64 * p.v_stride);
                for (int r = p.from[i]; r < p.to[i]; r++) {
                    memcpy(p.k + (size_t) r * p.k_stride, k + (size_t) r * p.k_stride, p.k_stride);
                    memcpy(p.v + (size_t) r * p.v_stride, v + (size_t) r * p.v_stride, p.v_stride);
                }
                struct answer after = open_answer(&p);
                walk_all(&p, level, &after);
                assert_memory_equal(&after.state[i], &before.state[i], sizeof after.state[i]);
                assert_memory_equal(after.acc + i * p.n_v, before.acc + i * p.n_v, (size_t) p.n_v * sizeof(float));
                close_answer(&after);
                free(p.k);
                free(p.v);
                p.k = k;
                p.v = v;
            }
            close_answer(&before);
            close_problem(&p);
        }
}

static void attend_leaves_a_query_without_a_range_alone(void **state)
{
    for (int level = 0; level <= (int) cpu_level_hardware(); level++)
        for (int n_q = 1; n_q <= 12; n_q += 11) {
            struct problem p = open_problem(KV_F16, 64, 64, false, n_q, 64);
            memset(p.to, 0, (size_t) n_q * sizeof *p.to);
            struct answer a = open_answer(&p), b = open_answer(&p);
            for (int i = 0; i < n_q; i++) {
                a.state[i] = b.state[i] = (struct attend_state){-0.0f, 3};
                a.acc[i * 64] = b.acc[i * 64] = -0.0f;
            }
            walk_all(&p, level, &a);
            assert_same(&p, &a, &b);
            close_answer(&a);
            close_answer(&b);
            close_problem(&p);
        }
}

static void attend_counts_a_sink(void **state)
{
    const float sink = 1.5f;
    for (int level = 0; level <= (int) cpu_level_hardware(); level++)
        for (int n_q = 1; n_q <= 9; n_q++) {
            struct problem p = open_problem(KV_F16, 64, 64, false, n_q, 90);
            struct answer a = open_answer(&p);
            for (int i = 0; i < n_q; i++)
                a.state[i] = (struct attend_state){sink, 1};
            walk_all(&p, level, &a);
            assert_near_reference(&p, &a, sink);
            close_answer(&a);
            close_problem(&p);
        }
}

/* Scores of thousands: all weight on one position, none lost to overflow, and growing from piece to piece. */
static void attend_survives_large_scores(void **state)
{
    for (int level = 0; level <= (int) cpu_level_hardware(); level++)
        for (int n_q = 1; n_q <= 6; n_q++) {
            struct problem p = open_problem(KV_F32, 32, 32, false, n_q, 130);
            for (int r = 0; r < 130; r++) {
                float k[32] = {(float) r * 100};
                memcpy(p.k + (size_t) r * p.k_stride, k, sizeof k);
            }
            for (int i = 0; i < n_q; i++) {
                memset(p.q + i * 32, 0, 32 * sizeof *p.q);
                p.q[i * 32] = i % 2 ? -10.0f : 10.0f;
            }
            struct answer a = open_answer(&p);
            walk_all(&p, level, &a);
            assert_near_reference(&p, &a, -INFINITY);
            for (int i = 0; i < n_q; i++) {
                const float *v = (const float *) (p.v + (size_t) (i % 2 ? 0 : 129) * p.v_stride);
                assert_true(a.state[i].sum == 1);
                assert_memory_equal(a.acc + i * 32, v, 32 * sizeof(float));
            }
            close_answer(&a);
            close_problem(&p);
        }
}

/* Products that overflow to -INFINITY weigh nothing, even where a query has no other. */
static void attend_takes_scores_of_minus_infinity(void **state)
{
    for (int level = 0; level <= (int) cpu_level_hardware(); level++)
        for (int n_q = 1; n_q <= 9; n_q++) {
            struct problem p = open_problem(KV_F32, 16, 16, false, n_q, 70);
            for (int r = 0; r < 70; r++) {
                float k[16] = {r == 66 ? 0.0f : 1e30f};
                memcpy(p.k + (size_t) r * p.k_stride, k, sizeof k);
            }
            for (int i = 0; i < n_q; i++) {
                memset(p.q + i * 16, 0, 16 * sizeof *p.q);
                p.q[i * 16] = -1e30f;
                p.to[i] = i % 3 == 0 ? 60 : 70;
            }
            struct answer a = open_answer(&p), untouched = open_answer(&p);
            walk_all(&p, level, &a);
            for (int i = 0; i < n_q; i++) {
                if (i % 3 == 0) {
                    assert_memory_equal(&a.state[i], &untouched.state[i], sizeof a.state[i]);
                    assert_memory_equal(a.acc + i * 16, untouched.acc, 16 * sizeof(float));
                } else {
                    assert_true(a.state[i].sum == 1);
                    assert_memory_equal(a.acc + i * 16, p.v + 66 * p.v_stride, 16 * sizeof(float));
                }
            }
            close_answer(&a);
            close_answer(&untouched);
            close_problem(&p);
        }
}

static void attend_keeps_subnormal_halves(void **state)
{
    for (int level = 0; level <= (int) cpu_level_hardware(); level++)
        for (int n_q = 1; n_q <= 8; n_q += 7) {
            struct problem p = open_problem(KV_F16, 24, 24, false, n_q, 3);
            for (int i = 0; i < 24 * 3; i++) {
                uint16_t half = (uint16_t) (i + 1 + (i % 2 ? 0x8000 : 0));
                memcpy(p.v + 2 * i, &half, 2);
                memset(p.k + 2 * i, 0, 2);
            }
            struct answer a = open_answer(&p);
            walk_all(&p, level, &a);
            for (int j = 0; j < 24; j++) {
                double sum = (j + 1) + (j + 25) + (j + 49);
                assert_true(a.acc[j] == (float) ((j % 2 ? -sum : sum) * 0x1p-24));
                assert_true(a.acc[(n_q - 1) * 24 + j] == a.acc[j]);
            }
            close_answer(&a);
            close_problem(&p);
        }
}

/* Products of bf16 take subnormal sums for zero; numbers of every size must still give the bits of floats. */
static void attend_agrees_on_bf16_of_every_size(void **state)
{
    for (int n_q = 1; n_q <= 19; n_q += 6) {
        struct problem p = open_problem(KV_BF16, 64, 96, false, n_q, 100);
        float x[96];
        for (int r = 0; r < 100; r++) {
            for (int i = 0; i < 96; i++) {
                uint64_t at = (uint64_t) (r * 96 + i);
                x[i] = ldexpf(random_float(5, at), (int) (rng_at(6, at) % 150) - 149);
            }
            kv_store_scalar(KV_BF16, x, 96, p.v + (size_t) r * p.v_stride);
        }
        for (int i = 0; i < n_q * 64; i++)
            p.q[i] = ldexpf(p.q[i], (int) (rng_at(8, (uint64_t) i) % 60) - 50);
        struct answer first = open_answer(&p);
        walk_all(&p, CPU_SCALAR, &first);
        for (int level = CPU_AVX2; level <= (int) cpu_level_hardware(); level++) {
            struct answer a = open_answer(&p);
            walk_all(&p, level, &a);
            assert_same(&p, &first, &a);
            close_answer(&a);
        }
        close_answer(&first);
        close_problem(&p);
    }
}

/* Rows that end with a page, an unreadable one behind it. */
static uint8_t *map_before_guard(size_t size, uint8_t **block, size_t *mapped)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    size_t data = (size + page - 1) / page * page;
    *mapped = data + page;
    *block = mmap(NULL, *mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(*block != MAP_FAILED);
    assert_int_equal(mprotect(*block + data, page, PROT_NONE), 0);
    return *block + data - size;
}

static void check_bounds(enum kv_type type, const struct shape *shape, int n_q)
{
    struct problem p = open_problem(type, shape->n_k, shape->n_v, shape->latent, n_q, 7);
    struct problem q = p;
    uint8_t *k_block, *v_block;
    size_t k_mapped, v_mapped;
    q.k = map_before_guard(7 * p.k_stride, &k_block, &k_mapped);
    q.v = map_before_guard(7 * p.v_stride, &v_block, &v_mapped);
    memcpy(q.k, p.k, 7 * p.k_stride);
    memcpy(q.v, p.v, 7 * p.v_stride);
    for (int level = 0; level <= (int) cpu_level_hardware(); level++) {
        struct answer a = open_answer(&p), b = open_answer(&q);
        walk_all(&p, level, &a);
        walk_all(&q, level, &b);
        assert_same(&p, &a, &b);
        close_answer(&a);
        close_answer(&b);
    }
    munmap(k_block, k_mapped);
    munmap(v_block, v_mapped);
    close_problem(&p);
}

static void attend_reads_nothing_behind_the_last_row(void **state)
{
    for_each_shape(check_bounds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attend_agrees_with_double_and_levels_agree_bit_for_bit),
        cmocka_unit_test(attend_gives_a_query_the_same_bits_in_any_company),
        cmocka_unit_test(attend_ignores_positions_outside_the_range),
        cmocka_unit_test(attend_leaves_a_query_without_a_range_alone),
        cmocka_unit_test(attend_counts_a_sink),
        cmocka_unit_test(attend_survives_large_scores),
        cmocka_unit_test(attend_takes_scores_of_minus_infinity),
        cmocka_unit_test(attend_keeps_subnormal_halves),
        cmocka_unit_test(attend_agrees_on_bf16_of_every_size),
        cmocka_unit_test(attend_reads_nothing_behind_the_last_row),
    };
    return cmocka_run_group_tests_name("attend", tests, NULL, NULL);
}
