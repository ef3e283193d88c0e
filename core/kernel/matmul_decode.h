/*
 * matmul_decode.h - scales and codes of a panel's blocks, in registers
 *
 * A part of matmul_tile.h, which includes it once it has defined its vectors and what they can do.
 *
 * SPDX-License-Identifier: PostgreSQL
 */

/* ------------------------------------------------------------------ */
/* Scales                                                              */
/* ------------------------------------------------------------------ */

/* What the scales of a chunk become. */
struct scales {
    floats scale[4], min;    /* formats with blocks of 32 */
    ints code[16];           /* superblocks: one or two per block, as add_scaled() wants them */
    ints pair[8];            /* words that meet those of the sums: minimums, or scales times the zero point */
    floats d, dmin;
};

/* What add_scaled() wants of scale i of a line's four, and of unsigned ones. */
INLINE ints signed_code(ints line, int i);
INLINE ints unsigned_code(ints line, int i);

/* Bytes i and j of every dword, as words. */
INLINE ints byte_pair(ints line, int i, int j)
{
    return pick_bytes(line, i, -1, j, -1);
}

/* Likewise with their signs, times the zero point, a power of two. As the upper bytes of words they are times 256. */
INLINE ints zero_pair(const enum tensor_type type, ints line, int i, int j)
{
    return words_right(pick_bytes(line, -1, i, -1, j), __builtin_ctz(256 / (unsigned) zero_point(type)));
}

/* Q4_K, Q5_K: six bits each; the last four scales and minimums are put together from two places. */
INLINE void scales_with_mins(const enum tensor_type type, const uint8_t *chunk, struct scales *s)
{
    ints head = load(chunk, 0), a = load(chunk, 1), b = load(chunk, 2), c = load(chunk, 3);
    const ints top = all_bytes(0x30);
    ints scales[2] = {bits(a, 0, 63), or_masked(bits(c, 0, 15), shift_right(a, 2), top)};
    ints mins[2] = {bits(b, 0, 63), or_masked(bits(c, 4, 15), shift_right(b, 2), top)};
    s->d = low_half(head);
    s->dmin = high_half(head);
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++)
        s->code[g] = unsigned_code(scales[g / 4], g % 4);
#pragma GCC unroll 4
    for (int p = 0; p < 4; p++)
        s->pair[p] = byte_pair(mins[p / 2], p % 2 * 2, p % 2 * 2 + 1);
}

INLINE void scales_q2_k(const uint8_t *chunk, struct scales *s)
{
    s->d = low_half(load(chunk, 0));
    s->dmin = high_half(load(chunk, 0));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        ints line = load(chunk, 1 + i), scales = bits(line, 0, 15), mins = bits(line, 4, 15);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            s->code[4 * i + j] = unsigned_code(scales, j);
        s->pair[2 * i] = byte_pair(mins, 0, 1);
        s->pair[2 * i + 1] = byte_pair(mins, 2, 3);
    }
}

/* Q3_K, Q6_K: the scales of two blocks. */
INLINE void two_signed_scales(const enum tensor_type type, int i, ints line, struct scales *s)
{
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
        s->code[4 * i + j] = signed_code(line, j);
    s->pair[2 * i] = zero_pair(type, line, 0, 1);
    s->pair[2 * i + 1] = zero_pair(type, line, 2, 3);
}

INLINE void scales_q3_k(const uint8_t *chunk, struct scales *s)
{
    ints high = load(chunk, 3);
    s->d = low_half(load(chunk, 0));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        ints top = i < 2 ? shift_left(high, 4 - 2 * i) : shift_right(high, 2 * i - 4);
        ints scale = or_masked(bits(load(chunk, 1 + i % 2), i / 2 * 4, 15), top, all_bytes(0x30));
        two_signed_scales(TENSOR_Q3_K, i, subtract_bytes(scale, 32), s);
    }
}

INLINE void scales_q6_k(const uint8_t *chunk, struct scales *s)
{
    s->d = low_half(load(chunk, 0));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        two_signed_scales(TENSOR_Q6_K, i, load(chunk, 1 + i), s);
}

INLINE void scales_iq4_xs(const uint8_t *chunk, struct scales *s)
{
    ints head = load(chunk, 0), low = load(chunk, 1);
    s->d = low_half(head);
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        ints scale = or_masked(shift_right(low, 4 * g) & dwords(15), shift_right(head, 12 + 2 * g), dwords(0x30));
        s->code[g] = signed_code(scale - dwords(32), 0);
    }
}

/* mxfp4_scale() of byte g. */
INLINE floats scale_mxfp4(ints line, int g)
{
    ints e = byte_of(line, g);
    ints subnormal = shift_left(dwords(1) + e, 21), small = e < dwords(2);
    return (floats) ((small & subnormal) | (~small & shift_left(e - dwords(1), 23)));
}

