/*
 * test_matmul.c - matrix products: every format, every level of this CPU
 *
 * The scalar products against dot products in double of what the weights and the
 * activations stand for, everything else against the scalar ones bit for bit.
 * DSR1_CPU limits the levels that are tried.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/rng.h"
#include "kernel/panel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MOST_ROWS = 3 * PANEL_ROWS + 5, MOST_COLUMNS = 35, MOST_IN = 2048 };

static const enum tensor_type types[] = {
    TENSOR_F32,  TENSOR_F16,  TENSOR_BF16, TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q5_0,   TENSOR_Q5_1,   TENSOR_Q8_0,
    TENSOR_Q2_K, TENSOR_Q3_K, TENSOR_Q4_K, TENSOR_Q5_K, TENSOR_Q6_K, TENSOR_IQ4_NL, TENSOR_IQ4_XS, TENSOR_MXFP4};
enum { TYPES = sizeof types / sizeof *types };

/* The level behind this one that the processor has. */
static int next_level(int level)
{
    do
        level++;
    while (level < CPU_LEVELS && !cpu_has_level((enum cpu_level) level));
    return level;
}

/* Where a block's halves lie that must be finite: two offsets, -1 for none. */
static void half_offsets(enum tensor_type type, int at[2])
{
    at[0] = type == TENSOR_Q2_K ? 80 : type == TENSOR_Q3_K ? 108 : type == TENSOR_Q6_K ? 208 : 0;
    at[1] = type == TENSOR_Q2_K ? 82 : -1;
    if (type == TENSOR_Q4_1 || type == TENSOR_Q5_1 || type == TENSOR_Q4_K || type == TENSOR_Q5_K)
        at[1] = 2;
}

static float random_float(uint64_t seed, uint64_t i)
{
    return (float) (rng_uniform(seed, i) * 2 - 1);
}

static void put_half(uint8_t *at, float value)
{
    uint16_t half = f16_from_f32(value);
    memcpy(at, &half, sizeof half);
}

static void random_floats(enum tensor_type type, uint8_t *row, int n, uint64_t seed)
{
    for (int i = 0; i < n; i++) {
        float f = random_float(seed, (uint64_t) i);
        uint16_t b = bf16_from_f32(f);
        if (type == TENSOR_F32)
            memcpy(row + 4 * i, &f, sizeof f);
        else if (type == TENSOR_F16)
            put_half(row + 2 * i, f);
        else
            memcpy(row + 2 * i, &b, sizeof b);
    }
}

/* A row of random codes and integer scales; its float scales are finite and near 1 / 64. */
static void random_row(enum tensor_type type, uint8_t *row, int n, uint64_t seed)
{
    if (weight_act_form(type) == ACT_FLOATS) {
        random_floats(type, row, n, seed);
        return;
    }
    size_t size = tensor_type_row(type, (size_t) n);
    for (size_t i = 0; i < size; i++)
        row[i] = (uint8_t) rng_at(seed, i);
    int at[2];
    half_offsets(type, at);
    for (size_t b = 0; b < size; b += tensor_type_size(type)) {
        if (type == TENSOR_MXFP4)
            row[b] = (uint8_t) (118 + row[b] % 8);
        else
            put_half(row + b + at[0], random_float(seed + 1, b) / 64);
        if (at[1] >= 0)
            put_half(row + b + at[1], random_float(seed + 2, b) / 64);
    }
}

struct matrix {
    struct weight weight;
    uint8_t *rows, *panels;
};

static size_t packed_size(const struct weight *w)
{
    return (size_t) w->n_mats * (size_t) weight_panels(w) * panel_size(w->type, w->n_in);
}

static void pack(const struct kernels *k, const struct weight *w, uint8_t *panels)
{
    for (int i = 0; i < w->n_mats * weight_panels(w); i++) {
        int row = i % weight_panels(w) * PANEL_ROWS, left = w->n_out - row;
        const uint8_t *src = w->data + (size_t) (i / weight_panels(w) * w->n_out + row) * w->row_size;
        panel_pack_with(k, w->type, src, w->row_size, left < PANEL_ROWS ? left : PANEL_ROWS, w->n_in,
                        panels + (size_t) i * panel_size(w->type, w->n_in));
    }
}

