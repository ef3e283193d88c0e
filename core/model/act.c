/*
 * act.c - rows of activations in the forms that matrices want
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/act.h"

#include <string.h>

bool act_divides(const struct act *a, int n)
{
    return !(a->wants[ACT_BLOCKS] && n % ACT_BLOCK) && !(a->wants[ACT_GROUPS] && n % ACT_GROUP);
}

void act_quantize(const struct kernels *k, const struct act *a, int row)
{
    for (enum act_form form = ACT_BLOCKS; form < ACT_FORMS; form++)
        if (a->wants[form])
            k->quantize[form](act_row(a, row), a->n, a->bytes[form] + (size_t) row * a->record);
}

/* Blocks and groups are independent, so a part is quantised by itself and laid into the record. */
void act_quantize_part(const struct kernels *k, const struct act *a, enum act_form form, int row, int first, int n,
                       const float *x)
{
    enum { PART = ACT_GROUP };
    _Static_assert(PART + PART / 32 * 8 + PART / 16 * 2 <= 2 * PART, "a record of PART values fits");
    uint8_t *record = a->bytes[form] + (size_t) row * a->record;
    const size_t scaled = form == ACT_GROUPS ? ACT_GROUP : ACT_BLOCK, summed = form == ACT_GROUPS ? 2 : sizeof(float);
    _Alignas(64) uint8_t part[2 * PART];
    char *d = (char *) act_q8_d(record, (size_t) a->n), *block_sum = (char *) act_q8_dsum(record, (size_t) a->n);
    int16_t *sum = (int16_t *) act_q8_sum(record, (size_t) a->n);
    for (int i = 0; i < n; i += PART) {
        size_t m = (size_t) (n - i < PART ? n - i : PART), at = (size_t) (first + i);
        k->quantize[form](x + i, (int) m, part);
        memcpy(record + at, part, m);
        memcpy(d + at / scaled * sizeof(float), act_q8_d(part, m), m / scaled * sizeof(float));
        memcpy(sum + at / 16, act_q8_sum(part, m), m / 16 * sizeof *sum);
        memcpy(block_sum + at / 32 * summed, act_q8_dsum(part, m), m / 32 * summed);
    }
}
