/*
 * panel_scalar.c - the transposition into panels in plain C
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/panel.h"

#include <string.h>

static void put(uint8_t *panel, int line, int row, uint32_t dword)
{
    memcpy(panel + line * PANEL_LINE + 4 * row, &dword, sizeof dword);
}

static void interleave_row(const struct panel_layout *layout, const uint8_t *chunk, int row, uint8_t *panel)
{
    uint32_t dword;
    for (int i = 0; i < layout->n_runs; i++) {
        const struct panel_run *run = &layout->runs[i];
        for (int j = 0; j < run->dwords; j++) {
            memcpy(&dword, chunk + run->from + 4 * j, sizeof dword);
            put(panel, run->line + j, row, dword ^ layout->flip);
        }
    }
    for (int i = 1; i <= layout->n_spread; i++) {
        memcpy(&dword, panel + i * PANEL_LINE + 4 * row, sizeof dword);
        put(panel, i, row, spread_dword(dword));
    }
    if (layout->small != NOTHING_SMALL)
        put(panel, 0, row, panel_small_dword(layout, chunk));
}

void interleave_scalar(const struct panel_layout *layout, const uint8_t *src, size_t row_size, int n_chunks,
                       uint8_t *panel)
{
    for (int i = 0; i < n_chunks; i++)
        for (int r = 0; r < PANEL_ROWS; r++)
            interleave_row(layout, src + (size_t) r * row_size + (size_t) i * (size_t) layout->size, r,
                           panel + (size_t) i * (size_t) layout->lines * PANEL_LINE);
}
