/*
 * test_train_requantize.c - claims about rounding matrices by what their rows look like
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train_folder.h"

#include "base/memory.h"
#include "base/rng.h"
#include "kernel/encode.h"
#include "kernel/kernel.h"
#include "train/gptq.h"
#include "train/stream.h"
#include "train/upcycle.h"

#include <math.h>
#include <string.h>

#define DENSE GOLDEN_FOLDER "llama3-f32.gguf"

enum { ROWS = 600, IN = 96, OUT = 70 };

static real x[ROWS * IN];
static double w[OUT * IN];

/* Rows of IN values that are mixtures of IN / 4 hidden ones, and a matrix. */
static void draw(bool mixed)
{
    real mix[IN * IN / 4], hidden[IN / 4];
    for (uint64_t i = 0; i < IN * IN / 4; i++)
        mix[i] = (real) (rng_uniform(1, i) - 0.5);
    for (uint64_t r = 0; r < ROWS; r++) {
        for (uint64_t i = 0; i < IN / 4; i++)
            hidden[i] = (real) (rng_uniform(2, r * IN + i) - 0.5);
        real_gemm_nt(1, IN, IN / 4, 1, hidden, IN / 4, mix, IN / 4, 0, x + r * IN, IN);
        for (uint64_t i = 0; i < IN; i++)
            x[r * IN + i] = (mixed ? x[r * IN + i] : 0) + (real) (0.1 * (rng_uniform(3, r * IN + i) - 0.5));
    }
    for (uint64_t i = 0; i < OUT * IN; i++)
        w[i] = rng_uniform(4, i) - 0.5;
}

/* sum |W x - rounded x|^2 */
static double error_of(enum tensor_type type, const uint8_t *bytes)
{
    static real off[OUT * IN], product[ROWS * OUT];
    float row[IN];
    double sum = 0;
    for (int r = 0; r < OUT; r++) {
        dequantize_row(type, bytes + (size_t) r * tensor_type_row(type, IN), IN, row);
        for (int i = 0; i < IN; i++)
            off[r * IN + i] = (real) (w[r * IN + i] - (double) row[i]);
    }
    real_gemm_nt(ROWS, OUT, IN, 1, x, IN, off, IN, 0, product, OUT);
    for (int i = 0; i < ROWS * OUT; i++)
        sum += (double) product[i] * (double) product[i];
    return sum;
}

static void round_by_rows(enum tensor_type type, int threads, uint8_t *bytes)
{
    struct thread_pool *pool;
    struct gram gram;
    struct gptq gptq;
    double copy[OUT * IN];
    dsr1_error err = {0};
    memcpy(copy, w, sizeof copy);
    must(thread_pool_open(threads, &pool, &err), &err);
    must(gram_open(IN, 1, &gram, &err), &err);
    gram_add_xx(&gram, pool, x, ROWS, 1);
    must(gptq_open(&gram, 0.01, &gptq, &err), &err);
    gptq_round(&gptq, pool, type, copy, OUT, bytes);
    gptq_close(&gptq);
    gram_close(&gram);
    thread_pool_close(pool);
}

static void round_to_nearest(enum tensor_type type, uint8_t *bytes)
{
    float row[IN];
    for (int r = 0; r < OUT; r++) {
        for (int i = 0; i < IN; i++)
            row[i] = (float) w[r * IN + i];
        encode_row(type, row, IN, bytes + (size_t) r * tensor_type_row(type, IN));
    }
}

static const enum tensor_type grids[] = {TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1};

static void products_keep_their_values(void **state)
{
    (void) state;
    static uint8_t nearest[OUT * IN], rounded[OUT * IN];
    draw(true);
    for (int i = 0; i < 4; i++) {
        round_to_nearest(grids[i], nearest);
        round_by_rows(grids[i], 1, rounded);
        double before = error_of(grids[i], nearest), after = error_of(grids[i], rounded);
        if (!(after < 0.5 * before))
            fail_msg("%s: products are off by %g, to the nearest by %g", tensor_type_name(grids[i]), after, before);
    }
}

/* Where columns have nothing to do with each other, none can make up for another. */
static void unrelated_columns_go_to_the_nearest(void **state)
{
    (void) state;
    static uint8_t nearest[OUT * IN], rounded[OUT * IN];
    struct thread_pool *pool;
    struct gram gram;
    struct gptq gptq;
    double copy[OUT * IN];
    dsr1_error err = {0};
    draw(false);
    must(thread_pool_open(1, &pool, &err), &err);
    must(gram_open(IN, 1, &gram, &err), &err);
    for (int i = 0; i < IN; i++)
        gram.xx[i * IN + i] = 2;
    must(gptq_open(&gram, 0, &gptq, &err), &err);
    for (int i = 0; i < 4; i++) {
        memcpy(copy, w, sizeof copy);
        round_to_nearest(grids[i], nearest);
        gptq_round(&gptq, pool, grids[i], copy, OUT, rounded);
        assert_memory_equal(nearest, rounded, OUT * tensor_type_row(grids[i], IN));
    }
    gptq_close(&gptq);
    gram_close(&gram);
    thread_pool_close(pool);
}