/* Exact sizes, so that AddressSanitizer sees a step too far. */
static struct matrix matrix_open(enum tensor_type type, int n_in, int n_out, int n_mats, uint64_t seed)
{
    struct matrix m = {.weight = {.type = type, .n_in = n_in, .n_out = n_out, .n_mats = n_mats}};
    m.weight.row_size = tensor_type_row(type, (size_t) n_in);
    m.rows = malloc(m.weight.row_size * (size_t) (n_out * n_mats));
    for (int r = 0; r < n_out * n_mats; r++)
        random_row(type, m.rows + (size_t) r * m.weight.row_size, n_in, seed + 10 * (uint64_t) r);
    m.weight.data = m.rows;
    m.panels = aligned_alloc(64, packed_size(&m.weight));
    pack(kernels_for(CPU_SCALAR), &m.weight, m.panels);
    return m;
}

static void matrix_close(struct matrix *m)
{
    free(m->rows);
    free(m->panels);
}

static void quantize(enum tensor_type type, const float *x, int n, void *row)
{
    kernels_for(CPU_SCALAR)->quantize[weight_act_form(type)](x, n, row);
}

/* The scale of value i. */
static double scale_at(enum act_form form, const void *row, int n, int i)
{
    return (double) act_q8_d(row, (size_t) n)[i / (form == ACT_GROUPS ? ACT_GROUP : ACT_BLOCK)];
}

/* Columns as a product takes them, their bytes in an exact block each. */
struct columns {
    float *floats[MOST_COLUMNS];
    void *rows[MOST_COLUMNS];
    const void *x[MOST_COLUMNS];
};

static void columns_open(struct columns *c, enum tensor_type type, int n_in, uint64_t seed)
{
    for (int i = 0; i < MOST_COLUMNS; i++) {
        c->floats[i] = malloc((size_t) n_in * sizeof(float));
        for (int j = 0; j < n_in; j++)
            c->floats[i][j] = random_float(seed + (uint64_t) i, (uint64_t) j) * (float) (1 + j % 5);
        c->rows[i] = NULL;
        c->x[i] = c->floats[i];
        if (weight_act_form(type) != ACT_FLOATS) {
            c->rows[i] = aligned_alloc(64, act_q8_size((size_t) n_in));
            quantize(type, c->floats[i], n_in, c->rows[i]);
            c->x[i] = c->rows[i];
        }
    }
}

static void columns_close(struct columns *c)
{
    for (int i = 0; i < MOST_COLUMNS; i++) {
        free(c->floats[i]);
        free(c->rows[i]);
    }
}

struct result {
    float values[MOST_COLUMNS][MOST_ROWS];
    float *y[MOST_COLUMNS];
};

static void result_clear(struct result *r)
{
    memset(r->values, 0x5a, sizeof r->values);
    for (int c = 0; c < MOST_COLUMNS; c++)
        r->y[c] = r->values[c];
}

/* All rows of matrix mat times n_cols columns. */
static void multiply(const struct kernels *k, const struct weight *w, int mat, const struct columns *c, int n_cols,
                     struct result *r)
{
    void *scratch = matmul_scratch_size(w) ? aligned_alloc(64, matmul_scratch_size(w)) : NULL;
    result_clear(r);
    matmul_panels(k, w, mat, 0, weight_panels(w), c->x, n_cols, r->y, NULL, scratch);
    free(scratch);
}

/* The activation that a product sees. */
static double activation(enum tensor_type type, const struct columns *c, int column, int n_in, int i)
{
    enum act_form form = weight_act_form(type);
    const int8_t *q = c->x[column];
    return form == ACT_FLOATS ? (double) c->floats[column][i] : scale_at(form, q, n_in, i) * q[i];
}

static void assert_near_dot(const struct weight *w, int row, const struct columns *c, int column, float got)
{
    static float values[MOST_IN];
    double sum = 0, size = 0;
    dequantize_row(w->type, w->data + (size_t) row * w->row_size, w->n_in, values);
    for (int i = 0; i < w->n_in; i++) {
        double product = values[i] * activation(w->type, c, column, w->n_in, i);
        sum += product;
        size += fabs(product);
    }
    if (fabs(got - sum) > 1e-5 * size)
        fail_msg("%s: row %d column %d is %.9g, not %.9g", tensor_type_name(w->type), row, column, got, sum);
}

/* Lengths in blocks of the format that end inside and at the end of a chunk. */
static const int lengths[] = {1, 2, 3, 4, 7};

