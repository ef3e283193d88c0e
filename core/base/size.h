/*
 * size.h - arithmetic on sizes that cannot wrap unnoticed
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_SIZE_H
#define BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each returns false, and leaves *result undefined, when the true result does not fit. */
static inline bool size_mul(size_t a, size_t b, size_t *result)
{
    return !__builtin_mul_overflow(a, b, result);
}

static inline bool size_add(size_t a, size_t b, size_t *result)
{
    return !__builtin_add_overflow(a, b, result);
}

/* Rounds up to a multiple of align, a power of two. The caller knows that n + align fits. */
static inline size_t size_align(size_t n, size_t align)
{
    return (n + align - 1) & ~(align - 1);
}

#endif
