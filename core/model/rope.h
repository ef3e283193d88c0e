/*
 * rope.h - rotary position embedding: the angles of a position
 *
 * RoFormer (arXiv:2104.09864); YaRN (arXiv:2309.00071), equations 17-22.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef MODEL_ROPE_H
#define MODEL_ROPE_H

#include "model/shape.h"

struct rope {
    int n_rot;
    double *frequency;      /* n_rot / 2: angle per position */
    double magnitude;
};

/* factors: n_rot / 2 divisors of the frequencies, or NULL. */
dsr1_status rope_open(const struct rope_shape *shape, const float *factors, struct rope *rope, dsr1_error *err);
void rope_close(struct rope *rope);

/* cos_sin[2i], cos_sin[2i + 1] for i < n_rot / 2, both times the magnitude. */
void rope_angles(const struct rope *rope, int position, float *cos_sin);

#endif