static int length_of(enum tensor_type type, int i)
{
    int block = tensor_type_block(type);
    return block > 1 ? lengths[i] * block : (int[]){1, 3, 8, 31, 130}[i];
}

static void scalar_products_are_near_the_dot_product_in_double(void **state)
{
    static struct result r;
    for (int t = 0; t < TYPES; t++) {
        for (int i = 0; i < 5; i++) {
            int n_in = length_of(types[t], i);
            struct matrix m = matrix_open(types[t], n_in, PANEL_ROWS + 3, 1, 77 + (uint64_t) i);
            struct columns c;
            columns_open(&c, types[t], n_in, 5);
            m.weight.panels = m.panels;
            multiply(kernels_for(CPU_SCALAR), &m.weight, 0, &c, 3, &r);
            for (int row = 0; row < m.weight.n_out; row++)
                for (int column = 0; column < 3; column++)
                    assert_near_dot(&m.weight, row, &c, column, r.values[column][row]);
            columns_close(&c);
            matrix_close(&m);
        }
    }
}

static void assert_same(const struct weight *w, const char *what, int n_cols, const struct result *a,
                        const struct result *b)
{
    if (memcmp(a->values, b->values, sizeof a->values) == 0)
        return;
    for (int c = 0; c < MOST_COLUMNS; c++)
        for (int row = 0; row < MOST_ROWS; row++)
            if (memcmp(&a->values[c][row], &b->values[c][row], sizeof(float)))
                fail_msg("%s %s, %d in, %d out, %d columns: row %d of column %d is %.9g, not %.9g",
                         tensor_type_name(w->type), what, w->n_in, w->n_out, n_cols, row, c, b->values[c][row],
                         a->values[c][row]);
}

/* Also: nothing is written beside the rows and columns that were asked for. */
static void every_level_gives_the_bits_of_the_scalar_products(void **state)
{
    static struct result want, got;
    for (int t = 0; t < TYPES; t++) {
        for (int i = 0; i < 25; i++) {
            int n_in = length_of(types[t], i % 5), n_out = 1 + (int) (rng_at(3, (uint64_t) i) % MOST_ROWS);
            struct matrix m = matrix_open(types[t], n_in, n_out, 1, (uint64_t) (100 * i));
            struct columns c;
            columns_open(&c, types[t], n_in, 9);
            m.weight.panels = m.panels;
            for (int n = 1; n <= MOST_COLUMNS; n++) {
                multiply(kernels_for(CPU_SCALAR), &m.weight, 0, &c, n, &want);
                for (int level = 1; level <= (int) cpu_level(); level = next_level(level)) {
                    multiply(kernels_for((enum cpu_level) level), &m.weight, 0, &c, n, &got);
                    assert_same(&m.weight, cpu_level_name((enum cpu_level) level), n, &want, &got);
                }
            }
            columns_close(&c);
            matrix_close(&m);
        }
    }
}

/* All codes at one end of their range, and activations that make every product as large as it gets. */
static void the_largest_codes_do_not_overflow(void **state)
{
    static struct result want, got;
    for (int t = 0; t < TYPES; t++) {
        for (int fill = 0; fill < 2 && weight_act_form(types[t]) != ACT_FLOATS; fill++) {
            struct matrix m = matrix_open(types[t], 512, PANEL_ROWS, 1, 1);
            struct columns c;
            columns_open(&c, types[t], 512, 9);
            size_t block = tensor_type_size(types[t]);
            int at[2];
            half_offsets(types[t], at);
            for (size_t b = 0; b < m.weight.row_size * PANEL_ROWS; b++) {
                int offset = (int) (b % block);
                bool half = (offset & ~1) == at[0] || (offset & ~1) == at[1];
                if (!half && (types[t] != TENSOR_MXFP4 || offset > 0))
                    m.rows[b] = fill ? 0xff : types[t] == TENSOR_Q8_0 ? 0x80 : 0;
            }
            for (int i = 0; i < MOST_COLUMNS; i++) {
                for (int j = 0; j < 512; j++)
                    c.floats[i][j] = i % 3 == 0 ? 1 : i % 3 == 1 ? -1 : j % 2 ? 1 : -1;
                quantize(types[t], c.floats[i], 512, c.rows[i]);
            }
            multiply(kernels_for(CPU_SCALAR), &m.weight, 0, &c, MOST_COLUMNS, &want);
            for (int row = 0; row < PANEL_ROWS; row++)
                assert_near_dot(&m.weight, row, &c, 1, want.values[1][row]);
            for (int level = 1; level <= (int) cpu_level(); level = next_level(level)) {
                multiply(kernels_for((enum cpu_level) level), &m.weight, 0, &c, MOST_COLUMNS, &got);
                assert_same(&m.weight, cpu_level_name((enum cpu_level) level), MOST_COLUMNS, &want, &got);
            }
            columns_close(&c);
            matrix_close(&m);
        }
    }
}

