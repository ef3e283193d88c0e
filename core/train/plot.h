/*
 * plot.h - curves as an SVG picture
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_PLOT_H
#define TRAIN_PLOT_H

#include "base/buffer.h"

#include <stddef.h>

struct plot_series {
    const char *name;           /* "" stays out of the legend */
    const double *x, *y;        /* points whose y is no finite number are left out */
    size_t n;
    bool faint;                 /* thin and pale: what another series smooths */
    bool dots;                  /* with a dot at each point */
    int color;                  /* one of PLOT_COLORS */
};

enum { PLOT_COLORS = 6 };

/* Appends a whole SVG document; out->failed tells of missing memory. Series without points are left out. */
void plot_svg(struct buffer *out, const char *title, const char *x_label, const char *y_label,
              const struct plot_series *series, size_t n_series);

/* The centred mean over a window of `width` points, y[i] over its neighbours on both sides; NaN stays out. */
void plot_smooth(const double *y, size_t n, size_t width, double *smooth);

#endif
