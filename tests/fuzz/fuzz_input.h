/*
 * fuzz_input.h - parts of a fuzz input, taken from its front
 *
 * What is no longer there is zero or empty, so that every input is a whole one.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TESTS_FUZZ_FUZZ_INPUT_H
#define TESTS_FUZZ_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

static inline uint8_t fuzz_input_byte(struct fuzz_input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

/* At most size bytes; *got is how many there were. */
static inline const uint8_t *fuzz_input_bytes(struct fuzz_input *in, size_t size, size_t *got)
{
    const uint8_t *bytes = in->at;
    *got = size < in->left ? size : in->left;
    in->at += *got;
    in->left -= *got;
    return bytes;
}

/* Up to the next byte `end`, which is dropped, or all. */
static inline const uint8_t *fuzz_input_until(struct fuzz_input *in, uint8_t end, size_t *got)
{
    const uint8_t *bytes = in->at, *stop = in->left ? memchr(in->at, end, in->left) : NULL;
    *got = stop ? (size_t) (stop - bytes) : in->left;
    size_t taken = *got + (stop != NULL);
    in->at += taken;
    in->left -= taken;
    return bytes;
}

#endif