static void every_level_packs_the_same_bytes(void **state)
{
    for (int t = 0; t < TYPES; t++) {
        for (int i = 0; i < 5; i++) {
            struct matrix m = matrix_open(types[t], length_of(types[t], i), MOST_ROWS, 1, (uint64_t) i);
            size_t size = packed_size(&m.weight);
            uint8_t *panels = aligned_alloc(64, size);
            for (int level = 1; level <= (int) cpu_level(); level = next_level(level)) {
                memset(panels, 0xaa, size);
                pack(kernels_for((enum cpu_level) level), &m.weight, panels);
                assert_memory_equal(panels, m.panels, size);
            }
            free(panels);
            matrix_close(&m);
        }
    }
}

static void panels_packed_on_the_fly_give_the_same_bits(void **state)
{
    static struct result want, got;
    for (int t = 0; t < TYPES; t++) {
        struct matrix m = matrix_open(types[t], length_of(types[t], 4), MOST_ROWS, 3, 4);
        struct columns c;
        columns_open(&c, types[t], m.weight.n_in, 9);
        struct weight packed = m.weight;
        packed.panels = m.panels;
        assert_int_equal(matmul_scratch_size(&packed), 0);
        for (int mat = 0; mat < 3; mat++) {
            multiply(kernels_default(), &packed, mat, &c, 5, &want);
            multiply(kernels_default(), &m.weight, mat, &c, 5, &got);
            assert_same(&m.weight, "unpacked", 5, &want, &got);
            assert_near_dot(&m.weight, mat * MOST_ROWS + MOST_ROWS - 1, &c, 4, got.values[4][MOST_ROWS - 1]);
        }
        columns_close(&c);
        matrix_close(&m);
    }
}

/* One call for all, against one for each panel and each column alone. */
static void any_split_of_panels_and_columns_gives_the_same_bits(void **state)
{
    static struct result want, got;
    const struct kernels *k = kernels_default();
    for (int t = 0; t < TYPES; t++) {
        struct matrix m = matrix_open(types[t], length_of(types[t], 3), MOST_ROWS, 1, 4);
        struct columns c;
        columns_open(&c, types[t], m.weight.n_in, 9);
        m.weight.panels = m.panels;
        multiply(k, &m.weight, 0, &c, MOST_COLUMNS, &want);
        result_clear(&got);
        for (int i = 0; i < weight_panels(&m.weight); i++)
            for (int j = 0; j < MOST_COLUMNS; j++)
                matmul_panels(k, &m.weight, 0, i, i + 1, c.x + j, 1, got.y + j, NULL, NULL);
        assert_same(&m.weight, "in pieces", 1, &want, &got);
        columns_close(&c);
        matrix_close(&m);
    }
}

/* More columns than one group takes: the sums of the last ones do not depend on the groups. */
static void many_columns_give_the_bits_of_one(void **state)
{
    enum { COLUMNS = 300, N_IN = 256, N_OUT = 20 };
    static float y[COLUMNS][N_OUT], alone[N_OUT];
    const void *x[COLUMNS];
    float *out[COLUMNS], *out_alone = alone;
    struct matrix m = matrix_open(TENSOR_Q4_K, N_IN, N_OUT, 1, 4);
    struct columns c;
    columns_open(&c, TENSOR_Q4_K, N_IN, 9);
    m.weight.panels = m.panels;
    for (int i = 0; i < COLUMNS; i++) {
        x[i] = c.x[i % MOST_COLUMNS];
        out[i] = y[i];
    }
    matmul_panels(kernels_default(), &m.weight, 0, 0, 2, x, COLUMNS, out, NULL, NULL);
    for (int i = 0; i < COLUMNS; i++) {
        matmul_panels(kernels_default(), &m.weight, 0, 0, 2, x + i, 1, &out_alone, NULL, NULL);
        assert_memory_equal(alone, y[i], sizeof alone);
    }
    columns_close(&c);
    matrix_close(&m);
}

