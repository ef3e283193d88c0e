/*
 * memory.h - allocations whose size is a product, and big blocks on huge pages
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

/* Zeroed room for n items of size bytes; NULL when n * size wraps or memory is short. Free with free(). */
void *memory_array(size_t n, size_t size);

/* realloc() to n items; NULL (and the old block kept) on failure. */
void *memory_resize(void *old, size_t n, size_t size);

/*
 * Zeroed pages straight from the kernel, 2 MiB aligned and on transparent huge
 * pages where offered: decode is bound by memory bandwidth, and huge pages read
 * up to a quarter faster than 4 KiB ones. Release with the same size.
 */
void *memory_map(size_t size);
void memory_unmap(void *block, size_t size);

#endif
