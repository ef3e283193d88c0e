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

/* What the scales of a chunk become: one or two per block, perhaps a minimum. */
struct scales {
    floats scale[16], min[8];
    ints mins[8]; /* Q2_K: two per block, as words */
    floats dmin;
};

/* Q4_K, Q5_K: six bits each; the last four scales and minimums are put together from two places. */
INLINE void scales_with_mins(const uint8_t *chunk, struct scales *s)
{
    ints head = load(chunk, 0), a = load(chunk, 1), b = load(chunk, 2), c = load(chunk, 3);
    floats d = low_half(head), dmin = high_half(head);
    const ints top = all_bytes(0x30);
    ints scale[2] = {bits(a, 0, 63), or_masked(bits(c, 0, 15), shift_right(a, 2), top)};
    ints min[2] = {bits(b, 0, 63), or_masked(bits(c, 4, 15), shift_right(b, 2), top)};
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        s->scale[g] = d * to_floats(byte_of(scale[g / 4], g % 4));
        s->min[g] = dmin * to_floats(byte_of(min[g / 4], g % 4));
    }
}

INLINE void scales_q2_k(const uint8_t *chunk, struct scales *s)
{
    floats d = low_half(load(chunk, 0));
    s->dmin = high_half(load(chunk, 0));
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        ints pair = shift_right(load(chunk, 1 + g / 2), g % 2 * 16);
        s->scale[2 * g] = d * to_floats(pair & dwords(15));
        s->scale[2 * g + 1] = d * to_floats(shift_right(pair, 8) & dwords(15));
        s->mins[g] = (shift_right(pair, 4) & dwords(15)) | (shift_left(pair, 4) & dwords(0x000f0000));
    }
}

INLINE void scales_q3_k(const uint8_t *chunk, struct scales *s)
{
    floats d = low_half(load(chunk, 0));
    ints high = load(chunk, 3);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        ints top = i < 2 ? shift_left(high, 4 - 2 * i) : shift_right(high, 2 * i - 4);
        ints scale = or_masked(bits(load(chunk, 1 + i % 2), i / 2 * 4, 15), top, all_bytes(0x30));
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            s->scale[4 * i + j] = d * to_floats(byte_of(scale, j) - dwords(32));
    }
}

INLINE void scales_q6_k(const uint8_t *chunk, struct scales *s)
{
    floats d = low_half(load(chunk, 0));
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        s->scale[i] = d * to_floats(shift_left(load(chunk, 1 + i / 4), 24 - i % 4 * 8) >> 24);
}

INLINE void scales_iq4_xs(const uint8_t *chunk, struct scales *s)
{
    ints head = load(chunk, 0), low = load(chunk, 1);
    floats d = low_half(head);
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        ints scale = or_masked(shift_right(low, 4 * g) & dwords(15), shift_right(head, 12 + 2 * g), dwords(0x30));
        s->scale[g] = d * to_floats(scale - dwords(32));
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
        s->min[0] = high_half(load(chunk, 0));
        break;
    case TENSOR_Q2_K: scales_q2_k(chunk, s); break;
    case TENSOR_Q3_K: scales_q3_k(chunk, s); break;
    case TENSOR_Q4_K:
    case TENSOR_Q5_K: scales_with_mins(chunk, s); break;
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