INLINE void load_scales(const enum tensor_type type, const uint8_t *chunk, struct scales *s)
{
    switch (type) {
    case TENSOR_Q4_1:
    case TENSOR_Q5_1:
        s->scale[0] = low_half(load(chunk, 0));
        s->min = high_half(load(chunk, 0));
        break;
    case TENSOR_Q2_K: scales_q2_k(chunk, s); break;
    case TENSOR_Q3_K: scales_q3_k(chunk, s); break;
    case TENSOR_Q4_K:
    case TENSOR_Q5_K: scales_with_mins(type, chunk, s); break;
    case TENSOR_Q6_K: scales_q6_k(chunk, s); break;
    case TENSOR_IQ4_XS: scales_iq4_xs(chunk, s); break;
    case TENSOR_MXFP4:
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++)
            s->scale[g] = scale_mxfp4(load(chunk, 0), g);
        break;
    default:
        s->scale[0] = low_half(load(chunk, 0));
        s->scale[1] = high_half(load(chunk, 0));
        break;
    }
}

/* ------------------------------------------------------------------ */
/* Codes                                                               */
/* ------------------------------------------------------------------ */

/* w[i] holds values 4i to 4i + 3 of a block, as unsigned bytes. Here from nibbles of four lines. */
INLINE void nibbles(const uint8_t *chunk, int line, ints w[8])
{
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        w[i] = bits(load(chunk, line + i), 0, 15);
        w[4 + i] = bits(load(chunk, line + i), 4, 15);
    }
}

/* From one field of eight lines. */
INLINE void fields(const uint8_t *chunk, int line, int from, int mask, ints w[8])
{
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        w[i] = bits(load(chunk, line + i), from, mask);
}

/* Q5_0, Q5_1: the fifth bits as spread_dword() left them. */
INLINE void add_spread(ints high, ints w[8])
{
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        const int from = (i & 1) << 2 | i >> 1;
        ints bit = from < 4 ? shift_left(high, 4 - from) : shift_right(high, from - 4);
        w[i] = or_masked(w[i], bit, all_bytes(0x10));
    }
}

/* Adds bit `from` of eight lines as bit `to`. */
INLINE void add_bit(const uint8_t *chunk, int line, int from, const int to, ints w[8])
{
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        w[i] = or_masked(w[i], move_bit(load(chunk, line + i), from, to), all_bytes(1 << to));
}

/* Q6_K: bits 4 and 5 from pair s of eight lines. */
INLINE void add_two_bits(const uint8_t *chunk, int line, const int s, ints w[8])
{
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        ints high = load(chunk, line + i);
        high = s < 2 ? shift_left(high, 4 - 2 * s) : shift_right(high, 2 * s - 4);
        w[i] = or_masked(w[i], high, all_bytes(0x30));
    }
}

/* Block first + i of a chunk. i is a constant, first a multiple of how many blocks of the format are unrolled. */
INLINE void load_codes(const enum tensor_type type, const uint8_t *chunk, int first, const int i, ints w[8])
{
    static const int8_t iq4[16] = {IQ4_VALUES}, mxfp4[16] = {MXFP4_VALUES};
    int g = first + i;
    switch (type) {
    case TENSOR_Q4_0: nibbles(chunk, 1 + 4 * g, w); break;
    case TENSOR_Q4_1: nibbles(chunk, 1, w); break;
    case TENSOR_Q5_0:
        nibbles(chunk, 3 + 4 * g, w);
        add_spread(load(chunk, 1 + g), w);
        break;
    case TENSOR_Q5_1:
        nibbles(chunk, 2, w);
        add_spread(load(chunk, 1), w);
        break;
    case TENSOR_Q8_0: fields(chunk, 1 + 8 * g, 0, 255, w); break;
    case TENSOR_Q2_K: fields(chunk, 5 + 2 * first, 2 * i, 3, w); break;
    case TENSOR_Q3_K:
        fields(chunk, 12 + 2 * first, 2 * i, 3, w);
        add_bit(chunk, 4, g, 2, w);
        break;
    case TENSOR_Q4_K: fields(chunk, 4 + 4 * first, 4 * i, 15, w); break;
    case TENSOR_Q5_K:
        fields(chunk, 12 + 4 * first, 4 * i, 15, w);
        add_bit(chunk, 4, g, 4, w);
        break;
    case TENSOR_Q6_K:
        fields(chunk, 5 + 6 * first + i % 2 * 16, i / 2 * 4, 15, w);
        add_two_bits(chunk, 13 + 6 * first, i, w);
        break;
    case TENSOR_IQ4_NL:
    case TENSOR_IQ4_XS:
        nibbles(chunk, type == TENSOR_IQ4_XS ? 2 + 4 * g : 1 + 4 * g, w);
        look_up(iq4, zero_point(type), w);
        break;
    case TENSOR_MXFP4:
        nibbles(chunk, 1 + 4 * g, w);
        look_up(mxfp4, zero_point(type), w);
        break;
    default: break;
    }
}
