/*
 * vector_tables.h - the tables that vector.c chooses from
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_VECTOR_TABLES_H
#define TRAIN_VECTOR_TABLES_H

#include "train/vector.h"

extern const struct vector_ops vector_ops_scalar;
#if defined(__x86_64__)
extern const struct vector_ops vector_ops_avx2;
extern const struct vector_ops vector_ops_avx512;
#endif

#endif
