/*
 * memory.c - checked arrays and huge-page blocks
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/memory.h"

#include "base/size.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

void *memory_array(size_t n, size_t size)
{
    return calloc(n ? n : 1, size ? size : 1);
}

void *memory_resize(void *old, size_t n, size_t size)
{
    size_t total;
    if (!size_mul(n ? n : 1, size, &total))
        return NULL;
    return realloc(old, total);
}

/* Large blocks are mapped with room to spare, so that the ends can be trimmed to the alignment. */
void *memory_map(size_t size)
{
    size_t rounded;
    if (!size_add(size, 2 * (size_t) HUGE_PAGE, &rounded))
        return NULL;
    size = size_align(size ? size : 1, 4096);
    size_t slack = size >= HUGE_PAGE ? HUGE_PAGE : 0;
    char *block = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return NULL;
    if (slack) {
        char *aligned = (char *) size_align((uintptr_t) block, HUGE_PAGE);
        size_t before = (size_t) (aligned - block);
        if (before)
            munmap(block, before);
        if (slack - before)
            munmap(aligned + size, slack - before);
        block = aligned;
        madvise(block, size, MADV_HUGEPAGE);
    }
    return block;
}

void memory_unmap(void *block, size_t size)
{
    if (block)
        munmap(block, size_align(size ? size : 1, 4096));
}
