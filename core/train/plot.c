/*
 * plot.c - curves as an SVG picture
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/plot.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

enum { WIDTH = 800, HEIGHT = 450, LEFT = 72, RIGHT = 20, TOP = 44, BOTTOM = 52, MAX_TICKS = 12 };

static const char *const colors[PLOT_COLORS] = {"#1f5fa8", "#c2571a", "#2f7d4f", "#8a3c8f", "#a08000", "#505050"};

struct axis {
    double low, high, step;
    int from, to;               /* pixels; from > to: upwards */
};

static void escape(struct buffer *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<' || *text == '&' || *text == '>')
            buffer_printf(out, "&#%d;", *text);
        else
            buffer_append(out, text, 1);
    }
}

/* Ticks at 1, 2 or 5 times a power of ten, and bounds at ticks. */
static struct axis axis_over(double low, double high, int from, int to)
{
    if (!(high > low)) {
        double room = low != 0 ? fabs(low) * 0.1 : 1;
        low -= room;
        high += room;
    }
    double raw = (high - low) / (MAX_TICKS / 2.0), power = pow(10, floor(log10(raw))), lead = raw / power;
    double step = power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
    return (struct axis){step * floor(low / step + 1e-9), step * ceil(high / step - 1e-9), step, from, to};
}

static double pixel(const struct axis *a, double value)
{
    return a->from + (value - a->low) / (a->high - a->low) * (a->to - a->from);
}

static void text_at(struct buffer *out, double x, double y, const char *anchor, const char *more, const char *text)
{
    buffer_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>", x, y, anchor, more);
    escape(out, text);
    buffer_string(out, "</text>\n");
}

static void draw_axes(struct buffer *out, const struct axis *x, const struct axis *y)
{
    char label[40];
    for (double v = y->low; v <= y->high + y->step / 2; v += y->step) {
        double at = pixel(y, v);
        buffer_printf(out, "<path d=\"M%d %.1fH%d\" stroke=\"#e2e2e2\"/>\n", LEFT, at, WIDTH - RIGHT);
        snprintf(label, sizeof label, "%.6g", fabs(v) < y->step / 1e6 ? 0 : v);
        text_at(out, LEFT - 8, at + 4, "end", "", label);
    }
    for (double v = x->low; v <= x->high + x->step / 2; v += x->step) {
        double at = pixel(x, v);
        buffer_printf(out, "<path d=\"M%.1f %dv5\" stroke=\"#333\"/>\n", at, HEIGHT - BOTTOM);
        snprintf(label, sizeof label, "%.6g", fabs(v) < x->step / 1e6 ? 0 : v);
        text_at(out, at, HEIGHT - BOTTOM + 20, "middle", "", label);
    }
    buffer_printf(out, "<path d=\"M%d %dH%d\" stroke=\"#333\"/>\n", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT);
}

static void draw_series(struct buffer *out, const struct plot_series *s, const struct axis *x, const struct axis *y)
{
    const char *color = colors[s->color % PLOT_COLORS];
    bool begun = false;
    buffer_printf(out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" stroke-opacity=\"%s\" "
                  "stroke-linejoin=\"round\" d=\"", color, s->faint ? "1" : "2", s->faint ? "0.3" : "1");
    for (size_t i = 0; i < s->n; i++)
        if (isfinite(s->y[i])) {
            buffer_printf(out, "%c%.1f %.1f", begun ? 'L' : 'M', pixel(x, s->x[i]), pixel(y, s->y[i]));
            begun = true;
        }
    buffer_string(out, "\"/>\n");
    for (size_t i = 0; s->dots && i < s->n; i++)
        if (isfinite(s->y[i]))
            buffer_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", pixel(x, s->x[i]),
                          pixel(y, s->y[i]), color);
}

static void draw_legend(struct buffer *out, const struct plot_series *series, size_t n)
{
    int at = TOP + 14;
    for (size_t i = 0; i < n; i++) {
        if (!series[i].name[0])
            continue;
        buffer_printf(out, "<path d=\"M%d %dh18\" stroke=\"%s\" stroke-width=\"3\"/>\n", WIDTH - RIGHT - 24, at - 4,
                      colors[series[i].color % PLOT_COLORS]);
        text_at(out, WIDTH - RIGHT - 30, at, "end", "", series[i].name);
        at += 18;
    }
}

void plot_svg(struct buffer *out, const char *title, const char *x_label, const char *y_label,
              const struct plot_series *series, size_t n_series)
{
    double x_low = DBL_MAX, x_high = -DBL_MAX, y_low = DBL_MAX, y_high = -DBL_MAX;
    for (size_t s = 0; s < n_series; s++)
        for (size_t i = 0; i < series[s].n; i++)
            if (isfinite(series[s].y[i])) {
                x_low = fmin(x_low, series[s].x[i]);
                x_high = fmax(x_high, series[s].x[i]);
                y_low = fmin(y_low, series[s].y[i]);
                y_high = fmax(y_high, series[s].y[i]);
            }
    struct axis x = axis_over(x_low < x_high ? x_low : 0, x_low < x_high ? x_high : 1, LEFT, WIDTH - RIGHT);
    struct axis y = axis_over(y_low <= y_high ? y_low : 0, y_low <= y_high ? y_high : 1, HEIGHT - BOTTOM, TOP);
    buffer_printf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
                  "font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"
                  "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
    text_at(out, LEFT, 26, "start", " font-size=\"15\" font-weight=\"bold\"", title);
    draw_axes(out, &x, &y);
    for (size_t s = 0; s < n_series; s++)
        draw_series(out, &series[s], &x, &y);
    draw_legend(out, series, n_series);
    text_at(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 12, "middle", "", x_label);
    char turned[80];
    snprintf(turned, sizeof turned, " transform=\"rotate(-90 16 %d)\"", (TOP + HEIGHT - BOTTOM) / 2);
    text_at(out, 16, (TOP + HEIGHT - BOTTOM) / 2.0, "middle", turned, y_label);
    buffer_string(out, "</svg>\n");
}

void plot_smooth(const double *y, size_t n, size_t width, double *smooth)
{
    for (size_t i = 0; i < n; i++) {
        size_t half = width / 2, from = i > half ? i - half : 0, to = i + half + 1 < n ? i + half + 1 : n;
        double sum = 0;
        int known = 0;
        for (size_t j = from; j < to; j++)
            if (isfinite(y[j])) {
                sum += y[j];
                known++;
            }
        smooth[i] = known > 0 ? sum / known : NAN;
    }
}