/*
 * Sums over matrices: the scalar ones are near the sum of dot products, every level gives the same bits, and so do
 * one call for each matrix, panels side by side, and panels packed on the fly.
 */
static void a_sum_over_matrices_has_the_bits_of_its_terms(void **state)
{
    enum { MATS = 3, COLUMNS = 5 };
    static struct result want, got;
    const int mats[MATS] = {2, 0, 1};
    for (int t = 0; t < TYPES; t++) {
        struct matrix m = matrix_open(types[t], length_of(types[t], 3), MOST_ROWS, MATS, 4);
        struct weight packed = m.weight, beside = m.weight;
        struct columns c;
        columns_open(&c, types[t], m.weight.n_in, 9);
        void *scratch = aligned_alloc(64, matmul_scratch_size(&m.weight));
        uint8_t *panels = aligned_alloc(64, packed_size(&m.weight));
        int last = weight_panels(&m.weight);
        packed.panels = m.panels;
        beside.side_by_side = true;
        beside.panels = panels;
        for (int i = 0; i < MATS * last; i++)
            memcpy(panels + weight_panel_index(&beside, i / last, i % last) * panel_size(types[t], m.weight.n_in),
                   m.panels + (size_t) i * panel_size(types[t], m.weight.n_in), panel_size(types[t], m.weight.n_in));

        result_clear(&want);
        for (int i = 0; i < COLUMNS; i++)
            for (int row = 0; row < MOST_ROWS; row++)
                want.values[i][row] = (float) row;
        struct result start = want;
        for (int i = 0; i < MATS; i++)
            matmul_add_panels(kernels_for(CPU_SCALAR), &packed, mats + i, 1, 0, last, c.x + i * COLUMNS, COLUMNS, want.y,
                              NULL, NULL);
        multiply(kernels_for(CPU_SCALAR), &packed, mats[0], &c, COLUMNS, &got);
        double first = got.values[1][4];
        for (int i = 1; i < MATS; i++) {
            struct columns other = c;
            memcpy(other.x, c.x + i * COLUMNS, COLUMNS * sizeof *other.x);
            multiply(kernels_for(CPU_SCALAR), &packed, mats[i], &other, COLUMNS, &got);
            first += got.values[1][4];
        }
        assert_true(fabs(want.values[1][4] - (4 + first)) < 1e-4 * (4 + fabs(first)));

        const struct weight *const forms[] = {&packed, &beside, &m.weight};
        for (int level = 0; level <= (int) cpu_level(); level = next_level(level))
            for (int form = 0; form < 3; form++) {
                result_clear(&got);
                memcpy(got.values, start.values, sizeof got.values);
                matmul_add_panels(kernels_for((enum cpu_level) level), forms[form], mats, MATS, 0, last, c.x, COLUMNS,
                                  got.y, form ? m.rows : NULL, scratch);
                assert_same(&m.weight, cpu_level_name((enum cpu_level) level), COLUMNS, &want, &got);
            }
        free(panels);
        free(scratch);
        columns_close(&c);
        matrix_close(&m);
    }
}

static void *golden(const char *name, const char *suffix, size_t size)
{
    char path[100];
    snprintf(path, sizeof path, "tests/golden/quants/%s%s", name, suffix);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s", path);
    void *bytes = aligned_alloc(64, (size + 63) / 64 * 64);
    assert_int_equal(fread(bytes, 1, size, file), size);
    fclose(file);
    return bytes;
}

/* What rounding the activations may change: half a step of each value, times the weight. */
static double rounding_error(enum tensor_type type, const float *w, const void *x, int n)
{
    double error = 0;
    for (int i = 0; i < n; i++)
        error += fabs((double) w[i]) * scale_at(weight_act_form(type), x, n, i) / 2;
    return error;
}

