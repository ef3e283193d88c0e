/*
 * tensor_type.h - the number formats a GGUF tensor can have
 *
 * Ids, block lengths and block sizes as in the GGUF files themselves.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_TENSOR_TYPE_H
#define BASE_TENSOR_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tensor_type {
    TENSOR_F32 = 0,
    TENSOR_F16 = 1,
    TENSOR_Q4_0 = 2,
    TENSOR_Q4_1 = 3,
    TENSOR_Q5_0 = 6,
    TENSOR_Q5_1 = 7,
    TENSOR_Q8_0 = 8,
    TENSOR_Q2_K = 10,
    TENSOR_Q3_K = 11,
    TENSOR_Q4_K = 12,
    TENSOR_Q5_K = 13,
    TENSOR_Q6_K = 14,
    TENSOR_IQ4_NL = 20,
    TENSOR_IQ4_XS = 23,
    TENSOR_BF16 = 30,
    TENSOR_MXFP4 = 39,
    TENSOR_TYPES = 43       /* ids run below this */
};

/* "Q4_K"; for an id that names a format dsr1 does not compute with, that format's name; else "type N". */
const char *tensor_type_name(uint32_t type);

/* Is this a format that the kernels compute with? */
bool tensor_type_known(uint32_t type);

/* Does any GGUF file use this id (known or not)? Removed and future ids are not valid. */
bool tensor_type_valid(uint32_t type);

/* Weights per block and bytes per block of every valid id; 0 otherwise. */
int tensor_type_block(uint32_t type);
size_t tensor_type_size(uint32_t type);

/* Bytes of a row of n weights; the caller has checked that n is a multiple of the block. */
static inline size_t tensor_type_row(uint32_t type, size_t n)
{
    return n / (size_t) tensor_type_block(type) * tensor_type_size(type);
}

/* The id of a name ("q4_k" in any case), or -1. Known formats only. */
int tensor_type_parse(const char *name);

#endif
