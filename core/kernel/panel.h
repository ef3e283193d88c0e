/*
 * panel.h - how a panel lies in memory
 *
 * A panel is made of lines of 64 bytes, and a line is one dword of each of its
 * 16 rows. So a vector register takes a line, and everything a product does to it
 * happens to 16 rows at once; and packing is a transposition of dwords that leaves
 * the bits of the file as they are. Lines come in chunks: the file's block, or two
 * or four of them where their sizes are no multiple of a dword.
 *
 *   type    values lines  what the lines of a chunk hold
 *
 *   F32          4     4  a value each
 *   F16 BF16     8     4  two values each
 *   Q4_0        64     9  d of both blocks, codes of block 0 (4 lines) and 1 (4)
 *   Q4_1        32     5  d and m, codes
 *   Q5_0        64    11  d of both blocks, high bits of block 0 and 1, codes of 0 (4) and 1 (4)
 *   Q5_1        32     6  d and m, high bits, codes
 *   Q8_0        64    17  d of both blocks, codes of block 0 (8) and 1 (8)
 *   Q2_K       256    21  d and dmin, scales (4), codes (16)
 *   Q3_K       256    28  d, scales (3), high bits (8), low bits (16)
 *   Q4_K       256    36  as in the file: d and dmin, scales (3), codes (32)
 *   Q5_K       256    44  as in the file: d and dmin, scales (3), high bits (8), low bits (32)
 *   Q6_K       256    53  d, scales (4), for each half low bits (8), high bits (8), low bits (8)
 *   IQ4_NL      64     9  as Q4_0
 *   IQ4_XS     256    34  as in the file: d and high scales, low scales, codes (32)
 *   MXFP4      128    17  the four scale bytes, codes of blocks 0 to 3 (4 each)
 *
 * Lines lie in the order in which a product reads them: the processor fetches a
 * plain stream ahead by itself, which for Q6_K in file order it does not.
 * The last chunk of a row is filled up with zeros. Two things differ from the file:
 *
 *   Q8_0 codes have 128 added, since the dot product of AVX-512 wants unsigned
 *   ones on the weights' side.
 *
 *   High bits of Q5_0 and Q5_1 are moved so that the one of value 4i + t lies in byte
 *   t of its dword: bit spread_bit(i) there. The products need one shift then.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef KERNEL_PANEL_H
#define KERNEL_PANEL_H

#include "base/float16.h"
#include "kernel/kernel.h"

#include <float.h>

enum { PANEL_LINE = 64 };

/* Formats that meet quantised activations: X(level, name, type, blocks of 32 values in a chunk, lines in a chunk). */
#define PANEL_Q8_TYPES(X, level)           \
    X(level, q4_0, TENSOR_Q4_0, 2, 9)      \
    X(level, q4_1, TENSOR_Q4_1, 1, 5)      \
    X(level, q5_0, TENSOR_Q5_0, 2, 11)     \
    X(level, q5_1, TENSOR_Q5_1, 1, 6)      \
    X(level, q8_0, TENSOR_Q8_0, 2, 17)     \
    X(level, q2_k, TENSOR_Q2_K, 8, 21)     \
    X(level, q3_k, TENSOR_Q3_K, 8, 28)     \
    X(level, q4_k, TENSOR_Q4_K, 8, 36)     \
    X(level, q5_k, TENSOR_Q5_K, 8, 44)     \
    X(level, q6_k, TENSOR_Q6_K, 8, 53)     \
    X(level, iq4_nl, TENSOR_IQ4_NL, 2, 9)  \
    X(level, iq4_xs, TENSOR_IQ4_XS, 8, 34) \
    X(level, mxfp4, TENSOR_MXFP4, 4, 17)

/* Formats that meet floats: X(level, name, type). */
#define PANEL_FLOAT_TYPES(X, level) \
    X(level, f32, TENSOR_F32)       \
    X(level, f16, TENSOR_F16)       \
    X(level, bf16, TENSOR_BF16)

/* A run of dwords at byte `from` of a row's chunk becomes lines from `line` on. */
struct panel_run {
    uint8_t from, dwords, line;
};

/* Pieces smaller than a dword share line 0. */
enum panel_small { NOTHING_SMALL, ONE_HALF, TWO_HALVES, FOUR_BYTES };

struct panel_layout {
    int values;             /* of a row in a chunk */
    int size;               /* bytes of a row in a chunk, in the file */
    int lines;
    int n_runs;
    struct panel_run runs[7];
    enum panel_small small;
    int from, step;         /* where the small pieces are */
    uint32_t flip;          /* exclusive-or of every dword of a run */
    int n_spread;           /* lines of high bits to move, from line 1 on */
};

