/*
 * matmul_scalar.c - products with panels in plain C: the definition of every sum
 *
 * A row of a quantised matrix times a quantised column. For each block of 32
 * values, in order, with q the weight's integer code less its zero point, s0 and
 * s1 the exact sums of q * x over the first and second 16 values, and dx, sum,
 * dsum and block_sum from the column's record (kernel.h):
 *
 *   blocks of 32                t = (float) (s0 + s1) * scale
 *                               y = fma(t, dx, y)
 *   Q4_1 Q5_1, then             y = fma(min, dsum, y)
 *
 * (float) (s0 + s1) is exact: 32 * 128 * 127 at most. Superblocks have integers c for scales. For each
 * group of four blocks, in order, with t = m = 0 before the first of them:
 *
 *   one scale for 32 values     t = t + (float) (c * (s0 + s1))
 *   two (Q2_K, Q3_K, Q6_K)      t = t + (float) (c0 * s0 + c1 * s1)
 *   Q4_K Q5_K                   m = m + min * block_sum
 *   Q2_K                        m = m + (min0 * sum0 + min1 * sum1)
 *
 *   after the fourth            t = t * d
 *   Q2_K Q4_K Q5_K              t = fma((float) m, -dmin, t)
 *   all                         y = fma(t, dx, y)
 *
 * A float holds each of the integers that are added to t exactly, 128 * 2 * 32 * 16 * 127 (Q6_K) being the largest:
 * whether codes are multiplied as integers or as floats makes no difference.
 * A float matrix: y = fma(w, x, y), value after value. A sum over panels goes on from block to block and panel to
 * panel: y begins with 0, or with what is there already.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/panel.h"

#include <math.h>
#include <string.h>

/* One row's 32 values, ready to be multiplied. */
struct block {
    int q[32];
    float scale, min;               /* blocks of 32; no minimum: 0 */
    int code[2], mins[2];           /* superblocks: two scales, which may be the same one; one or two minimums */
    float d, dmin;
};

enum { COLUMNS = 16 }; /* that share the decoding of a block */

static uint32_t lane(const uint8_t *chunk, int line, int row)
{
    uint32_t dword;
    memcpy(&dword, chunk + line * PANEL_LINE + 4 * row, sizeof dword);
    return dword;
}

static int byte_of(uint32_t dword, int i)
{
    return dword >> 8 * i & 255;
}

static float low_half(uint32_t dword)
{
    return f32_from_f16((uint16_t) dword);
}

static float high_half(uint32_t dword)
{
    return f32_from_f16((uint16_t) (dword >> 16));
}

/* Four lines of nibbles: values 0 to 15 in the low ones, 16 to 31 in the high ones. */
static void nibbles(const uint8_t *chunk, int line, int row, int q[32])
{
    for (int i = 0; i < 16; i++) {
        int byte = byte_of(lane(chunk, line + i / 4, row), i % 4);
        q[i] = byte & 15;
        q[i + 16] = byte >> 4;
    }
}

/* `bits` bits from position `shift` of the 32 bytes in eight lines. */
static void fields(const uint8_t *chunk, int line, int row, int shift, int bits, int q[32])
{
    for (int i = 0; i < 32; i++)
        q[i] = byte_of(lane(chunk, line + i / 4, row), i % 4) >> shift & ((1 << bits) - 1);
}

/* Adds bits `to` and up, one or two of them, from position `shift` of eight lines. */
static void add_fields(const uint8_t *chunk, int line, int row, int shift, int bits, int to, int q[32])
{
    int high[32];
    fields(chunk, line, row, shift, bits, high);
    for (int i = 0; i < 32; i++)
        q[i] |= high[i] << to;
}

/* Q5_0 and Q5_1: the fifth bits as spread_dword() left them. */
static void add_spread(uint32_t dword, int q[32])
{
    for (int i = 0; i < 32; i++)
        q[i] |= (byte_of(dword, i % 4) >> spread_bit(i / 4) & 1) << 4;
}

static void subtract(int zero, int q[32])
{
    for (int i = 0; i < 32; i++)
        q[i] -= zero;
}

static void look_up(const int8_t table[16], int q[32])
{
    for (int i = 0; i < 32; i++)
        q[i] = table[q[i]];
}

static void read_small(enum tensor_type type, const uint8_t *chunk, int g, int row, struct block *b)
{
    static const int8_t iq4[16] = {IQ4_VALUES}, mxfp4[16] = {MXFP4_VALUES};
    uint32_t scales = lane(chunk, 0, row);
    b->scale = g % 2 ? high_half(scales) : low_half(scales);
    switch (type) {
    case TENSOR_Q4_0:
        nibbles(chunk, 1 + 4 * g, row, b->q);
        subtract(8, b->q);
        break;
    case TENSOR_Q5_0:
        nibbles(chunk, 3 + 4 * g, row, b->q);
        add_spread(lane(chunk, 1 + g, row), b->q);
        subtract(16, b->q);
        break;
    case TENSOR_Q8_0:
        fields(chunk, 1 + 8 * g, row, 0, 8, b->q);
        subtract(128, b->q);
        break;
    case TENSOR_IQ4_NL:
        nibbles(chunk, 1 + 4 * g, row, b->q);
        look_up(iq4, b->q);
        break;
    case TENSOR_Q4_1:
        nibbles(chunk, 1, row, b->q);
        b->min = high_half(scales);
        break;
    case TENSOR_Q5_1:
        nibbles(chunk, 2, row, b->q);
        add_spread(lane(chunk, 1, row), b->q);
        b->min = high_half(scales);
        break;
    default:
        nibbles(chunk, 1 + 4 * g, row, b->q);
        look_up(mxfp4, b->q);
        b->scale = mxfp4_scale((uint8_t) byte_of(scales, g));
        break;
    }
}

