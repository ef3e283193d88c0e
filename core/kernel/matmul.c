/*
 * matmul.c - a matrix times many columns, panel after panel
 *
 * Columns are taken in groups whose records stay in the second level of cache
 * memory while all panels pass by: a panel that comes from memory meets every
 * column of the group. Which columns form a group changes no result.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/panel.h"

enum { GROUP_SIZE = 384 << 10, MOST_COLUMNS = 128, LEAST_COLUMNS = 8 };

size_t matmul_scratch_size(const struct weight *w)
{
    return w->panels ? 0 : panel_size(w->type, w->n_in);
}

static int group_columns(const struct weight *w)
{
    size_t n = (size_t) w->n_in;
    size_t columns = GROUP_SIZE / (weight_wants_q8(w->type) ? act_q8_size(n) : n * sizeof(float) + 1);
    return columns > MOST_COLUMNS ? MOST_COLUMNS : columns < LEAST_COLUMNS ? LEAST_COLUMNS : (int) columns;
}

/* Panel i of matrix mat, where it lies or packed into scratch. */
static const void *panel_at(const struct kernels *k, const struct weight *w, int mat, int i, int n_rows, void *scratch)
{
    if (w->panels) {
        size_t index = (size_t) mat * (size_t) weight_panels(w) + (size_t) i;
        return w->panels + index * panel_size(w->type, w->n_in);
    }
    size_t row = (size_t) mat * (size_t) w->n_out + (size_t) i * PANEL_ROWS;
    panel_pack_with(k, w->type, w->data + row * w->row_size, w->row_size, n_rows, w->n_in, scratch);
    return scratch;
}

void matmul_panels(const struct kernels *k, const struct weight *w, int mat, int first, int last, const void *const x[],
                   int n_cols, float *const y[], void *scratch)
{
    float *out[MOST_COLUMNS];
    int most = group_columns(w);
    for (int from = 0; from < n_cols; from += most) {
        int n = n_cols - from < most ? n_cols - from : most;
        for (int i = first; i < last; i++) {
            int row = i * PANEL_ROWS;
            int n_rows = w->n_out - row < PANEL_ROWS ? w->n_out - row : PANEL_ROWS;
            for (int c = 0; c < n; c++)
                out[c] = y[from + c] + row;
            k->panel_product[w->type](panel_at(k, w, mat, i, n_rows, scratch), w->n_in, n_rows, x + from, n, out);
        }
    }
}
