/*
 * fuzz_constrain_regex.c - any text as a regular expression: an error, or answers that obey
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "fuzz/fuzz_constrain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_constrain(DSR1_CONSTRAINT_REGEX, data, size);
}