static void check_golden_dot(const char *name, const char *suffix, double want)
{
    enum { N = 2048 };
    enum tensor_type type = (enum tensor_type) tensor_type_parse(name);
    static struct result r;
    static float values[N];
    struct columns c;
    columns_open(&c, type, N, 1);
    float *act = golden("act", ".f32", N * sizeof(float));
    quantize(type, act, N, c.rows[0]);
    struct weight w = {.type = type, .n_in = N, .n_out = 1, .n_mats = 1, .row_size = tensor_type_row(type, N)};
    uint8_t *row = golden(name, suffix, w.row_size);
    w.data = row;
    dequantize_row(type, row, N, values);
    double bound = rounding_error(type, values, c.x[0], N);
    for (int level = 0; level <= (int) cpu_level(); level = next_level(level)) {
        multiply(kernels_for((enum cpu_level) level), &w, 0, &c, 1, &r);
        assert_near_dot(&w, 0, &c, 0, r.values[0][0]);
        if (!(fabs(r.values[0][0] - want) <= bound))
            fail_msg("%s%s: %.9g is not near %.9g", name, suffix, r.values[0][0], want);
    }
    free(row);
    free(act);
    columns_close(&c);
}

static void golden_dot_products_are_met(void **state)
{
    char line[200], name[20];
    double dot, dot_rand;
    int n = 0;
    FILE *file = fopen("tests/golden/quants/dots.tsv", "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    while (fgets(line, sizeof line, file)) {
        assert_int_equal(sscanf(line, "%19s %*s %*f %*f %lf %lf", name, &dot, &dot_rand), 3);
        check_golden_dot(name, ".q", dot);
        check_golden_dot(name, ".rand.q", dot_rand);
        n++;
    }
    fclose(file);
    assert_int_equal(n, 13);
}

static void quantizing_rounds_to_half_a_step(void **state)
{
    enum { N = 2048 };
    float *x = golden("act", ".f32", N * sizeof(float));
    uint8_t *blocks = golden("act", ".Q8_0", N / 32 * 34);
    void *row = aligned_alloc(64, act_q8_size(N));
    quantize(TENSOR_Q8_0, x, N, row);
    const int8_t *q = row;
    const int16_t *sum = act_q8_sum(row, N);
    for (int i = 0; i < N; i++) {
        float d = act_q8_d(row, N)[i / 32];
        assert_true(fabs((double) d * q[i] - x[i]) <= 0.5001 * d);
        /* The reference multiplies with 1 / d and rounds halves away from zero. */
        assert_true(abs(q[i] - (int8_t) blocks[i / 32 * 34 + 2 + i % 32]) <= 1);
        assert_int_equal(f16_from_f32(d), blocks[i / 32 * 34] | blocks[i / 32 * 34 + 1] << 8);
    }
    for (int i = 0; i < N / 16; i++) {
        int want = 0;
        for (int j = 0; j < 16; j++)
            want += q[16 * i + j];
        assert_int_equal(sum[i], want);
        assert_true(act_q8_dsum(row, N)[i / 2] == act_q8_d(row, N)[i / 2] * (float) (sum[i & ~1] + sum[i | 1]));
    }
    free(row);
    free(blocks);
    free(x);
}

static void a_group_has_the_scale_of_its_largest_value(void **state)
{
    enum { N = 2048 };
    float *x = golden("act", ".f32", N * sizeof(float));
    void *row = aligned_alloc(64, act_q8_size(N));
    quantize(TENSOR_Q4_K, x, N, row);
    const int8_t *q = row;
    const int16_t *sum = act_q8_sum(row, N), *block_sum = act_q8_block_sum(row, N);
    for (int i = 0; i < N; i++) {
        double d = scale_at(ACT_GROUPS, row, N, i);
        assert_true(fabs(d * q[i] - (double) x[i]) <= 0.5001 * d);
    }
    for (int g = 0; g < N / ACT_GROUP; g++) {
        int largest = 0;
        for (int i = ACT_GROUP * g; i < ACT_GROUP * (g + 1); i++)
            largest = abs(q[i]) > largest ? abs(q[i]) : largest;
        assert_int_equal(largest, scale_at(ACT_GROUPS, row, N, ACT_GROUP * g) > 0 ? 127 : 0);
    }
    for (int b = 0; b < N / ACT_BLOCK; b++) {
        int want = 0;
        for (int j = 0; j < ACT_BLOCK; j++)
            want += q[ACT_BLOCK * b + j];
        assert_int_equal(block_sum[b], want);
        assert_int_equal(sum[2 * b] + sum[2 * b + 1], want);
    }
    free(row);
    free(x);
}

