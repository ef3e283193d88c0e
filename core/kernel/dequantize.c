/*
 * dequantize.c - rows of a file to floats, as each format defines them
 *
 * Block formats as in GGUF files, little-endian. The order of operations is the
 * reference's, (d * scale) * q - (dmin * min), so that results agree in every bit.
 * Used for embeddings and tests; products never take this way.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/float16.h"
#include "kernel/panel.h"

#include <string.h>

static float half_at(const uint8_t *p)
{
    return f32_from_f16((uint16_t) (p[0] | p[1] << 8));
}

static void f32_row(const uint8_t *src, int n, float *dst)
{
    memcpy(dst, src, (size_t) n * sizeof *dst);
}

static void f16_row(const uint8_t *src, int n, float *dst)
{
    for (int i = 0; i < n; i++)
        dst[i] = half_at(src + 2 * i);
}

static void bf16_row(const uint8_t *src, int n, float *dst)
{
    for (int i = 0; i < n; i++)
        dst[i] = f32_from_bf16((uint16_t) (src[2 * i] | src[2 * i + 1] << 8));
}

static void q4_0_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 32, src += 18, dst += 32) {
        float d = half_at(src);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float) ((src[2 + j] & 15) - 8);
            dst[j + 16] = d * (float) ((src[2 + j] >> 4) - 8);
        }
    }
}

static void q4_1_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 32, src += 20, dst += 32) {
        float d = half_at(src), m = half_at(src + 2);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float) (src[4 + j] & 15) + m;
            dst[j + 16] = d * (float) (src[4 + j] >> 4) + m;
        }
    }
}

/* The five bits of value i of a block: the high ones at qh, the others at qs. */
static int five_bits(const uint8_t *qh, const uint8_t *qs, int i)
{
    int low = i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
    return low | (qh[i / 8] >> i % 8 & 1) << 4;
}

static void q5_0_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 32, src += 22, dst += 32) {
        float d = half_at(src);
        for (int i = 0; i < 32; i++)
            dst[i] = d * (float) (five_bits(src + 2, src + 6, i) - 16);
    }
}

static void q5_1_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 32, src += 24, dst += 32) {
        float d = half_at(src), m = half_at(src + 2);
        for (int i = 0; i < 32; i++)
            dst[i] = d * (float) five_bits(src + 4, src + 8, i) + m;
    }
}

static void q8_0_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 32, src += 34, dst += 32) {
        float d = half_at(src);
        for (int i = 0; i < 32; i++)
            dst[i] = d * (float) (int8_t) src[2 + i];
    }
}

/* Two bits of value i of 256; each byte holds four values that are 32 apart. */
static int two_bits(const uint8_t *q, int i)
{
    return q[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

static void q2_k_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 256, src += 84, dst += 256) {
        float d = half_at(src + 80), dmin = half_at(src + 82);
        for (int i = 0; i < 256; i++) {
            int scale = src[i / 16];
            dst[i] = d * (float) (scale & 15) * (float) two_bits(src + 16, i) - dmin * (float) (scale >> 4);
        }
    }
}

/* The 6-bit scale of 16 values, 0 .. 63. */
static int q3_k_scale(const uint8_t *scales, int g)
{
    int low = g < 8 ? scales[g] & 15 : scales[g - 8] >> 4;
    return low | (scales[8 + g % 4] >> g / 4 * 2 & 3) << 4;
}

static void q3_k_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 256, src += 110, dst += 256) {
        float d = half_at(src + 108);
        for (int i = 0; i < 256; i++) {
            int high = src[i % 32] >> i / 32 & 1;
            int q = two_bits(src + 32, i) - (high ? 0 : 4);
            dst[i] = d * (float) (q3_k_scale(src + 96, i / 16) - 32) * (float) q;
        }
    }
}

/* Scale and minimum of 32 values, 6 bits each, in the 12 bytes that Q4_K and Q5_K share. */
static void scale_min(const uint8_t *scales, int g, int *scale, int *min)
{
    if (g < 4) {
        *scale = scales[g] & 63;
        *min = scales[g + 4] & 63;
    } else {
        *scale = (scales[g + 4] & 15) | scales[g - 4] >> 6 << 4;
        *min = scales[g + 4] >> 4 | scales[g] >> 6 << 4;
    }
}

