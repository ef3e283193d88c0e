/*
 * matmul_tile.h - products with panels on vectors of any width
 *
 * A register holds a line, or half of one: four codes of each of 16 (or 8) rows,
 * multiplied with four activations that are the same for all rows. A block of 32
 * values is decoded once for a tile of columns. Everything is inlined into one
 * function per format and tile width, where `type` and what is called const are
 * constants, so that nothing is left of the branches. The sums: matmul_scalar.c.
 *
 * Included once by each matmul_LEVEL.c, which says before
 *
 *   VECTOR          bytes of a register
 *
 * and defines behind it what depends on the instruction set:
 *
 *   low_half()      the lower 16 bits of every dword, from half to float
 *   fmadd()         a * b + c in one rounding; fnmadd() is c - a * b
 *   or_masked()     a, and those bits of b that mask has
 *   move_bit()      bit `from` of every byte to bit `to`, both variable; the other bits are junk
 *   pick_bytes()    four bytes of every dword
 *   look_up()       every byte below 16 replaced by that entry of a table
 *   together()      how many of a line's registers are taken at once
 *   add_block()     one block of all columns, by way of add_product()
 *   signed_code()   the integer scale of a block, as add_scaled() wants it; unsigned_code()
 *   add_scaled()    one block of a superblock times its scale
 *   group_sum()     a group's sum as that leaves it, as a float
 *   is_written_out()  whether a superblock's groups are written out one after the other
 *   widest_tile()   columns that a tile has at most
 *   add_pairs()     to integers the two words of every dword times two words of a column
 *   store()         the first rows of a result
 *   load_sums()     and back again
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/panel.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

typedef int32_t ints __attribute__((vector_size(VECTOR)));
typedef uint32_t unsigneds __attribute__((vector_size(VECTOR)));
typedef float floats __attribute__((vector_size(VECTOR)));

/* Registers of a line, and columns of the widest tile. */
enum { PARTS = PANEL_LINE / VECTOR, WIDEST = 16 };

/*
 * Bytes from the line that is read to those that are fetched. AHEAD goes into the second level: at 8 KiB four columns of
 * Q8_0 are a tenth slower. One column waits for that level, too, so NEAR goes on into the first: up to a fifth faster.
 * STRAIGHT goes into the first level alone (cpu_fetch): less is slower where each core has a way to memory of its own,
 * more is where they share one. The first and the last are rounded to chunks, so that nothing is left out where panels
 * do not follow one another.
 */
enum { AHEAD = 16 << 10, NEAR = 2 << 10, STRAIGHT = 6 << 10 };

INLINE floats low_half(ints v);
INLINE floats fmadd(floats a, floats b, floats c);
INLINE floats fnmadd(floats a, floats b, floats c);
INLINE ints or_masked(ints a, ints b, ints mask);
INLINE ints move_bit(ints v, int from, int to);
INLINE void look_up(const int8_t table[16], int zero, ints w[8]);
INLINE ints add_pairs(ints to, ints pairs, const uint8_t *sum);
INLINE void store(float *y, int n_rows, const floats sum[PARTS]);
INLINE void load_sums(const float *y, int n_rows, floats sum[PARTS]);

/* Where a block has a scale for each half, and where it has a minimum. */
INLINE bool has_two_scales(const enum tensor_type type)
{
    return type == TENSOR_Q2_K || type == TENSOR_Q3_K || type == TENSOR_Q6_K;
}

INLINE bool has_min(const enum tensor_type type)
{
    return type == TENSOR_Q4_1 || type == TENSOR_Q5_1 || type == TENSOR_Q2_K || type == TENSOR_Q4_K ||
           type == TENSOR_Q5_K;
}

/* What was added to the codes to make them unsigned. */
INLINE int zero_point(const enum tensor_type type)
{
    switch (type) {
    case TENSOR_Q3_K: return 4;
    case TENSOR_Q4_0: return 8;
    case TENSOR_MXFP4: return 12;
    case TENSOR_Q5_0: return 16;
    case TENSOR_Q6_K: return 32;
    case TENSOR_Q8_0:
    case TENSOR_IQ4_NL:
    case TENSOR_IQ4_XS: return 128;
    default: return 0;
    }
}

INLINE ints load(const uint8_t *chunk, int line)
{
    return *(const ints *) (chunk + line * PANEL_LINE);
}

INLINE ints dwords(int32_t value)
{
    return value - (ints){0};
}

INLINE ints all_bytes(int value)
{
    return dwords((int32_t) (0x01010101u * (unsigned) value));
}

INLINE ints broadcast(const uint8_t *p)
{
    int32_t value;
    memcpy(&value, p, sizeof value);
    return dwords(value);
}

INLINE floats broadcast_float(const void *p)
{
    float value;
    memcpy(&value, p, sizeof value);
    return value - (floats){0};
}