/* Bits of every kind: ordinary numbers, zeros, subnormals, infinities, NaNs. */
static void every_level_quantizes_to_the_same_bits(void **state)
{
    enum { N = 512, SIZE = 1024 };
    static float x[N];
    static _Alignas(64) uint8_t want[SIZE], got[SIZE];
    assert_true(act_q8_size(N) <= SIZE);
    for (uint64_t round = 0; round < 2000; round++) {
        for (uint64_t i = 0; i < N; i++) {
            uint64_t draw = rng_at(round, i), kind = rng_at(round, 1000 + i / 32) % 8;
            x[i] = random_float(round, i) * (kind < 3 ? 1.0f : 1e-20f);
            if (kind == 3)
                x[i] = 0;
            if (kind == 4 || (kind == 5 && i % 32 == 17))
                x[i] = f32_from_bits((uint32_t) draw);
            if (kind == 6)
                x[i] = f32_from_bits((uint32_t) draw & 0x80ffffff);
            if (kind == 7)
                x[i] = (float) ((int) (draw % 255) - 127) * 0.5f;
        }
        for (enum act_form form = ACT_BLOCKS; form < ACT_FORMS; form++) {
            memset(want, 0, sizeof want);
            kernels_for(CPU_SCALAR)->quantize[form](x, N, want);
            for (int level = 1; level <= (int) cpu_level(); level = next_level(level)) {
                memset(got, 0, sizeof got);
                kernels_for((enum cpu_level) level)->quantize[form](x, N, got);
                assert_memory_equal(got, want, sizeof want);
            }
        }
    }
}

static void a_nan_among_the_activations_shows(void **state)
{
    enum { N = 256 };
    static float x[N], y;
    static _Alignas(64) uint8_t act[2 * N];
    float *out = &y;
    const void *column = act;
    x[40] = NAN;
    for (int t = 0; t < TYPES; t++) {
        struct matrix m = matrix_open(types[t], N, 1, 1, 1);
        m.weight.panels = m.panels;
        for (int level = 0; level <= (int) cpu_level(); level = next_level(level)) {
            const struct kernels *k = kernels_for((enum cpu_level) level);
            enum act_form form = weight_act_form(types[t]);
            if (form == ACT_FLOATS)
                continue;
            k->quantize[form](x, N, act);
            matmul_panels(k, &m.weight, 0, 0, 1, &column, 1, &out, NULL, NULL);
            assert_true(isnan(y));
        }
        matrix_close(&m);
    }
}

static void panels_are_hardly_larger_than_the_file(void **state)
{
    for (int t = 0; t < TYPES; t++) {
        double file = 16.0 * (double) tensor_type_row(types[t], 2048);
        double panel = (double) panel_size(types[t], 2048);
        assert_true(panel >= file && panel <= 1.02 * file);
        assert_int_equal(panel_size(types[t], length_of(types[t], 2)) % 64, 0);
    }
}

static void tables_exist_for_what_the_hardware_has(void **state)
{
    for (int level = 0; level < CPU_LEVELS; level++) {
        const struct kernels *k = kernels_for((enum cpu_level) level);
        assert_int_equal(k != NULL, cpu_has_level((enum cpu_level) level));
        for (int t = 0; k && t < TENSOR_TYPES; t++)
            assert_int_equal(k->panel_product[t] != NULL, tensor_type_known((uint32_t) t));
        if (k)
            assert_int_equal(k->level, level);
    }
    assert_ptr_equal(kernels_default(), kernels_for(cpu_level()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_exist_for_what_the_hardware_has),
        cmocka_unit_test(panels_are_hardly_larger_than_the_file),
        cmocka_unit_test(quantizing_rounds_to_half_a_step),
        cmocka_unit_test(a_group_has_the_scale_of_its_largest_value),
        cmocka_unit_test(every_level_quantizes_to_the_same_bits),
        cmocka_unit_test(scalar_products_are_near_the_dot_product_in_double),
        cmocka_unit_test(golden_dot_products_are_met),
        cmocka_unit_test(every_level_packs_the_same_bytes),
        cmocka_unit_test(every_level_gives_the_bits_of_the_scalar_products),
        cmocka_unit_test(the_largest_codes_do_not_overflow),
        cmocka_unit_test(panels_packed_on_the_fly_give_the_same_bits),
        cmocka_unit_test(any_split_of_panels_and_columns_gives_the_same_bits),
        cmocka_unit_test(many_columns_give_the_bits_of_one),
        cmocka_unit_test(a_sum_over_matrices_has_the_bits_of_its_terms),
        cmocka_unit_test(a_nan_among_the_activations_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
