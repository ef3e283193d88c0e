/*
 * vector.c - the loops for this CPU
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/vector.h"

#include "base/cpu.h"
#include "train/vector_tables.h"

const struct vector_ops *vector_ops(void)
{
#if defined(__x86_64__)
    if (cpu_level() >= CPU_AVX512)
        return &vector_ops_avx512;
    if (cpu_level() >= CPU_AVX2)
        return &vector_ops_avx2;
#endif
    return &vector_ops_scalar;
}
