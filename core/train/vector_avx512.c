/*
 * vector_avx512.c - the loops of vector_body.h for AVX-512
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#if defined(__x86_64__)
#define VECTOR_TABLE vector_ops_avx512
#include "train/vector_body.h"
#endif
