/*
 * mkmodel_fill.c - random weights, written in quantised form straight away
 *
 * A block's codes are random bits; its scale follows from the standard deviation
 * that uniform codes have in this format. Scales differ by block and have either
 * sign where zero is not in the middle of the codes, so that the mean is zero.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "mkmodel.h"

#include "base/float16.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

enum { LARGEST_BLOCK = 256 };

/* Random words of one block, one after the other. */
struct source {
    uint64_t seed, next;
};

static uint64_t draw(struct source *s)
{
    return rng_mix(s->seed + 0x9e3779b97f4a7c15u * ++s->next);
}

/* Four uniform numbers make one that is nearly normal. */
static float normal(uint64_t bits)
{
    int sum = 0;
    for (int i = 0; i < 4; i++, bits >>= 16)
        sum += (int) (bits & 0xffff) - 0x8000;
    return (float) sum * (1.7320508f / 65536);
}

static void put_half(uint8_t *at, float value)
{
    uint16_t half = f16_from_f32(value);
    memcpy(at, &half, sizeof half);
}

static void put_float(const struct mkmodel_tensor *t, float value, uint8_t *out)
{
    uint16_t half = t->type == TENSOR_F16 ? f16_from_f32(value) : bf16_from_f32(value);
    if (t->type == TENSOR_F32)
        memcpy(out, &value, sizeof value);
    else
        memcpy(out, &half, sizeof half);
}

/* Q4_K, Q5_K: eight scales and eight minimums of 6 bits in 12 bytes. */
static void put_scales_6(struct source *s, uint8_t *out)
{
    uint64_t bits = draw(s);
    uint8_t scale[8], min[8];
    for (int g = 0; g < 8; g++, bits >>= 8) {
        scale[g] = (uint8_t) (40 + (bits & 15));
        min[g] = (uint8_t) (scale[g] - 4 + (bits >> 4 & 7));
    }
    for (int g = 0; g < 4; g++) {
        out[g] = (uint8_t) (scale[g] | scale[g + 4] >> 4 << 6);
        out[g + 4] = (uint8_t) (min[g] | min[g + 4] >> 4 << 6);
        out[g + 8] = (uint8_t) ((scale[g + 4] & 15) | (min[g + 4] & 15) << 4);
    }
}

/* Q2_K: sixteen scales and minimums of 4 bits. */
static void put_scales_4(struct source *s, uint8_t out[16])
{
    uint64_t bits = draw(s);
    for (int g = 0; g < 16; g++, bits >>= 4) {
        uint8_t scale = (uint8_t) (8 + (bits & 7)), min = (uint8_t) (scale - (bits >> 3 & 1));
        out[g] = (uint8_t) (scale | min << 4);
    }
}

/* Where random codes have to be something else, and what the scale of a weight of standard deviation 1 is. */
static void finish_block(enum tensor_type type, struct source *s, float d, uint8_t *block)
{
    uint64_t bits = draw(s);
    float signed_d = bits & 1 ? -d : d;
    switch (type) {
    case TENSOR_Q4_0:
        put_half(block, signed_d / 4.637f);
        break;
    case TENSOR_Q4_1:
        put_half(block, d / 4.61f);
        put_half(block + 2, d / 4.61f * -7.5f);
        break;
    case TENSOR_Q5_0:
        put_half(block, signed_d / 9.247f);
        break;
    case TENSOR_Q5_1:
        put_half(block, d / 9.233f);
        put_half(block + 2, d / 9.233f * -15.5f);
        break;
    case TENSOR_Q8_0:
        put_half(block, d / 73.6f);
        for (int i = 2; i < 34; i++)
            block[i] = block[i] == 0x80 ? 0x81 : block[i];
        break;
    case TENSOR_IQ4_NL:
        put_half(block, signed_d / 67.4f);
        break;
    case TENSOR_MXFP4:
        block[0] = (uint8_t) (128 + (int) lrintf(log2f(d / 5.85f)));
        break;
    case TENSOR_Q2_K:
        put_scales_4(s, block);
        put_half(block + 80, d / (11.7f * 1.118f));
        put_half(block + 82, d / (11.7f * 1.118f) * 1.55f);
        break;
    case TENSOR_Q3_K:
        put_half(block + 108, d / (18.48f * 2.345f));
        break;
    case TENSOR_Q4_K:
    case TENSOR_Q5_K: {
        float spread = type == TENSOR_Q4_K ? 4.61f : 9.233f, middle = type == TENSOR_Q4_K ? 7.5f : 15.5f;
        put_scales_6(s, block + 4);
        put_half(block, d / (47.7f * spread));
        put_half(block + 2, d / (47.7f * spread) * middle);
        break;
    }
    case TENSOR_Q6_K:
        put_half(block + 208, d / (73.9f * 18.47f));
        break;
    case TENSOR_IQ4_XS:
        put_half(block, d / (18.48f * 67.4f));
        break;
    default:
        break;
    }
}

static void fill_floats(const struct mkmodel_tensor *t, uint64_t seed, uint64_t first, size_t n, uint8_t *out)
{
    size_t size = tensor_type_size((uint32_t) t->type);
    for (size_t i = 0; i < n; i++)
        put_float(t, t->mean + t->deviation * normal(rng_at(seed, first + i)), out + i * size);
}

/* Llama 3.1's: long waves are stretched eight times, short ones not, with a ramp between; context 8192. */
static void fill_rope_factors(const struct mkmodel_tensor *t, uint64_t first, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        double wave = 2 * M_PI * pow(500000, (double) (first + i) / (double) t->ne[0]);
        double ramp = (8192 / wave - 1) / 3;
        double factor = wave < 2048 ? 1 : wave > 8192 ? 8 : 1 / ((1 - ramp) / 8 + ramp);
        put_float(t, (float) factor, out + i * tensor_type_size((uint32_t) t->type));
    }
}

void mkmodel_fill_blocks(const struct mkmodel_tensor *t, uint64_t seed, uint64_t first, size_t n, uint8_t *out)
{
    size_t size = tensor_type_size((uint32_t) t->type);
    if (t->fill == MKMODEL_ROPE_FACTORS) {
        fill_rope_factors(t, first, n, out);
        return;
    }
    if (tensor_type_block((uint32_t) t->type) == 1) {
        fill_floats(t, seed, first, n, out);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct source s = {.seed = rng_at(seed, first + i)};
        uint64_t words[LARGEST_BLOCK / sizeof(uint64_t)];
        uint8_t *block = out + i * size;
        for (size_t j = 0; j * sizeof *words < size; j++)
            words[j] = draw(&s);
        memcpy(block, words, size);
        float d = t->deviation * (0.75f + 0.5f * (float) (draw(&s) >> 40) * 0x1p-24f);
        finish_block(t->type, &s, d, block);
    }
}
