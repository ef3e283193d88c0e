/*
 * float16.h - half and bfloat16 in plain C, exact in every bit
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_FLOAT16_H
#define BASE_FLOAT16_H

#include <stdint.h>
#include <string.h>

static inline float f32_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t f32_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float f32_from_bf16(uint16_t h)
{
    return f32_from_bits((uint32_t) h << 16);
}

/* Rounds to nearest even; a NaN stays one and becomes quiet. */
static inline uint16_t bf16_from_f32(float f)
{
    uint32_t u = f32_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t) ((u >> 16) | 64);
    return (uint16_t) ((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}

/* Subnormal halves are m * 2^-24: exact in f32, so a multiplication decodes them. */
static inline float f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t) (h & 0x8000) << 16;
    uint32_t exponent = (h >> 10) & 31;
    uint32_t mantissa = h & 0x3ff;
    if (exponent == 31)
        return f32_from_bits(sign | 0x7f800000u | mantissa << 13 | (mantissa ? 0x400000u : 0));
    if (exponent == 0) {
        float f = (float) mantissa * 0x1p-24f;
        return sign ? -f : f;
    }
    return f32_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* Rounds to nearest even. */
static inline uint16_t f16_from_f32(float f)
{
    uint32_t u = f32_bits(f);
    uint16_t sign = (uint16_t) ((u >> 16) & 0x8000);
    u &= 0x7fffffffu;
    if (u > 0x7f800000u)
        return (uint16_t) (sign | 0x7e00 | ((u >> 13) & 0x3ff));
    if (u >= 0x47800000u)
        return (uint16_t) (sign | 0x7c00);
    if (u < 0x38800000u) {
        /* Adding 0.5 aligns the wanted bits of a subnormal to the end of the mantissa and rounds them. */
        float shifted = f32_from_bits(u) + 0.5f;
        return (uint16_t) (sign | (uint16_t) (f32_bits(shifted) - 0x3f000000u));
    }
    u += 0xfffu + ((u >> 13) & 1);
    return (uint16_t) (sign | ((u - 0x38000000u) >> 13));
}

#endif
