/*
 * test_train_plot.c - claims about the picture of a run
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void points_land_where_the_axes_say(void **state)
{
    const double x[] = {0, 50, 100}, y[] = {0, 0.5, 1};
    struct plot_series series = {.name = "run", .x = x, .y = y, .n = 3};
    struct buffer svg = {0};
    plot_svg(&svg, "title", "step", "loss", &series, 1);
    assert_false(svg.failed);
    /* Corners of the frame, and the middle between them. */
    assert_non_null(strstr(svg.data, "d=\"M72.0 398.0L426.0 221.0L780.0 44.0\""));
    assert_non_null(strstr(svg.data, ">0.4</text>"));
    assert_non_null(strstr(svg.data, ">100</text>"));
    buffer_free(&svg);
}

static void names_cannot_break_out_of_the_markup(void **state)
{
    struct buffer svg = {0};
    plot_svg(&svg, "<script>&", "x", "y", NULL, 0);
    assert_non_null(strstr(svg.data, "&#60;script&#62;&#38;"));
    assert_null(strstr(svg.data, "<script"));
    buffer_free(&svg);
}

static void odd_numbers_draw_something_finite(void **state)
{
    const double x[] = {1, 2, 3, 4}, flat[] = {2, 2, 2, 2}, holes[] = {NAN, 1e-9, INFINITY, 3e-9};
    struct plot_series series[] = {{.name = "a", .x = x, .y = flat, .n = 4, .dots = true},
                                   {.name = "b", .x = x, .y = holes, .n = 4}};
    for (int i = 0; i < 3; i++) {
        struct buffer svg = {0};
        plot_svg(&svg, "t", "x", "y", i < 2 ? series + i : series, i < 2 ? 1 : 2);
        assert_false(svg.failed);
        assert_null(strstr(svg.data, "nan"));
        assert_null(strstr(svg.data, "inf"));
        assert_in_range(svg.size, 500, 20000);
        buffer_free(&svg);
    }
}

static void smoothing_takes_the_neighbours_that_are_known(void **state)
{
    const double y[] = {1, 2, NAN, 4, 9};
    double smooth[5];
    plot_smooth(y, 5, 3, smooth);
    assert_true(smooth[0] == 1.5 && smooth[1] == 1.5 && smooth[2] == 3 && smooth[3] == 6.5 && smooth[4] == 6.5);
    plot_smooth(y, 5, 1, smooth);
    assert_true(smooth[1] == 2 && isnan(smooth[2]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_land_where_the_axes_say),
        cmocka_unit_test(names_cannot_break_out_of_the_markup),
        cmocka_unit_test(odd_numbers_draw_something_finite),
        cmocka_unit_test(smoothing_takes_the_neighbours_that_are_known),
    };
    return cmocka_run_group_tests_name("train_plot", tests, NULL, NULL);
}
