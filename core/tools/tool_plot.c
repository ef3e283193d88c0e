/*
 * tool_plot.c - dsr1 plot: the curve of a run as a picture
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/error.h"
#include "base/memory.h"
#include "train/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RUNS = PLOT_COLORS, PER_RUN = 3 };

struct plot {
    const char *output, *key, *title;
    int smooth;
    /* For each run: points, their smoothed curve, points of the evaluation. */
    struct plot_series series[PER_RUN * MAX_RUNS];
    double *numbers[MAX_RUNS];
    char names[PER_RUN * MAX_RUNS][200];
    size_t n_series;
};

static double number_of(const json_t *line, const char *key)
{
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* One line of the log; false when it is no object. */
static bool read_line(const char *text, size_t size, const struct plot *p, double *x, double *y, double *aside)
{
    char eval[100];
    json_t *line = json_loadb(text, size, 0, NULL);
    bool good = json_is_object(line);
    snprintf(eval, sizeof eval, "eval_%.80s", p->key);
    *x = number_of(line, "step");
    *y = number_of(line, p->key);
    *aside = number_of(line, eval);
    json_decref(line);
    return good && isfinite(*x);
}

static void add_series(struct plot *p, int run, const char *path, const char *what, struct plot_series series)
{
    const char *base = strrchr(path, '/');
    char *name = p->names[p->n_series];
    if (what)
        snprintf(name, sizeof p->names[0], "%.150s%s", base ? base + 1 : path, what);
    series.name = name;
    series.color = run;
    p->series[p->n_series++] = series;
}

static bool any_finite(const double *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isfinite(y[i]))
            return true;
    return false;
}

static dsr1_status read_run(struct plot *p, int run, const char *path, dsr1_error *err)
{
    struct buffer text = {0};
    dsr1_status status = tool_read(path, &text, err);
    size_t n_lines = 1, n = 0, number = 0;
    for (size_t i = 0; i < text.size; i++)
        n_lines += text.data[i] == '\n';
    double *x = p->numbers[run] = memory_array(n_lines, 4 * sizeof *x);
    if (!x)
        status = error_nomem(err, path);
    double *y = x + n_lines, *aside = y + n_lines, *smooth = aside + n_lines;
    for (size_t at = 0; status == DSR1_OK && at < text.size;) {
        const char *end = memchr(text.data + at, '\n', text.size - at);
        size_t size = end ? (size_t) (end - (text.data + at)) : text.size - at;
        number++;
        if (size > 0 && !read_line(text.data + at, size, p, &x[n], &y[n], &aside[n]))
            status = error_set(err, DSR1_ERR_FORMAT, "%s line %zu: no object with a \"step\"", path, number);
        n += size > 0;
        at += size + 1;
    }
    if (status == DSR1_OK && !any_finite(y, n))
        status = error_set(err, DSR1_ERR_FORMAT, "%s has no \"%s\"", path, p->key);
    if (status == DSR1_OK) {
        plot_smooth(y, n, (size_t) p->smooth, smooth);
        add_series(p, run, path, NULL, (struct plot_series){.x = x, .y = y, .n = n, .faint = true});
        add_series(p, run, path, "", (struct plot_series){.x = x, .y = smooth, .n = n});
        if (any_finite(aside, n))
            add_series(p, run + MAX_RUNS / 2, path, ", set aside",
                       (struct plot_series){.x = x, .y = aside, .n = n, .dots = true});
    }
    buffer_free(&text);
    return status;
}

static dsr1_status draw(struct plot *p, char **paths, int n, dsr1_error *err)
{
    struct buffer svg = {0};
    dsr1_status status = DSR1_OK;
    for (int i = 0; i < n && status == DSR1_OK; i++)
        status = read_run(p, i, paths[i], err);
    if (status == DSR1_OK) {
        plot_svg(&svg, p->title ? p->title : p->key, "step", p->key, p->series, p->n_series);
        status = svg.failed ? error_nomem(err, "the picture") : tool_write(p->output, svg.data, svg.size, err);
    }
    buffer_free(&svg);
    for (int i = 0; i < n; i++)
        free(p->numbers[i]);
    return status;
}

int tool_plot(int argc, char **argv)
{
    struct plot p = {.output = "-", .key = "loss", .smooth = 9};
    const struct option_row rows[] = {
        {'o', "output", OPTION_STRING, &p.output, "FILE", "the SVG file (default: standard output)", 0, 0},
        {'k', "key", OPTION_STRING, &p.key, "NAME", "what to draw: loss (default), nll, reward, grad_norm, ..", 0, 0},
        {0, "smooth", OPTION_INT, &p.smooth, "N", "mean over N points (9); 1: none", 1, 100000},
        {0, "title", OPTION_STRING, &p.title, "TEXT", "above the picture", 0, 0},
        {0},
    };
    const struct command_line line = {"dsr1 plot", "RUN.jsonl... [-o OUT.svg]",
                                      "Draws the curves of training runs, up to six, from their logs.", rows,
                                      MAX_RUNS};
    dsr1_error err = {0};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go != OPTIONS_GO)
        return go;
    if (first == argc)
        return options_wrong(&line, "a log is wanted");
    return draw(&p, argv + first, argc - first, &err) == DSR1_OK ? 0 : tool_fail("plot", &err);
}
