/*
 * vector_avx2.c - the loops of vector_body.h for AVX2
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#if defined(__x86_64__)
#define VECTOR_TABLE vector_ops_avx2
#include "train/vector_body.h"
#endif