static void the_number_of_threads_leaves_no_trace(void **state)
{
    (void) state;
    static uint8_t one[OUT * IN], three[OUT * IN];
    draw(true);
    round_by_rows(TENSOR_Q4_1, 1, one);
    round_by_rows(TENSOR_Q4_1, 3, three);
    assert_memory_equal(one, three, OUT * tensor_type_row(TENSOR_Q4_1, IN));
}

static void rows_that_say_nothing_are_refused(void **state)
{
    (void) state;
    struct gram gram;
    struct gptq gptq;
    dsr1_error err = {0};
    must(gram_open(IN, 1, &gram, &err), &err);
    assert_int_equal(gptq_open(&gram, 0.01, &gptq, &err), DSR1_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "too few different rows"));
    gram_close(&gram);
}

/* ------------------------------------------------------------------ */
/* What a layer's matrices read                                        */
/* ------------------------------------------------------------------ */

static void add_products(const struct linear *l, const real *rows, int n, int width, int *column, real *y)
{
    for (int mat = 0; mat < l->n_mats; mat++, *column += l->n_in)
        real_gemm_nt(n, l->n_out, l->n_in, 1, rows + *column, width, linear_w(l, mat), l->n_in, 1, y, l->n_out);
}

static void assert_same(const real *a, const real *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double) (a[i] - b[i])) < 1e-4 * (1 + fabs((double) a[i]))))
            fail_msg("value %zu is %g in place of %g", i, (double) a[i], (double) b[i]);
}

/* Through every layer of a model: output and down matrices times their rows are what attention and experts add. */
static void check_rows(const char *path)
{
    enum { N = 40 };
    const int start[] = {0, 17, N};
    int32_t tokens[N];
    struct net net;
    struct thread_pool *pool;
    struct stream stream;
    dsr1_error err = {0};
    must(net_open(path, 64, &net, &err), &err);
    must(thread_pool_open(2, &pool, &err), &err);
    for (int i = 0; i < N; i++)
        tokens[i] = (i * 37 + 5) % net.shape.n_vocab;
    must(stream_open(&net, pool, 2, start, tokens, 0, &stream, &err), &err);
    int d = net.shape.n_embd, heads = net.shape.n_heads * net.shape.n_v;
    size_t size = N * (size_t) d;
    real *y = memory_array(size, sizeof *y), *h = memory_array(size, sizeof *h), *sum = memory_array(size, sizeof *sum);
    for (int i = 0; i < net.shape.n_layers; i++) {
        const struct net_layer *l = &net.layers[i];
        int width = stream_hidden_width(l), column = 0;
        real *rows = memory_array(N, (size_t) (width > heads ? width : heads) * sizeof *rows);
        assert_true(y && h && sum && rows);
        memcpy(sum, stream.x, size * sizeof *sum);
        must(stream_heads(&stream, l, rows, &err), &err);
        assert_memory_equal(sum, stream.x, size * sizeof *sum);
        add_products(&l->o, rows, N, heads, &column, sum);
        must(stream_attention(&stream, l, &err), &err);
        assert_same(sum, stream.x, size);

        column = 0;
        memset(sum, 0, size * sizeof *sum);
        stream_norm(&stream, &l->ffn_norm, h);
        must(stream_hidden(&stream, l, h, rows, &err), &err);
        add_products(&l->shared.down, rows, N, width, &column, sum);
        add_products(&l->ffn.down, rows, N, width, &column, sum);
        assert_int_equal(column, width);
        must(stream_ffn(&stream, l, NULL, h, y, &err), &err);
        assert_same(sum, y, size);
        stream_add(&stream, y);
        free(rows);
    }
    free(y);
    free(h);
    free(sum);
    stream_close(&stream);
    thread_pool_close(pool);
    net_close(&net);
}

static void matrices_times_what_they_read_are_what_layers_add(void **state)
{
    (void) state;
    static const char *const data[] = {"tests/train/policy_table.py"};
    struct upcycle_options o = upcycle_defaults();
    struct upcycle_result result;
    dsr1_error err = {0};
    o.data = data;
    o.n_data = 1;
    o.n_tokens = 512;
    o.seq = 64;
    o.n_slices = 12;
    o.n_used = 4;
    o.epochs = 1;
    o.down_type = TENSOR_F32;
    check_rows(DENSE);
    for (o.n_shared = 0; o.n_shared <= 4; o.n_shared += 4) {
        must(upcycle_file(DENSE, in_folder("experts.gguf"), &o, &result, &err), &err);
        check_rows(in_folder("experts.gguf"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_keep_their_values),
        cmocka_unit_test(unrelated_columns_go_to_the_nearest),
        cmocka_unit_test(the_number_of_threads_leaves_no_trace),
        cmocka_unit_test(rows_that_say_nothing_are_refused),
        cmocka_unit_test(matrices_times_what_they_read_are_what_layers_add),
    };
    return cmocka_run_group_tests(tests, open_folder, remove_folder);
}
