/*
 * fuzz_constrain_gbnf.c - any text as a grammar: an error, or answers that obey
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "fuzz/fuzz_constrain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_constrain(DSR1_CONSTRAINT_GBNF, data, size);
}
