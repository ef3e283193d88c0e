/*
 * rng.h - random numbers that depend on (seed, index) alone
 *
 * Counter-based: the n-th draw of a request is the same whatever else ran in
 * between, which is what makes seeded sampling reproducible in any batch.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

/* splitmix64's finaliser (Steele et al. 2014), applied to both words. */
static inline uint64_t rng_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t rng_at(uint64_t seed, uint64_t index)
{
    return rng_mix(rng_mix(seed + 0x9e3779b97f4a7c15u) + (index + 1) * 0x9e3779b97f4a7c15u);
}

/* Uniform in [0, 1) with 53 bits. */
static inline double rng_uniform(uint64_t seed, uint64_t index)
{
    return (double) (rng_at(seed, index) >> 11) * 0x1p-53;
}

#endif
