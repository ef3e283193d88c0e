/*
 * panel_avx2.c - the transposition into panels for AVX2
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/panel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

/* Four dwords of row 0 and of row 4, counted from p. */
static inline __m256i load_rows(const uint8_t *p, size_t row_size)
{
    __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const void *) p));
    return _mm256_inserti128_si256(v, _mm_loadu_si128((const void *) (p + 4 * row_size)), 1);
}

/* Four dwords of 8 rows to four half lines: in each half of a register, a 4 x 4 transposition. */
static inline void transpose4(const uint8_t *p, size_t row_size, __m256i line[4])
{
    __m256i a = load_rows(p, row_size), b = load_rows(p + row_size, row_size);
    __m256i c = load_rows(p + 2 * row_size, row_size), d = load_rows(p + 3 * row_size, row_size);
    __m256i ab = _mm256_unpacklo_epi32(a, b), cd = _mm256_unpacklo_epi32(c, d);
    line[0] = _mm256_unpacklo_epi64(ab, cd);
    line[1] = _mm256_unpackhi_epi64(ab, cd);
    ab = _mm256_unpackhi_epi32(a, b);
    cd = _mm256_unpackhi_epi32(c, d);
    line[2] = _mm256_unpacklo_epi64(ab, cd);
    line[3] = _mm256_unpackhi_epi64(ab, cd);
}

/* The last n of the four dwords at p. */
static inline void store_lines(const uint8_t *p, size_t row_size, int n, __m256i flip, uint8_t *dst)
{
    __m256i low[4], high[4];
    transpose4(p, row_size, low);
    transpose4(p + 8 * row_size, row_size, high);
    for (int i = 4 - n; i < 4; i++, dst += PANEL_LINE) {
        _mm256_store_si256((void *) dst, _mm256_xor_si256(low[i], flip));
        _mm256_store_si256((void *) (dst + 32), _mm256_xor_si256(high[i], flip));
    }
}

static inline void single_dwords(const uint8_t *p, size_t row_size, int dwords, uint8_t *dst)
{
    for (int j = 0; j < dwords; j++)
        for (size_t r = 0; r < PANEL_ROWS; r++)
            memcpy(dst + (size_t) j * PANEL_LINE + 4 * r, p + r * row_size + 4 * (size_t) j, 4);
}

/* A run whose length is no multiple of four ends with its last four dwords, some of them for the second time. */
static inline void interleave_run(const struct panel_run *run, const uint8_t *p, size_t row_size, __m256i flip,
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
    for (int half = 0; half < 64; half += 32) {
        __m256i x = _mm256_load_si256((const void *) (line + half));
        __m256i swap = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi32(x, 14), x), _mm256_set1_epi32(0x0000cccc));
        x = _mm256_xor_si256(x, _mm256_xor_si256(swap, _mm256_slli_epi32(swap, 14)));
        swap = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi32(x, 7), x), _mm256_set1_epi32(0x00aa00aa));
        x = _mm256_xor_si256(x, _mm256_xor_si256(swap, _mm256_slli_epi32(swap, 7)));
        _mm256_store_si256((void *) (line + half), x);
    }
}

static inline void small_line(const struct panel_layout *layout, const uint8_t *p, size_t row_size, uint8_t *line)
{
    for (int r = 0; r < PANEL_ROWS; r++, p += row_size) {
        uint32_t dword = panel_small_dword(layout, p);
        memcpy(line + 4 * r, &dword, sizeof dword);
    }
}

void interleave_avx2(const struct panel_layout *layout, const uint8_t *src, size_t row_size, int n_chunks,
                     uint8_t *panel)
{
    const __m256i flip = _mm256_set1_epi32((int) layout->flip);
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
