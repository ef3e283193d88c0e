/*
 * vector_scalar.c - the loops of vector_body.h for any CPU
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#define VECTOR_TABLE vector_ops_scalar
#include "train/vector_body.h"
