/*
 * act.c - rows of activations in the two forms that matrices want
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/act.h"

#include <string.h>

/* Blocks are independent, so a part is quantised by itself and laid into the record. */
void act_quantize(const struct kernels *k, const struct act *a, int row, int first, int n, const float *x)
{
    enum { PART = 128 };
    _Static_assert(PART + PART / 32 * 8 + PART / 16 * 2 <= 2 * PART, "a record of PART values fits");
    uint8_t *record = a->q + (size_t) row * a->record;
    if (n == a->n) {
        k->quantize_row(x, n, record);
        return;
    }
    _Alignas(64) uint8_t part[2 * PART];
    float *d = (float *) act_q8_d(record, (size_t) a->n);
    int16_t *sum = (int16_t *) act_q8_sum(record, (size_t) a->n);
    float *dsum = (float *) act_q8_dsum(record, (size_t) a->n);
    for (int i = 0; i < n; i += PART) {
        int m = n - i < PART ? n - i : PART, at = first + i;
        k->quantize_row(x + i, m, part);
        memcpy(record + at, part, (size_t) m);
        memcpy(d + at / 32, act_q8_d(part, (size_t) m), (size_t) m / 32 * sizeof *d);
        memcpy(sum + at / 16, act_q8_sum(part, (size_t) m), (size_t) m / 16 * sizeof *sum);
        memcpy(dsum + at / 32, act_q8_dsum(part, (size_t) m), (size_t) m / 32 * sizeof *dsum);
    }
}
