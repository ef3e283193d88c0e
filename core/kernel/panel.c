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
    [TENSOR_F32] = {4, 16, 4, 1, {{0, 4, 0}}, .tail = TAIL_NONE},
    [TENSOR_F16] = {8, 16, 4, 1, {{0, 4, 0}}, .tail = TAIL_NONE},
    [TENSOR_BF16] = {8, 16, 4, 1, {{0, 4, 0}}, .tail = TAIL_NONE},
    [TENSOR_Q4_0] = {64, 36, 9, 2, {{2, 4, 0}, {20, 4, 4}}, .tail = TAIL_TWO_HALVES, .tail_step = 18},
    [TENSOR_Q4_1] = {32, 20, 5, 1, {{0, 5, 0}}, .tail = TAIL_NONE},
    [TENSOR_Q5_0] = {64, 44, 11, 4, {{6, 4, 0}, {28, 4, 4}, {2, 1, 8}, {24, 1, 9}}, .tail = TAIL_TWO_HALVES, .tail_step = 22,
                     .spread = 8, .n_spread = 2},
    [TENSOR_Q5_1] = {32, 24, 6, 1, {{0, 6, 0}}, .tail = TAIL_NONE, .spread = 1, .n_spread = 1},
    [TENSOR_Q8_0] = {64, 68, 17, 2, {{2, 8, 0}, {36, 8, 8}}, .tail = TAIL_TWO_HALVES, .tail_step = 34, .flip = 0x80808080},
    [TENSOR_Q2_K] = {256, 84, 21, 1, {{0, 21, 0}}, .tail = TAIL_NONE},
    [TENSOR_Q3_K] = {256, 110, 28, 1, {{0, 27, 0}}, .tail = TAIL_HALF, .tail_from = 108},
    [TENSOR_Q4_K] = {256, 144, 36, 1, {{0, 36, 0}}, .tail = TAIL_NONE},
    [TENSOR_Q5_K] = {256, 176, 44, 1, {{0, 44, 0}}, .tail = TAIL_NONE},
    [TENSOR_Q6_K] = {256, 210, 53, 1, {{0, 52, 0}}, .tail = TAIL_HALF, .tail_from = 208},
    [TENSOR_IQ4_NL] = {64, 36, 9, 2, {{2, 4, 0}, {20, 4, 4}}, .tail = TAIL_TWO_HALVES, .tail_step = 18},
    [TENSOR_IQ4_XS] = {256, 136, 34, 1, {{0, 34, 0}}, .tail = TAIL_NONE},
    [TENSOR_MXFP4] = {128, 68, 17, 4, {{1, 4, 0}, {18, 4, 4}, {35, 4, 8}, {52, 4, 12}}, .tail = TAIL_FOUR_BYTES, .tail_step = 17},
};
/* clang-format on */

enum { LARGEST_CHUNK = 210 };

const struct panel_layout *panel_layout(enum tensor_type type)
{
    return (unsigned) type < TENSOR_TYPES && layouts[type].values ? &layouts[type] : NULL;
}

bool weight_wants_q8(enum tensor_type type)
{
    return type != TENSOR_F32 && type != TENSOR_F16 && type != TENSOR_BF16;
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
