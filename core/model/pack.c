/*
 * pack.c - panels of all matrices, in memory
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/pack.h"

#include "base/error.h"
#include "base/memory.h"
#include "model/pack_parts.h"

size_t packed_size(const struct weight *w)
{
    return (size_t) w->n_mats * (size_t) weight_panels(w) * panel_size(w->type, w->n_in);
}

static void add_packed_size(struct weight *w, void *user)
{
    *(size_t *) user += packed_size(w);
}

size_t pack_size(const struct weights *weights)
{
    size_t total = 0;
    weights_each((struct weights *) weights, add_packed_size, &total);
    return total;
}

void pack_panel(const struct weight *w, int64_t index, void *panel)
{
    int64_t n_panels = weight_panels(w), mat = index / n_panels, i = index % n_panels;
    if (w->side_by_side)
        i = index / w->n_mats, mat = index % w->n_mats;
    int rows = w->n_out - (int) i * PANEL_ROWS;
    const uint8_t *src = w->data + ((size_t) mat * (size_t) w->n_out + (size_t) i * PANEL_ROWS) * w->row_size;
    panel_pack(w->type, src, w->row_size, rows < PANEL_ROWS ? rows : PANEL_ROWS, w->n_in, panel);
}

struct packing {
    struct thread_pool *pool;
    const struct gguf *gguf;
    uint8_t *next;
    const struct weight *weight;
};

/* One matrix, its panels dealt out to the threads in runs. */
static void pack_share(void *context, int thread, int n_threads)
{
    struct packing *p = context;
    const struct weight *w = p->weight;
    size_t size = panel_size(w->type, w->n_in);
    int64_t total = (int64_t) weight_panels(w) * w->n_mats;
    for (int64_t i = total * thread / n_threads; i < total * (thread + 1) / n_threads; i++)
        pack_panel(w, i, p->next + (size_t) i * size);
}

static void pack_matrix(struct weight *w, void *user)
{
    struct packing *p = user;
    p->weight = w;
    thread_pool_run(p->pool, pack_share, p);
    gguf_forget(p->gguf);
    w->panels = p->next;
    p->next += packed_size(w);
}

dsr1_status pack_memory(struct weights *weights, struct thread_pool *pool, dsr1_error *err)
{
    size_t size = pack_size(weights);
    uint8_t *panels = memory_map(size);
    if (!panels)
        return error_nomem(err, "packed weights");
    struct packing packing = {.pool = pool, .gguf = weights->gguf, .next = panels};
    weights_each(weights, pack_matrix, &packing);
    weights->panels = panels;
    weights->panels_size = size;
    return DSR1_OK;
}