INLINE floats to_floats(ints v)
{
    return __builtin_convertvector(v, floats);
}

INLINE ints shift_right(ints v, int by)
{
    return (ints) ((unsigneds) v >> by);
}

INLINE ints shift_left(ints v, int by)
{
    return (ints) ((unsigneds) v << by);
}

INLINE floats high_half(ints v)
{
    return low_half(shift_right(v, 16));
}

/* Bits of every byte: those of mask, counted from bit `from`. */
INLINE ints bits(ints v, int from, int mask)
{
    return shift_right(v, from) & all_bytes(mask);
}

typedef int8_t bytes8 __attribute__((vector_size(VECTOR)));
typedef int16_t words16 __attribute__((vector_size(VECTOR)));

/* Four bytes of every dword, by number; -1 is a zero. */
INLINE ints pick_bytes(ints v, int a, int b, int c, int d);

/* What shuffles four dwords so. */
INLINE __m128i byte_picks(int a, int b, int c, int d)
{
    const int pick = (a & 255) | (b & 255) << 8 | (c & 255) << 16 | (int) ((unsigned) d << 24);
    const int step = (a >= 0 ? 4 : 0) | (b >= 0 ? 4 : 0) << 8 | (c >= 0 ? 4 : 0) << 16 | (d >= 0 ? 4 : 0) << 24;
    return _mm_setr_epi32(pick, pick + step, pick + 2 * step, pick + 3 * step);
}

INLINE ints words_right(ints v, int by)
{
    return (ints) ((words16) v >> by);
}

INLINE ints subtract_bytes(ints v, int value)
{
    return (ints) ((bytes8) v - (bytes8) all_bytes(value));
}

/* Byte i of every dword, with its sign. */
INLINE ints signed_byte(ints v, int i)
{
    return shift_left(v, 24 - 8 * i) >> 24;
}

INLINE ints byte_of(ints v, int i)
{
    return shift_right(v, 8 * i) & dwords(255);
}

#include "kernel/matmul_decode.h"

/* ------------------------------------------------------------------ */
/* Tiles                                                               */
/* ------------------------------------------------------------------ */

/* Where the parts of a block lie in a column's record; sums are those that meet the block's minimum, kernel.h. */
struct place {
    size_t q, d, sum, block_sum;
};

/* Adds the block of weights and activations whose product, of codes and scales, is t. */
INLINE floats add_product(const enum tensor_type type, floats t, const struct scales *s, const uint8_t *x,
                          const struct place *at, floats y)
{
    y = fmadd(t, broadcast_float(x + at->d), y);
    return has_min(type) ? fmadd(s->min, broadcast_float(x + at->block_sum), y) : y;
}

INLINE int together(enum tensor_type type);

/* Block first + i of a chunk times that of n columns, for as many registers of rows as go together. */
INLINE void add_block(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                      const struct scales s[PARTS], const uint8_t *const column[], const struct place *at,
                      floats y[PARTS][WIDEST]);

/* What is fetched while blocks are multiplied. */
struct fetching {
    enum cpu_fetch how;
    const uint8_t *ahead, *near;
};

/*
 * Every line has to be fetched ahead or none: the processor's own fetching stops where ours begins, and one line in
 * 50 that is missed halves the speed. Hence n_lines is rounded up.
 */
INLINE void fetch_lines(const int n, const int n_lines, struct fetching *f)
{
    for (int i = 0; f->how == CPU_FETCH_L1 && i < n_lines; i++, f->ahead += PANEL_LINE)
        _mm_prefetch(f->ahead, _MM_HINT_T0);
    for (int i = 0; f->how == CPU_FETCH_L2 && i < n_lines; i++, f->ahead += PANEL_LINE)
        _mm_prefetch(f->ahead, _MM_HINT_T1);
    for (int i = 0; n == 1 && f->how == CPU_FETCH_L2 && i < n_lines; i++, f->near += PANEL_LINE)
        _mm_prefetch(f->near, _MM_HINT_T0);
}

/* n_blocks of a chunk, likewise. */
INLINE void add_chunk(const enum tensor_type type, const int blocks, const int lines, const int n, const uint8_t *chunk,
                      int n_blocks, struct fetching fetch, const uint8_t *const column[], struct place at,
                      floats y[PARTS][WIDEST])
{
    const int unrolled = blocks > 2 ? 2 : blocks;
    struct scales s[PARTS];
#pragma GCC unroll 2
    for (int p = 0; p < together(type); p++)
        load_scales(type, chunk + p * VECTOR, &s[p]);
    for (int first = 0; first < n_blocks; first += unrolled) {
        fetch_lines(n, (lines * unrolled + blocks - 1) / blocks, &fetch);
#pragma GCC unroll 4
        for (int i = 0; i < unrolled; i++) {
            if (i > 0 && first + i == n_blocks)
                break;
            add_block(type, n, chunk, first, i, s, column, &at, y);
            at = (struct place){at.q + 32, at.d + 4, at.sum + 4, at.block_sum + 4};
        }
    }
}