/* Scale and minimum of 32 values from the three lines that Q4_K and Q5_K share. */
static void read_scale_min(const uint8_t *chunk, int g, int row, struct block *b)
{
    uint32_t d = lane(chunk, 0, row);
    int low = byte_of(lane(chunk, 1, row), g % 4), mid = byte_of(lane(chunk, 2, row), g % 4);
    int high = byte_of(lane(chunk, 3, row), g % 4);
    int scale = g < 4 ? low & 63 : (high & 15) | low >> 6 << 4;
    int min = g < 4 ? mid & 63 : high >> 4 | mid >> 6 << 4;
    b->d = low_half(d);
    b->dmin = high_half(d);
    b->code[0] = b->code[1] = scale;
    b->mins[0] = min;
}

static void read_q2_k(const uint8_t *chunk, int g, int row, struct block *b)
{
    uint32_t d = lane(chunk, 0, row);
    fields(chunk, 5 + 8 * (g / 4), row, 2 * (g % 4), 2, b->q);
    b->d = low_half(d);
    b->dmin = high_half(d);
    for (int i = 0; i < 2; i++) {
        int scale = byte_of(lane(chunk, 1 + g / 2, row), g % 2 * 2 + i);
        b->code[i] = scale & 15;
        b->mins[i] = scale >> 4;
    }
}

static void read_q3_k(const uint8_t *chunk, int g, int row, struct block *b)
{
    b->d = low_half(lane(chunk, 0, row));
    fields(chunk, 12 + 8 * (g / 4), row, 2 * (g % 4), 2, b->q);
    add_fields(chunk, 4, row, g, 1, 2, b->q);
    subtract(4, b->q);
    for (int i = 0; i < 2; i++) {
        int n = 2 * g + i;
        int low = byte_of(lane(chunk, 1 + n / 4 % 2, row), n % 4) >> n / 8 * 4 & 15;
        int high = byte_of(lane(chunk, 3, row), n % 4) >> n / 4 * 2 & 3;
        b->code[i] = (low | high << 4) - 32;
    }
}

static void read_q6_k(const uint8_t *chunk, int g, int row, struct block *b)
{
    int h = g / 4, s = g % 4;
    b->d = low_half(lane(chunk, 0, row));
    fields(chunk, 5 + 24 * h + s % 2 * 16, row, s / 2 * 4, 4, b->q);
    add_fields(chunk, 13 + 24 * h, row, 2 * s, 2, 4, b->q);
    subtract(32, b->q);
    for (int i = 0; i < 2; i++)
        b->code[i] = (int8_t) byte_of(lane(chunk, 1 + g / 2, row), g % 2 * 2 + i);
}

static void read_iq4_xs(const uint8_t *chunk, int g, int row, struct block *b)
{
    static const int8_t iq4[16] = {IQ4_VALUES};
    uint32_t head = lane(chunk, 0, row);
    int scale = (int) ((lane(chunk, 1, row) >> 4 * g & 15) | (head >> (16 + 2 * g) & 3) << 4);
    nibbles(chunk, 2 + 4 * g, row, b->q);
    look_up(iq4, b->q);
    b->d = low_half(head);
    b->code[0] = b->code[1] = scale - 32;
}

/* Block g of a chunk, as one row sees it. */
static void read_block(enum tensor_type type, const uint8_t *chunk, int g, int row, struct block *b)
{
    switch (type) {
    case TENSOR_Q2_K: read_q2_k(chunk, g, row, b); break;
    case TENSOR_Q3_K: read_q3_k(chunk, g, row, b); break;
    case TENSOR_Q4_K:
        read_scale_min(chunk, g, row, b);
        fields(chunk, 4 + g / 2 * 8, row, g % 2 * 4, 4, b->q);
        break;
    case TENSOR_Q5_K:
        read_scale_min(chunk, g, row, b);
        fields(chunk, 12 + g / 2 * 8, row, g % 2 * 4, 4, b->q);
        add_fields(chunk, 4, row, g, 1, 4, b->q);
        break;
    case TENSOR_Q6_K: read_q6_k(chunk, g, row, b); break;
    case TENSOR_IQ4_XS: read_iq4_xs(chunk, g, row, b); break;
    default: read_small(type, chunk, g, row, b); break;
    }
}

