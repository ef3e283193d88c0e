/*
 * panel_avx512.c - the transposition into panels for AVX-512
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/panel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

static inline __m128i load4(const uint8_t *p)
{
    return _mm_loadu_si128((const void *) p);
}

/* Four dwords of rows 0, 4, 8 and 12, counted from p. */
static inline __m512i load_rows(const uint8_t *p, size_t row_size)
{
    __m512i v = _mm512_castsi128_si512(load4(p));
    v = _mm512_mask_broadcast_i32x4(v, 0x00f0, load4(p + 4 * row_size));
    v = _mm512_mask_broadcast_i32x4(v, 0x0f00, load4(p + 8 * row_size));
    return _mm512_mask_broadcast_i32x4(v, 0xf000, load4(p + 12 * row_size));
}

/* Four dwords of 16 rows to four lines: within each quarter of a register, a 4 x 4 transposition. */
static inline void transpose4(const uint8_t *p, size_t row_size, __m512i line[4])
{
    __m512i a = load_rows(p, row_size), b = load_rows(p + row_size, row_size);
    __m512i c = load_rows(p + 2 * row_size, row_size), d = load_rows(p + 3 * row_size, row_size);
    __m512i ab = _mm512_unpacklo_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d);
    line[0] = _mm512_unpacklo_epi64(ab, cd);
    line[1] = _mm512_unpackhi_epi64(ab, cd);
    ab = _mm512_unpackhi_epi32(a, b);
    cd = _mm512_unpackhi_epi32(c, d);
    line[2] = _mm512_unpacklo_epi64(ab, cd);
    line[3] = _mm512_unpackhi_epi64(ab, cd);
}

/* The last n of the four dwords at p. */
static inline void store_lines(const uint8_t *p, size_t row_size, int n, __m512i flip, uint8_t *dst)
{
    __m512i line[4];
    transpose4(p, row_size, line);
    for (int i = 4 - n; i < 4; i++, dst += PANEL_LINE)
        _mm512_store_si512(dst, _mm512_xor_si512(line[i], flip));
}

static inline void single_dwords(const uint8_t *p, size_t row_size, int dwords, uint8_t *dst)
{
    for (int j = 0; j < dwords; j++)
        for (size_t r = 0; r < PANEL_ROWS; r++)
            memcpy(dst + (size_t) j * PANEL_LINE + 4 * r, p + r * row_size + 4 * (size_t) j, 4);
}

/* A run whose length is no multiple of four ends with its last four dwords, some of them for the second time. */
static inline void interleave_run(const struct panel_run *run, const uint8_t *p, size_t row_size, __m512i flip,
                                  uint8_t *dst)
{
    int left = run->dwords;
    if (left < 4) {
        single_dwords(p, row_size, left, dst);
        return;
    }
    for (; left >= 4; left -= 4, p += 16, dst += 4 * PANEL_LINE)
        store_lines(p, row_size, 4, flip, dst);
    if (left > 0)
        store_lines(p + 4 * left - 16, row_size, left, flip, dst);
}

/* spread_dword() of 16 rows. */
static inline void spread_line(uint8_t *line)
{
    __m512i x = _mm512_load_si512(line);
    __m512i swap = _mm512_and_si512(_mm512_xor_si512(_mm512_srli_epi32(x, 14), x), _mm512_set1_epi32(0x0000cccc));
    x = _mm512_xor_si512(x, _mm512_xor_si512(swap, _mm512_slli_epi32(swap, 14)));
    swap = _mm512_and_si512(_mm512_xor_si512(_mm512_srli_epi32(x, 7), x), _mm512_set1_epi32(0x00aa00aa));
    _mm512_store_si512(line, _mm512_xor_si512(x, _mm512_xor_si512(swap, _mm512_slli_epi32(swap, 7))));
}

static inline void small_line(const struct panel_layout *layout, const uint8_t *p, size_t row_size, uint8_t *line)
{
    for (int r = 0; r < PANEL_ROWS; r++, p += row_size) {
        uint32_t dword = panel_small_dword(layout, p);
        memcpy(line + 4 * r, &dword, sizeof dword);
    }
}

void interleave_avx512(const struct panel_layout *layout, const uint8_t *src, size_t row_size, int n_chunks,
                       uint8_t *panel)
{
    const __m512i flip = _mm512_set1_epi32((int) layout->flip);
    /* 16 rows side by side are more than the processor follows: fetching the next panel doubles the speed. */
    const uint8_t *next = src + PANEL_ROWS * row_size;
    for (int i = 0; i < n_chunks; i++, src += layout->size, panel += layout->lines * PANEL_LINE) {
        for (int j = 0; j < PANEL_ROWS * layout->size; j += PANEL_LINE, next += PANEL_LINE)
            _mm_prefetch(next, _MM_HINT_T1);
        for (int j = 0; j < layout->n_runs; j++) {
            const struct panel_run *run = &layout->runs[j];
            interleave_run(run, src + run->from, row_size, flip, panel + run->line * PANEL_LINE);
        }
        for (int j = 1; j <= layout->n_spread; j++)
            spread_line(panel + j * PANEL_LINE);
        if (layout->small != NOTHING_SMALL)
            small_line(layout, src, row_size, panel);
    }
}
#endif
