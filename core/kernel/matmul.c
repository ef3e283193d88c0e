/*
 * matmul.c - a matrix times many columns, panel after panel
 *
 * Columns are taken in groups whose records stay in the second level of cache
 * memory while all panels pass by: a panel that comes from memory meets every
 * column of the group. Which columns form a group changes no result.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/cpu.h"
#include "kernel/panel.h"

enum { GROUP_SIZE = 384 << 10, MOST_COLUMNS = 128, LEAST_COLUMNS = 8, MOST_MATS = 32, MOST_PANELS = 256 };

size_t matmul_scratch_size(const struct weight *w)
{
    return w->panels ? 0 : panel_size(w->type, w->n_in);
}

static int group_columns(const struct weight *w)
{
    size_t n = (size_t) w->n_in;
    size_t columns = GROUP_SIZE / (weight_act_form(w->type) != ACT_FLOATS ? act_q8_size(n) : n * sizeof(float) + 1);
    return columns > MOST_COLUMNS ? MOST_COLUMNS : columns < LEAST_COLUMNS ? LEAST_COLUMNS : (int) columns;
}

static int panel_rows(const struct weight *w, int i)
{
    return w->n_out - i * PANEL_ROWS < PANEL_ROWS ? w->n_out - i * PANEL_ROWS : PANEL_ROWS;
}

/* Panel i of matrix mat, packed into scratch. */
static const void *pack_at(const struct kernels *k, const struct weight *w, int mat, int i, void *scratch)
{
    size_t row = (size_t) mat * (size_t) w->n_out + (size_t) i * PANEL_ROWS;
    panel_pack_with(k, w->type, w->data + row * w->row_size, w->row_size, panel_rows(w, i), w->n_in, scratch);
    return scratch;
}

/* Panels first .. last - 1 of each of n matrices, in the order in which they are read. */
static void list_panels(const struct kernels *k, const struct weight *w, const int mats[], int n, int first, int last,
                        void *scratch, const void *panels[])
{
    for (int i = first; i < last; i++)
        for (int m = 0; m < n; m++)
            *panels++ = w->panels ? weight_panel(w, mats[m], i) : pack_at(k, w, mats[m], i, scratch);
}

/*
 * Panels first .. last - 1 of n_panels matrices, no more than MOST_MATS, with one group of columns, which `a` holds.
 * Reading goes on at `next`, or straight on.
 */
static void multiply(const struct kernels *k, const struct weight *w, const int mats[], int first, int last,
                     struct panel_product a, float *const y[], const void *next, void *scratch)
{
    const void *panels[MOST_PANELS];
    float *out[MOST_COLUMNS];
    int n = a.n_panels, listed = w->panels ? MOST_PANELS / n : 1;
    a.n_in = w->n_in;
    a.y = out;
    a.stride = panel_size(w->type, w->n_in) * (w->side_by_side ? (size_t) w->n_mats : 1);
    /* One column is a plain run through memory, but Q6_K comes back to its high bits. */
    a.fetch = cpu_fetch(a.n_cols == 1 && w->type != TENSOR_Q6_K);
    for (int from = first, to; from < last; from = to) {
        to = last - from < listed ? last : from + listed;
        list_panels(k, w, mats, n, from, to, scratch, panels);
        a.panels = panels;
        a.next = w->panels ? weight_panel(w, mats[to < last ? 0 : n - 1], to) : scratch;
        if (to == last && next)
            a.next = next;
        for (int i = from; i < to; i++, a.panels += n) {
            a.n_rows = panel_rows(w, i);
            a.n_behind = (to - i - 1) * n;
            for (int c = 0; c < a.n_cols; c++)
                out[c] = y[c] + i * PANEL_ROWS;
            k->panel_product[w->type](&a);
        }
    }
}

void matmul_panels(const struct kernels *k, const struct weight *w, int mat, int first, int last, const void *const x[],
                   int n_cols, float *const y[], const void *next, void *scratch)
{
    int most = group_columns(w);
    for (int c = 0; c < n_cols; c += most) {
        struct panel_product a = {.n_panels = 1, .x = x + c, .n_cols = n_cols - c < most ? n_cols - c : most};
        multiply(k, w, &mat, first, last, a, y + c, next, scratch);
    }
}

void matmul_add_panels(const struct kernels *k, const struct weight *w, const int mats[], int n_mats, int first,
                       int last, const void *const x[], int n_cols, float *const y[], const void *next, void *scratch)
{
    int most = group_columns(w), at_once = w->panels ? MOST_MATS : 1;
    for (int c = 0; c < n_cols; c += most)
        for (int m = 0; m < n_mats; m += at_once) {
            struct panel_product a = {.n_panels = n_mats - m < at_once ? n_mats - m : at_once, .x = x + m * n_cols + c,
                                      .x_stride = n_cols, .n_cols = n_cols - c < most ? n_cols - c : most, .add = true};
            multiply(k, w, mats + m, first, last, a, y + c, next, scratch);
        }
}