static void q4_k_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 256, src += 144, dst += 256) {
        float d = half_at(src), dmin = half_at(src + 2);
        for (int i = 0; i < 256; i++) {
            int scale, min, g = i / 32;
            scale_min(src + 4, g, &scale, &min);
            int q = src[16 + g / 2 * 32 + i % 32] >> g % 2 * 4 & 15;
            dst[i] = d * (float) scale * (float) q - dmin * (float) min;
        }
    }
}

static void q5_k_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 256, src += 176, dst += 256) {
        float d = half_at(src), dmin = half_at(src + 2);
        for (int i = 0; i < 256; i++) {
            int scale, min, g = i / 32;
            scale_min(src + 4, g, &scale, &min);
            int q = src[48 + g / 2 * 32 + i % 32] >> g % 2 * 4 & 15;
            q |= (src[16 + i % 32] >> g & 1) << 4;
            dst[i] = d * (float) scale * (float) q - dmin * (float) min;
        }
    }
}

static void q6_k_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 256, src += 210, dst += 256) {
        float d = half_at(src + 208);
        for (int i = 0; i < 256; i++) {
            int h = i / 128, s = i % 128 / 32, p = i % 32;
            int q = src[64 * h + p + s % 2 * 32] >> s / 2 * 4 & 15;
            q |= two_bits(src + 128, i) << 4;
            dst[i] = d * (float) (int8_t) src[192 + i / 16] * (float) (q - 32);
        }
    }
}

static const int8_t iq4_values[16] = {IQ4_VALUES};
static const int8_t mxfp4_values[16] = {MXFP4_VALUES};

static void iq4_nl_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 32, src += 18, dst += 32) {
        float d = half_at(src);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float) iq4_values[src[2 + j] & 15];
            dst[j + 16] = d * (float) iq4_values[src[2 + j] >> 4];
        }
    }
}

static void iq4_xs_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 256, src += 136, dst += 256) {
        float d = half_at(src);
        int high = src[2] | src[3] << 8;
        for (int g = 0; g < 8; g++) {
            int scale = (src[4 + g / 2] >> g % 2 * 4 & 15) | (high >> 2 * g & 3) << 4;
            float ds = d * (float) (scale - 32);
            const uint8_t *q = src + 8 + 16 * g;
            for (int j = 0; j < 16; j++) {
                dst[32 * g + j] = ds * (float) iq4_values[q[j] & 15];
                dst[32 * g + 16 + j] = ds * (float) iq4_values[q[j] >> 4];
            }
        }
    }
}

static void mxfp4_row(const uint8_t *src, int n, float *dst)
{
    for (; n > 0; n -= 32, src += 17, dst += 32) {
        float d = mxfp4_scale(src[0]);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float) mxfp4_values[src[1 + j] & 15];
            dst[j + 16] = d * (float) mxfp4_values[src[1 + j] >> 4];
        }
    }
}

static void (*const rows[TENSOR_TYPES])(const uint8_t *, int, float *) = {
    [TENSOR_F32] = f32_row,   [TENSOR_F16] = f16_row,       [TENSOR_BF16] = bf16_row,     [TENSOR_Q4_0] = q4_0_row,
    [TENSOR_Q4_1] = q4_1_row, [TENSOR_Q5_0] = q5_0_row,     [TENSOR_Q5_1] = q5_1_row,     [TENSOR_Q8_0] = q8_0_row,
    [TENSOR_Q2_K] = q2_k_row, [TENSOR_Q3_K] = q3_k_row,     [TENSOR_Q4_K] = q4_k_row,     [TENSOR_Q5_K] = q5_k_row,
    [TENSOR_Q6_K] = q6_k_row, [TENSOR_IQ4_NL] = iq4_nl_row, [TENSOR_IQ4_XS] = iq4_xs_row, [TENSOR_MXFP4] = mxfp4_row,
};

void dequantize_row(enum tensor_type type, const void *src, int n, float *dst)
{
    rows[type](src, n, dst);
}
