/*
 * read_piece.h - a plain loop over memory, what everything that is bound by memory is held against
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BENCH_READ_PIECE_H
#define BENCH_READ_PIECE_H

#include <stddef.h>
#include <stdint.h>

static volatile uint64_t read_piece_sink; /* so that reading is not left out */

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static uint64_t read_piece(const uint8_t *piece, size_t size)
{
    typedef uint64_t line __attribute__((vector_size(64)));
    const line *p = (const line *) piece, *end = p + size / sizeof *p;
    line a = {0}, b = {0}, c = {0}, d = {0};
    for (; p < end; p += 4) {
        a ^= p[0];
        b ^= p[1];
        c ^= p[2];
        d ^= p[3];
    }
    a ^= b ^ c ^ d;
    return a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}

#endif
