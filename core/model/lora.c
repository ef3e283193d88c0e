/*
 * lora.c - a low-rank adapter beside a model's weights, as serving wants it
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/lora.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/size.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    size_t at;              /* in struct layer */
    const char *dense;      /* the tensor's name in a layer without experts, and where it does not matter */
    const char *experts;    /* in one with */
} slots[LORA_SLOTS] = {
    [LORA_Q] = {offsetof(struct layer, q), "attn_q", NULL},
    [LORA_K] = {offsetof(struct layer, k), "attn_k", NULL},
    [LORA_V] = {offsetof(struct layer, v), "attn_v", NULL},
    [LORA_O] = {offsetof(struct layer, o), "attn_output", NULL},
    [LORA_Q_A] = {offsetof(struct layer, q_a), "attn_q_a", NULL},
    [LORA_Q_B] = {offsetof(struct layer, q_b), "attn_q_b", NULL},
    [LORA_KV_A] = {offsetof(struct layer, kv_a), "attn_kv_a_mqa", NULL},
    [LORA_K_B] = {offsetof(struct layer, k_b), "attn_k_b", NULL},
    [LORA_V_B] = {offsetof(struct layer, v_b), "attn_v_b", NULL},
    [LORA_KV_B] = {offsetof(struct layer, kv_b), "attn_kv_b", NULL},
    [LORA_ROUTER] = {offsetof(struct layer, router), "ffn_gate_inp", NULL},
    [LORA_GATE] = {offsetof(struct layer, ffn.gate), "ffn_gate", "ffn_gate_exps"},
    [LORA_UP] = {offsetof(struct layer, ffn.up), "ffn_up", "ffn_up_exps"},
    [LORA_DOWN] = {offsetof(struct layer, ffn.down), "ffn_down", "ffn_down_exps"},
    [LORA_SHARED_GATE] = {offsetof(struct layer, shared.gate), "ffn_gate_shexp", NULL},
    [LORA_SHARED_UP] = {offsetof(struct layer, shared.up), "ffn_up_shexp", NULL},
    [LORA_SHARED_DOWN] = {offsetof(struct layer, shared.down), "ffn_down_shexp", NULL},
};

const struct weight *lora_base(const struct layer *layer, enum lora_slot slot)
{
    return (const struct weight *) ((const char *) layer + slots[slot].at);
}

static void slot_name(const struct layer *layer, int index, enum lora_slot slot, char name[64])
{
    bool experts = slots[slot].experts && layer->router.n_mats > 0;
    snprintf(name, 64, "blk.%d.%s.weight", index, experts ? slots[slot].experts : slots[slot].dense);
}

/* ------------------------------------------------------------------ */
/* Packing                                                             */
/* ------------------------------------------------------------------ */

static size_t packed_size(int n_in, int n_out, int n_mats)
{
    size_t panels = ((size_t) n_out + PANEL_ROWS - 1) / PANEL_ROWS;
    return (size_t) n_mats * panels * panel_size(TENSOR_F32, n_in);
}

/* n_mats x n_out x n_in floats as panels at `to`. */
static struct weight pack(const float *values, int n_in, int n_out, int n_mats, uint8_t *to)
{
    size_t row = (size_t) n_in * sizeof *values, panel = panel_size(TENSOR_F32, n_in);
    struct weight w = {.type = TENSOR_F32, .n_in = n_in, .n_out = n_out, .n_mats = n_mats, .row_size = row,
                       .panels = to};
    for (int m = 0; m < n_mats; m++)
        for (int first = 0; first < n_out; first += PANEL_ROWS, to += panel) {
            const uint8_t *from = (const uint8_t *) values + ((size_t) m * (size_t) n_out + (size_t) first) * row;
            panel_pack(TENSOR_F32, from, row, n_out - first < PANEL_ROWS ? n_out - first : PANEL_ROWS, n_in, to);
        }
    return w;
}

/* ------------------------------------------------------------------ */
/* Opening                                                             */
/* ------------------------------------------------------------------ */