static int dot16(const int *q, const int8_t *x)
{
    int sum = 0;
    for (int i = 0; i < 16; i++)
        sum += q[i] * x[i];
    return sum;
}

/* y plus block number i of a row times the same block of a column. */
static float add_block(enum tensor_type type, const struct block *b, const void *x, int n_in, int i, float y)
{
    size_t n = (size_t) n_in;
    const int8_t *q = (const int8_t *) x + 32 * i;
    y = fmaf((float) (dot16(b->q, q) + dot16(b->q + 16, q + 16)) * b->scale, act_q8_d(x, n)[i], y);
    return type == TENSOR_Q4_1 || type == TENSOR_Q5_1 ? fmaf(b->min, act_q8_dsum(x, n)[i], y) : y;
}

/* y plus group number i of a row times the same group of a column. */
static float add_group(enum tensor_type type, const struct block b[4], const void *x, int n_in, int i, float y)
{
    size_t n = (size_t) n_in;
    const int16_t *sum = act_q8_sum(x, n) + 8 * i, *block_sum = act_q8_block_sum(x, n) + 4 * i;
    float t = 0;
    int m = 0;
    for (int j = 0; j < 4; j++) {
        const int8_t *q = (const int8_t *) x + ACT_GROUP * i + 32 * j;
        t += (float) (b[j].code[0] * dot16(b[j].q, q) + b[j].code[1] * dot16(b[j].q + 16, q + 16));
        m += type == TENSOR_Q2_K ? b[j].mins[0] * sum[2 * j] + b[j].mins[1] * sum[2 * j + 1]
                                 : b[j].mins[0] * block_sum[j];
    }
    t *= b[0].d;
    if (type == TENSOR_Q2_K || type == TENSOR_Q4_K || type == TENSOR_Q5_K)
        t = fmaf((float) m, -b[0].dmin, t);
    return fmaf(t, act_q8_d(x, n)[i], y);
}

/* sum[c] plus row r of a panel times x[c], for n columns. */
static void add_row_q8(enum tensor_type type, int blocks, int lines, const uint8_t *panel, int r, int n_in,
                       const void *const x[], int n, float sum[])
{
    const int step = weight_act_form(type) == ACT_GROUPS ? 4 : 1;
    for (int i = 0; i < n_in / 32; i += step) {
        struct block b[4];
        memset(b, 0, sizeof b);
        for (int j = 0; j < step; j++)
            read_block(type, panel + (size_t) (i / blocks * lines) * PANEL_LINE, i % blocks + j, r, &b[j]);
        for (int c = 0; c < n; c++)
            sum[c] = step == 4 ? add_group(type, b, x[c], n_in, i / 4, sum[c])
                               : add_block(type, b, x[c], n_in, i, sum[c]);
    }
}

static void product_q8(enum tensor_type type, int blocks, int lines, const struct panel_product *a)
{
    for (int r = 0; r < a->n_rows; r++) {
        for (int from = 0; from < a->n_cols; from += COLUMNS) {
            int n = a->n_cols - from < COLUMNS ? a->n_cols - from : COLUMNS;
            float sum[COLUMNS];
            for (int c = 0; c < n; c++)
                sum[c] = a->add ? a->y[from + c][r] : 0;
            for (int p = 0; p < a->n_panels; p++)
                add_row_q8(type, blocks, lines, a->panels[p], r, a->n_in, a->x + p * a->x_stride + from, n, sum);
            for (int c = 0; c < n; c++)
                a->y[from + c][r] = sum[c];
        }
    }
}

static float read_float(enum tensor_type type, const uint8_t *panel, int row, int i)
{
    if (type == TENSOR_F32)
        return f32_from_bits(lane(panel, i, row));
    uint32_t pair = lane(panel, i / 2, row);
    if (type == TENSOR_F16)
        return i % 2 ? high_half(pair) : low_half(pair);
    return f32_from_bits(i % 2 ? pair & 0xffff0000 : pair << 16);
}

static void product_float(enum tensor_type type, const struct panel_product *a)
{
    for (int r = 0; r < a->n_rows; r++) {
        for (int c = 0; c < a->n_cols; c++) {
            float sum = a->add ? a->y[c][r] : 0;
            for (int p = 0; p < a->n_panels; p++) {
                const float *column = a->x[p * a->x_stride + c];
                for (int i = 0; i < a->n_in; i++)
                    sum = fmaf(read_float(type, a->panels[p], r, i), column[i], sum);
            }
            a->y[c][r] = sum;
        }
    }
}

#define PRODUCT_Q8(level, name, type, blocks, lines) \
    PRODUCT_HEAD(level, name)                        \
    {                                                \
        product_q8(type, blocks, lines, a);          \
    }
#define PRODUCT_FLOAT(level, name, type) \
    PRODUCT_HEAD(level, name)            \
    {                                    \
        product_float(type, a);          \
    }
PANEL_Q8_TYPES(PRODUCT_Q8, scalar)
PANEL_FLOAT_TYPES(PRODUCT_FLOAT, scalar)
