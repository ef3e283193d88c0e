/*
 * sha256.h - what a file holds, as 64 digits
 *
 * FIPS 180-4, plain C: a few hundred megabytes a second, for once per file.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_DIGITS = 64 };

struct sha256 {
    uint32_t state[8];
    uint64_t size;              /* bytes so far */
    unsigned char block[64];    /* not yet taken in: size % 64 of them */
};

void sha256_begin(struct sha256 *sha);
void sha256_add(struct sha256 *sha, const void *bytes, size_t size);

/* Hexadecimal, with a zero byte at the end. */
void sha256_end(struct sha256 *sha, char digits[SHA256_DIGITS + 1]);

#endif