#include "kernel/matmul_superblock.h"

/* So many bytes on from p, where after left bytes next follows. */
INLINE const uint8_t *further(const uint8_t *p, size_t bytes, size_t left, const uint8_t *next)
{
    return bytes < left ? p + bytes : next + (bytes - left);
}

/* What lies `bytes` ahead while a panel is read: the rest of it, and then `next`. */
struct view {
    const uint8_t *next;
    size_t bytes;
};

/* Short panels that do not follow one another are looked over: as many panels on as fit the distance. */
INLINE struct view look_ahead(const struct panel_product *a, int panel, size_t size, size_t distance)
{
    int known = a->n_panels + a->n_behind, on = panel + 1;
    const uint8_t *next = on < known ? a->panels[on] : a->next;
    if (next == (const uint8_t *) a->panels[panel] + size || size > distance)
        return (struct view){next, distance};
    on = panel + (int) ((unsigned) distance / (unsigned) size);
    next = on < known ? a->panels[on] : (const uint8_t *) a->next + (size_t) (on - known) * a->stride;
    return (struct view){next, size};
}

INLINE size_t in_chunks(size_t bytes, const size_t chunk)
{
    return (bytes + chunk / 2) / chunk * chunk;
}

/* Fetches a line that will be written. Processors without the instruction do nothing. */
INLINE void prefetch_for_write(const float *p)
{
    __asm__ volatile("prefetchw %0" : : "m"(*p));
}

/*
 * What the sums of n columns from `first` on begin with. The lines that they will be written to are fetched: else each
 * of the stores waits for its own, one after the other, which is a tenth of a tile of 16 columns.
 */
INLINE void start_sums(const int n, const struct panel_product *a, int first, floats sum[PARTS][WIDEST])
{
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        floats rows[PARTS] = {{0}};
        if (a->add)
            load_sums(a->y[first + c], a->n_rows, rows);
        else
            prefetch_for_write(a->y[first + c]);
        for (int p = 0; p < PARTS; p++)
            sum[p][c] = rows[p];
    }
}

INLINE void store_sums(const int n, const struct panel_product *a, int first, floats sum[PARTS][WIDEST])
{
#pragma GCC unroll 16
    for (int c = 0; c < n; c++) {
        floats rows[PARTS];
        for (int p = 0; p < PARTS; p++)
            rows[p] = sum[p][c];
        store(a->y[first + c], a->n_rows, rows);
    }
}

INLINE void tile_q8(const enum tensor_type type, const int blocks, const int lines, const int n,
                    const struct panel_product *a, int first)
{
    const uint8_t *column[WIDEST];
    floats sum[PARTS][WIDEST];
    int n_in = a->n_in;
    size_t size = (size_t) n_in, d = size, sums = d + size / 8, block_sums = sums + size / 8;
    start_sums(n, a, first, sum);
    const size_t chunk_bytes = (size_t) lines * PANEL_LINE;
    size_t bytes = (size_t) ((n_in / 32 + blocks - 1) / blocks) * chunk_bytes;
    for (int panel = 0; panel < a->n_panels; panel++) {
        const uint8_t *chunk = a->panels[panel], *end = chunk + bytes;
        size_t distance = in_chunks(a->fetch == CPU_FETCH_L1 ? STRAIGHT : AHEAD, chunk_bytes);
        const struct view ahead = look_ahead(a, panel, bytes, distance);
        const struct view close = n == 1 && a->fetch == CPU_FETCH_L2 ? look_ahead(a, panel, bytes, NEAR) : ahead;
        const void *const *x = a->x + panel * a->x_stride + first;
#pragma GCC unroll 16
        for (int c = 0; c < n; c++)
            column[c] = x[c];
        for (int b = 0; b < n_in / 32; b += blocks, chunk += chunk_bytes) {
            int left = n_in / 32 - b, n_blocks = blocks < 8 && left < blocks ? left : blocks;
            size_t i = (size_t) b, left_here = (size_t) (end - chunk);
            const uint8_t *far = further(chunk, ahead.bytes, left_here, ahead.next);
            const uint8_t *near = further(chunk, close.bytes, left_here, close.next);
            struct place at = {32 * i, d + 4 * i, sums + 4 * i, block_sums + 4 * i};
            struct place group = {32 * i, d + i, sums + 4 * i, block_sums + 2 * i};
#pragma GCC unroll 2
            for (int p = 0; p < PARTS; p += together(type)) {
                struct fetching fetch = {p == 0 ? a->fetch : CPU_FETCH_NOTHING, far, near};
                if (weight_act_form(type) == ACT_GROUPS)
                    add_superblock(type, lines, n, chunk + p * VECTOR, fetch, column, group, sum + p);
                else
                    add_chunk(type, blocks, lines, n, chunk + p * VECTOR, n_blocks, fetch, column, at, sum + p);
            }
        }
    }
    store_sums(n, a, first, sum);
}

