/*
 * panel.c - rows of a file, transposed into panels
 *
 * One table says which bytes of a row go to which lines; interleave_LEVEL() moves
 * them. Whole chunks of 16 rows go there directly. What is left at the right and
 * lower edge of a matrix is first copied to a small block padded with zeros.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/panel.h"

#include <string.h>

/* clang-format off */
static const struct panel_layout layouts[TENSOR_TYPES] = {
    [TENSOR_F32] = {.values = 4, .size = 16, .lines = 4, .n_runs = 1, .runs = {{0, 4, 0}}},
    [TENSOR_F16] = {.values = 8, .size = 16, .lines = 4, .n_runs = 1, .runs = {{0, 4, 0}}},
    [TENSOR_BF16] = {.values = 8, .size = 16, .lines = 4, .n_runs = 1, .runs = {{0, 4, 0}}},
    [TENSOR_Q4_0] = {.values = 64, .size = 36, .lines = 9, .small = TWO_HALVES, .step = 18,
                     .n_runs = 2, .runs = {{2, 4, 1}, {20, 4, 5}}},
    [TENSOR_Q4_1] = {.values = 32, .size = 20, .lines = 5, .n_runs = 1, .runs = {{0, 5, 0}}},
    [TENSOR_Q5_0] = {.values = 64, .size = 44, .lines = 11, .small = TWO_HALVES, .step = 22,
                     .n_runs = 4, .runs = {{2, 1, 1}, {24, 1, 2}, {6, 4, 3}, {28, 4, 7}}, .n_spread = 2},
    [TENSOR_Q5_1] = {.values = 32, .size = 24, .lines = 6, .n_runs = 1, .runs = {{0, 6, 0}}, .n_spread = 1},
    [TENSOR_Q8_0] = {.values = 64, .size = 68, .lines = 17, .small = TWO_HALVES, .step = 34,
                     .n_runs = 2, .runs = {{2, 8, 1}, {36, 8, 9}}, .flip = 0x80808080},
    [TENSOR_Q2_K] = {.values = 256, .size = 84, .lines = 21, .n_runs = 2, .runs = {{80, 1, 0}, {0, 20, 1}}},
    [TENSOR_Q3_K] = {.values = 256, .size = 110, .lines = 28, .small = ONE_HALF, .from = 108,
                     .n_runs = 2, .runs = {{96, 3, 1}, {0, 24, 4}}},
    [TENSOR_Q4_K] = {.values = 256, .size = 144, .lines = 36, .n_runs = 1, .runs = {{0, 36, 0}}},
    [TENSOR_Q5_K] = {.values = 256, .size = 176, .lines = 44, .n_runs = 1, .runs = {{0, 44, 0}}},
    [TENSOR_Q6_K] = {.values = 256, .size = 210, .lines = 53, .small = ONE_HALF, .from = 208,
                     .n_runs = 7, .runs = {{192, 4, 1}, {0, 8, 5}, {128, 8, 13}, {32, 8, 21},
                                           {64, 8, 29}, {160, 8, 37}, {96, 8, 45}}},
    [TENSOR_IQ4_NL] = {.values = 64, .size = 36, .lines = 9, .small = TWO_HALVES, .step = 18,
                       .n_runs = 2, .runs = {{2, 4, 1}, {20, 4, 5}}},
    [TENSOR_IQ4_XS] = {.values = 256, .size = 136, .lines = 34, .n_runs = 1, .runs = {{0, 34, 0}}},
    [TENSOR_MXFP4] = {.values = 128, .size = 68, .lines = 17, .small = FOUR_BYTES, .step = 17,
                      .n_runs = 4, .runs = {{1, 4, 1}, {18, 4, 5}, {35, 4, 9}, {52, 4, 13}}},
};
/* clang-format on */

enum { LARGEST_CHUNK = 210 };

const struct panel_layout *panel_layout(enum tensor_type type)
{
    return (unsigned) type < TENSOR_TYPES && layouts[type].values ? &layouts[type] : NULL;
}

size_t panel_size(enum tensor_type type, int n_in)
{
    const struct panel_layout *layout = panel_layout(type);
    size_t n_chunks = ((size_t) n_in + (size_t) layout->values - 1) / (size_t) layout->values;
    return n_chunks * (size_t) layout->lines * PANEL_LINE;
}

struct rows {
    const uint8_t *src;
    size_t stride, size; /* from row to row, and of a row */
    int n;
};

/* Chunk after chunk by way of a block in which the rows and values that do not exist are zero. */
static void pack_padded(const struct kernels *k, const struct panel_layout *layout, const struct rows *rows,
                        size_t from, uint8_t *panel)
{
    uint8_t block[PANEL_ROWS * LARGEST_CHUNK];
    size_t chunk = (size_t) layout->size;
    memset(block, 0, sizeof block);
    for (; from < rows->size; from += chunk, panel += layout->lines * PANEL_LINE) {
        size_t left = rows->size - from, size = left < chunk ? left : chunk;
        for (size_t r = 0; r < (size_t) rows->n; r++) {
            memcpy(block + r * chunk, rows->src + r * rows->stride + from, size);
            memset(block + r * chunk + size, 0, chunk - size);
        }
        k->interleave(layout, block, chunk, 1, panel);
    }
}

void panel_pack_with(const struct kernels *k, enum tensor_type type, const uint8_t *src, size_t row_size, int n_rows,
                     int n_in, void *dst)
{
    const struct panel_layout *layout = panel_layout(type);
    struct rows rows = {src, row_size, tensor_type_row(type, (size_t) n_in), n_rows};
    int whole = n_rows == PANEL_ROWS ? n_in / layout->values : 0;
    if (whole > 0)
        k->interleave(layout, src, row_size, whole, dst);
    pack_padded(k, layout, &rows, (size_t) whole * (size_t) layout->size,
                (uint8_t *) dst + (size_t) whole * (size_t) layout->lines * PANEL_LINE);
}

void panel_pack(enum tensor_type type, const uint8_t *src, size_t row_size, int n_rows, int n_in, void *dst)
{
    panel_pack_with(kernels_default(), type, src, row_size, n_rows, n_in, dst);
}
