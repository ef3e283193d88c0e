/*
 * rope.c - rotary position embedding: the angles of a position
 *
 * Angles are computed in double: at positions beyond 10^4 the rounding of a
 * float angle would be the largest error of the whole layer.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/rope.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

/* The dimension that turns beta times over the original context. */
static double yarn_dimension(const struct rope_shape *s, double beta)
{
    return s->n_rot * log(s->original_context / (beta * 2 * M_PI)) / (2 * log(s->base));
}

/* 1 where the wave is short and stays, 0 where it is long and is stretched. */
static double yarn_ramp(const struct rope_shape *s, int i)
{
    double low = fmax(0, floor(yarn_dimension(s, 32)));
    double high = fmin(s->n_rot - 1, ceil(yarn_dimension(s, 1)));
    double t = (i - low) / fmax(0.001, high - low);
    return 1 - fmin(1, fmax(0, t));
}

dsr1_status rope_open(const struct rope_shape *shape, const float *factors, struct rope *rope, dsr1_error *err)
{
    int n = shape->n_rot / 2;
    *rope = (struct rope){.n_rot = shape->n_rot, .magnitude = shape->magnitude};
    rope->frequency = memory_array((size_t) n, sizeof *rope->frequency);
    if (!rope->frequency)
        return error_nomem(err, "rope frequencies");
    for (int i = 0; i < n; i++) {
        double f = pow(shape->base, -2.0 * i / shape->n_rot) / (factors ? factors[i] : 1.0);
        double keep = shape->yarn ? yarn_ramp(shape, i) : 0;
        rope->frequency[i] = f * ((1 - keep) / shape->factor + keep);
    }
    return DSR1_OK;
}

void rope_close(struct rope *rope)
{
    free(rope->frequency);
    *rope = (struct rope){0};
}

void rope_angles(const struct rope *rope, int position, float *cos_sin)
{
    for (int i = 0; i < rope->n_rot / 2; i++) {
        double theta = position * rope->frequency[i];
        cos_sin[2 * i] = (float) (cos(theta) * rope->magnitude);
        cos_sin[2 * i + 1] = (float) (sin(theta) * rope->magnitude);
    }
}