struct opening {
    const struct model *model;
    const struct lora_source *source;
    struct lora *lora;
    uint8_t *next;          /* NULL: only count */
    dsr1_error *err;
};

static dsr1_status open_pair(struct opening *o, int layer, enum lora_slot slot)
{
    const struct layer *l = &o->model->weights.layers[layer];
    const struct weight *base = lora_base(l, slot);
    struct lora *lora = o->lora;
    struct lora_pair *pair = &lora->layers[layer].pairs[slot];
    struct lora_values v = {0};
    char name[64];
    if (base->n_mats == 0 || (o->next && pair->rank == 0))
        return DSR1_OK;
    slot_name(l, layer, slot, name);
    dsr1_status status = o->source->find(o->source->user, name, base->n_in, base->n_out, base->n_mats, &v, o->err);
    if (status != DSR1_OK || v.rank == 0)
        return status;
    if (v.rank > LORA_MAX_RANK)
        return error_set(o->err, DSR1_ERR_UNSUPPORTED, "adapter %s: %s has rank %d, at most %d are served",
                         o->source->name, name, v.rank, LORA_MAX_RANK);
    size_t a = packed_size(base->n_in, v.rank, base->n_mats), b = packed_size(v.rank, base->n_out, base->n_mats);
    if (!o->next) {
        *pair = (struct lora_pair){.rank = v.rank, .scale = v.scale};
        lora->block_size += a + b;
        lora->size += (size_t) base->n_mats * (size_t) v.rank * ((size_t) base->n_in + (size_t) base->n_out) * sizeof(float);
        lora->max_rank = v.rank > lora->max_rank ? v.rank : lora->max_rank;
        lora->n_pairs++;
        return DSR1_OK;
    }
    pair->a = pack(v.a, base->n_in, v.rank, base->n_mats, o->next);
    pair->b = pack(v.b, v.rank, base->n_out, base->n_mats, o->next + a);
    o->next += a + b;
    return DSR1_OK;
}

/* Twice over all places: the first time counts, the second packs. */
static dsr1_status open_pairs(struct opening *o)
{
    for (int i = 0; i < o->lora->n_layers; i++)
        for (int slot = 0; slot < LORA_SLOTS; slot++) {
            dsr1_status status = open_pair(o, i, (enum lora_slot) slot);
            if (status != DSR1_OK)
                return status;
        }
    if (!o->next && (size_t) o->lora->n_pairs != o->source->n_pairs)
        return error_set(o->err, DSR1_ERR_FORMAT, "adapter %s changes %zu matrices, of which the model has %d",
                         o->source->name, o->source->n_pairs, o->lora->n_pairs);
    return DSR1_OK;
}

dsr1_status lora_open(const struct model *model, const struct lora_source *source, struct lora **out, dsr1_error *err)
{
    static _Atomic uint64_t last_id;
    struct lora *lora = memory_array(1, sizeof *lora);
    *out = NULL;
    if (!lora)
        return error_nomem(err, "an adapter");
    lora->n_layers = model->shape.n_layers;
    lora->id = atomic_fetch_add(&last_id, 1) + 1;
    atomic_store(&lora->refs, 1);
    lora->layers = memory_array((size_t) lora->n_layers, sizeof *lora->layers);
    struct opening o = {.model = model, .source = source, .lora = lora, .err = err};
    dsr1_status status = lora->layers ? open_pairs(&o) : error_nomem(err, "an adapter");
    if (status == DSR1_OK && lora->n_pairs > 0) {
        lora->block = o.next = memory_map(lora->block_size);
        status = lora->block ? open_pairs(&o) : error_nomem(err, "an adapter");
    }
    if (status != DSR1_OK) {
        lora_close(lora);
        return status;
    }
    *out = lora;
    return DSR1_OK;
}

struct lora *lora_share(struct lora *lora)
{
    if (lora)
        atomic_fetch_add(&lora->refs, 1);
    return lora;
}

void lora_close(struct lora *lora)
{
    if (!lora || atomic_fetch_sub(&lora->refs, 1) > 1)
        return;
    memory_unmap(lora->block, lora->block_size);
    free(lora->layers);
    free(lora);
}
