/*
 * matmul_superblock.h - superblocks of 256 values times columns
 *
 * A part of matmul_tile.h, which includes it. Scales of a superblock's blocks are
 * integers, and activations have a scale in common for a group of four blocks: the
 * group's products are added up with no rounding but what matmul_scalar.c says, and
 * meet the two scales, and the minimums, once.
 *
 * SPDX-License-Identifier: PostgreSQL
 */

/* Block first + i of a chunk times that of n columns and its integer scale, to the sums of a group. */
INLINE void add_scaled(enum tensor_type type, const int n, const uint8_t *chunk, int first, const int i,
                       const struct scales s[PARTS], const uint8_t *const column[], const struct place *at,
                       floats group[PARTS][WIDEST]);

/* That sum as a float. */
INLINE floats group_sum(enum tensor_type type, floats sum);

/* A superblock's groups one after the other, not in a loop: some columns gain by it, more are too many instructions. */
INLINE bool is_written_out(enum tensor_type type, const int n);

/* A number that compilers do not know: a loop to it stays one. */
INLINE int hidden(int n)
{
    __asm__("" : "+r"(n));
    return n;
}

/* Adds group h of a superblock, the sum of codes and scales, to y. */
INLINE floats end_group(const enum tensor_type type, floats sum, const struct scales *s, int h, const uint8_t *x,
                        const struct place *at, floats y)
{
    const int n_pairs = has_two_scales(type) ? 4 : 2;
    floats t = group_sum(type, sum) * s->d;
    if (has_min(type)) {
        ints min = dwords(0);
#pragma GCC unroll 4
        for (int p = 0; p < n_pairs; p++)
            min = add_pairs(min, s->pair[n_pairs * h + p], x + (n_pairs == 4 ? at->sum : at->block_sum) + 4 * p);
        t = fnmadd(to_floats(min), s->dmin, t);
    }
    return fmadd(t, broadcast_float(x + at->d), y);
}

/* So many of a chunk's blocks on. */
INLINE struct fetching fetch_further(const struct fetching f, int lines, int blocks)
{
    size_t bytes = (size_t) ((lines * blocks + 7) / 8) * PANEL_LINE;
    return (struct fetching){f.how, f.ahead + bytes, f.near + bytes};
}

/* n_blocks of a superblock from `first` on. */
INLINE void add_blocks(const enum tensor_type type, const int lines, const int n_blocks, const int n,
                       const uint8_t *chunk, int first, const struct scales s[PARTS], struct fetching fetch,
                       const uint8_t *const column[], const struct place at, floats group[PARTS][WIDEST])
{
    fetch_lines(n, (lines * n_blocks + 7) / 8, &fetch);
#pragma GCC unroll 4
    for (int i = 0; i < n_blocks; i++) {
        const struct place here = {at.q + 32 * (size_t) i, at.d, at.sum + 4 * (size_t) i, at.block_sum};
        add_scaled(type, n, chunk, first, i, s, column, &here, group);
    }
}

/* Group h of a superblock. */
INLINE void add_group(const enum tensor_type type, const int lines, const int n, const uint8_t *chunk, int h,
                      const struct scales s[PARTS], const struct fetching fetch, const uint8_t *const column[],
                      const struct place at, floats y[PARTS][WIDEST])
{
    const struct place next = {at.q + 64, at.d, at.sum + 8, at.block_sum};
    const bool crowded = n * together(type) > 8;
    floats group[PARTS][WIDEST];
#pragma GCC unroll 16
    for (int c = 0; c < n; c++)
#pragma GCC unroll 2
        for (int p = 0; p < together(type); p++) {
            group[p][c] = (floats) dwords(0);
            /* Keeps y in memory, and the group's sums in registers. */
            if (crowded)
                __asm__("" : "+m"(y[p][c]));
        }
    if (has_two_scales(type)) {
        add_blocks(type, lines, 4, n, chunk, 4 * h, s, fetch, column, at, group);
    } else if (is_written_out(type, n)) {
        add_blocks(type, lines, 2, n, chunk, 4 * h, s, fetch, column, at, group);
        add_blocks(type, lines, 2, n, chunk, 4 * h + 2, s, fetch_further(fetch, lines, 2), column, next, group);
    } else {
        for (int i = 0; i < hidden(2); i++)
            add_blocks(type, lines, 2, n, chunk, 4 * h + 2 * i, s, i ? fetch_further(fetch, lines, 2) : fetch, column,
                       i ? next : at, group);
    }
#pragma GCC unroll 16
    for (int c = 0; c < n; c++)
#pragma GCC unroll 2
        for (int p = 0; p < together(type); p++)
            y[p][c] = end_group(type, group[p][c], &s[p], h, column[c], &at, y[p][c]);
}

/* A superblock. */
INLINE void add_superblock(const enum tensor_type type, const int lines, const int n, const uint8_t *chunk,
                           const struct fetching fetch, const uint8_t *const column[], const struct place at,
                           floats y[PARTS][WIDEST])
{
    const struct place next = {at.q + 128, at.d + 4, at.sum + 16, at.block_sum + 8};
    struct scales s[PARTS];
#pragma GCC unroll 2
    for (int p = 0; p < together(type); p++)
        load_scales(type, chunk + p * VECTOR, &s[p]);
    if (is_written_out(type, n)) {
        add_group(type, lines, n, chunk, 0, s, fetch, column, at, y);
        add_group(type, lines, n, chunk, 1, s, fetch_further(fetch, lines, 4), column, next, y);
    } else {
        for (int h = 0; h < hidden(2); h++)
            add_group(type, lines, n, chunk, h, s, h ? fetch_further(fetch, lines, 4) : fetch, column, h ? next : at,
                      y);
    }
}