/* NULL for a type that is not known. */
const struct panel_layout *panel_layout(enum tensor_type type);

/* Bit i2 i1 i0 of a quad goes to i0 i2 i1: what two swaps of bits give. */
static inline int spread_bit(int i)
{
    return (i & 1) << 2 | i >> 1;
}

/*
 * Bits 4i + t of every dword to bit spread_bit(i) of byte t. Written as index
 * digits, position (i2 i1 i0 t1 t0) becomes (t1 t0 i0 i2 i1).
 */
static inline uint32_t spread_dword(uint32_t x)
{
    uint32_t swap = (x >> 14 ^ x) & 0x0000cccc;
    x ^= swap ^ swap << 14;
    swap = (x >> 7 ^ x) & 0x00aa00aa;
    return x ^ swap ^ swap << 7;
}

/* The values that the 4-bit codes of IQ4_NL and IQ4_XS stand for, and twice those of MXFP4. */
#define IQ4_VALUES -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
#define MXFP4_VALUES 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12

/* A record that is being written. */
struct act_q8 {
    int8_t *q;
    float *d, *dsum;
    int16_t *sum, *block_sum;
};

static inline struct act_q8 act_q8_at(void *row, int n)
{
    size_t size = (size_t) n;
    return (struct act_q8){row, (float *) act_q8_d(row, size), (float *) act_q8_dsum(row, size),
                           (int16_t *) act_q8_sum(row, size), (int16_t *) act_q8_block_sum(row, size)};
}

/* d of a block or group from the largest bits of its values without their sign. Not positive: all of its q are 0. */
static inline float act_q8_scale(uint32_t max)
{
    if (max >= 0x7f800000)
        return f32_from_bits(0x7fc00000);
    float d = f32_from_bits(max) / 127.0f;
    return d < FLT_MIN ? 0 : d;
}

/* Half the scale that the exponent byte of an MXFP4 block stands for: 2^(e - 128), the first two of them subnormal. */
static inline float mxfp4_scale(uint8_t e)
{
    return f32_from_bits(e < 2 ? 0x00200000u << e : (uint32_t) (e - 1) << 23);
}

/* panel_pack with the functions of one level; all of them write the same bytes. */
void panel_pack_with(const struct kernels *k, enum tensor_type type, const uint8_t *src, size_t row_size, int n_rows,
                     int n_in, void *dst);

/* Line 0's dword of one row, where it is made of small pieces: chunk is that row's. */
static inline uint32_t panel_small_dword(const struct panel_layout *layout, const uint8_t *chunk)
{
    const uint8_t *p = chunk + layout->from;
    int step = layout->step;
    switch (layout->small) {
    case ONE_HALF: return (uint32_t) (p[0] | p[1] << 8);
    case TWO_HALVES: return (uint32_t) (p[0] | p[1] << 8) | (uint32_t) (p[step] | p[step + 1] << 8) << 16;
    case FOUR_BYTES: return p[0] | (uint32_t) (p[step] << 8 | p[2 * step] << 16) | (uint32_t) p[3 * step] << 24;
    case NOTHING_SMALL: break;
    }
    return 0;
}

/* Heads of the products; what they do is said at panel_product in kernel.h. */
#define PRODUCT_HEAD(level, name) void matmul_##name##_##level(const struct panel_product *a)
#define PRODUCT_DECLARE_Q8(level, name, type, blocks, lines) PRODUCT_HEAD(level, name);
#define PRODUCT_DECLARE_FLOAT(level, name, type) PRODUCT_HEAD(level, name);

/* interleave_LEVEL: n_chunks of 16 rows, all of which exist. */
#define PANEL_DECLARE(level)                                                                                      \
    void interleave_##level(const struct panel_layout *layout, const uint8_t *src, size_t row_size, int n_chunks, \
                            uint8_t *panel);                                                                      \
    void quantize_blocks_##level(const float *x, int n, void *row);                                               \
    void quantize_groups_##level(const float *x, int n, void *row);                                               \
    PANEL_Q8_TYPES(PRODUCT_DECLARE_Q8, level)                                                                     \
    PANEL_FLOAT_TYPES(PRODUCT_DECLARE_FLOAT, level)

PANEL_DECLARE(scalar)
PANEL_DECLARE(avx2)
PANEL_DECLARE(avx512)
PANEL_Q8_TYPES(PRODUCT_DECLARE_Q8, avxvnni)

#endif