/* y += w * x[i] for every column */
INLINE void add_value(const int n, floats w, const void *const x[], int i, floats y[])
{
#pragma GCC unroll 16
    for (int c = 0; c < n; c++)
        y[c] = fmadd(w, broadcast_float((const float *) x[c] + i), y[c]);
}

/* A line that holds two values of each row. */
INLINE void add_pair(const enum tensor_type type, const int n, ints pair, const void *const x[], int i, bool second,
                     floats y[])
{
    const bool half = type == TENSOR_F16;
    add_value(n, half ? low_half(pair) : (floats) shift_left(pair, 16), x, i, y);
    if (second)
        add_value(n, half ? high_half(pair) : (floats) (pair & dwords((int32_t) 0xffff0000)), x, i + 1, y);
}

INLINE void tile_float(const enum tensor_type type, const int n, const struct panel_product *a, int first)
{
    const int step = type == TENSOR_F32 ? 1 : 2;
    floats sum[PARTS][WIDEST];
    start_sums(n, a, first, sum);
    for (int i = 0; i < a->n_panels; i++) {
        const uint8_t *panel = a->panels[i];
        const void *const *x = a->x + i * a->x_stride + first;
        for (int j = 0; j < a->n_in; j += step, panel += PANEL_LINE) {
#pragma GCC unroll 2
            for (int p = 0; p < PARTS; p++) {
                ints line = load(panel + p * VECTOR, 0);
                if (type == TENSOR_F32)
                    add_value(n, (floats) line, x, j, sum[p]);
                else
                    add_pair(type, n, line, x, j, j + 1 < a->n_in, sum[p]);
            }
        }
    }
    store_sums(n, a, first, sum);
}

typedef void (*tile_function)(const struct panel_product *a, int first);

/*
 * Tiles are 1, 2, 3, 4, 6, 8, 12 or 16 columns wide. What is left over is split evenly: 9 = 6 + 3, 7 = 4 + 3. A tile costs as
 * much as one or two columns more, for its codes. With 32 registers, 16 sums and a block's codes fit them; with 16, sums lie in
 * the first level of the cache.
 */
static int tile_width(int left)
{
    static const uint8_t widths[] = {0, 1, 2, 3, 4, 3, 6, 4, 8, 6, 6, 8, 12, 8, 8, 12, 16, 12, 12};
    return left <= 18 ? widths[left] : WIDEST;
}

static void all_tiles(const tile_function tiles[], int widest, const struct panel_product *a)
{
    for (int c = 0, n; c < a->n_cols; c += n) {
        n = tile_width(a->n_cols - c);
        n = n < widest ? n : widest;
        tiles[n](a, c);
    }
}

#define TILE(name, n, call)                                                     \
    static void tile_##name##_##n(const struct panel_product *a, int first)     \
    {                                                                           \
        call;                                                                   \
    }
#define TILE_Q8(n, name, type, blocks, lines) TILE(name, n, tile_q8(type, blocks, lines, n, a, first))
#define TILE_FLOAT(n, name, type) TILE(name, n, tile_float(type, n, a, first))

#define TILES(X, ...)                                                                                               \
    X(1, __VA_ARGS__) X(2, __VA_ARGS__) X(3, __VA_ARGS__) X(4, __VA_ARGS__) X(6, __VA_ARGS__) X(8, __VA_ARGS__)     \
    X(12, __VA_ARGS__) X(16, __VA_ARGS__)
#define ENTRY(name, n) [n] = tile_##name##_##n
#define ENTRIES(name)                                                                                               \
    ENTRY(name, 1), ENTRY(name, 2), ENTRY(name, 3), ENTRY(name, 4), ENTRY(name, 6), ENTRY(name, 8), ENTRY(name, 12), \
    ENTRY(name, 16)

#define PRODUCT(level, name, type)                                              \
    PRODUCT_HEAD(level, name)                                                   \
    {                                                                           \
        static const tile_function tiles[WIDEST + 1] = {ENTRIES(name)};         \
        all_tiles(tiles, widest_tile(type), a);                                 \
    }
#define PRODUCT_Q8(level, name, type, blocks, lines) TILES(TILE_Q8, name, type, blocks, lines) PRODUCT(level, name, type)
#define PRODUCT_FLOAT(level, name, type) TILES(TILE_FLOAT, name, type) PRODUCT(level, name, type)
