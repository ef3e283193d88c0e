/*
 * ffn.c - gated feed-forward layers: down(act(gate x) * (up x))
 *
 * Gate, up, activation and quantisation of the result are one phase: an item is
 * a few panels of gate and of up that make whole blocks or groups of the 8-bit
 * form, so that the hidden row is quantised where it is made. The same code serves
 * a dense layer, one group of rows, and experts, many groups.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/step.h"

#include <string.h>

/* Of a block: columns, and hidden values of all of them. */
enum { COLUMNS = 32, MOST_VALUES = COLUMNS * ACT_GROUP };

/* The rows of a group, in the form that w reads: gate and up may differ. */
static const void *const *group_input(struct step *s, const struct expert_group *g, const struct weight *w)
{
    if (g->hidden != &s->moe.hidden)
        return act_input(&s->h, w, 0);
    return s->moe.pair_input[weight_act_form(w->type)] + g->first;
}

static void activate(struct step *s, const struct expert_group *g, float *gate, float *up, int first, int n)
{
    size_t bias = (size_t) g->mat * (size_t) g->ffn->gate.n_out + (size_t) first;
    if (g->ffn->gate_bias)
        s->kernels->add_scaled(gate, 1, g->ffn->gate_bias + bias, n);
    if (g->ffn->up_bias)
        s->kernels->add_scaled(up, 1, g->ffn->up_bias + bias, n);
    if (s->model->shape.activation == ACTIVATION_SWIGLU_CLAMPED)
        s->kernels->swiglu_oai(gate, up, n, gate);
    else
        s->kernels->swiglu(gate, up, n, gate);
}

/* Hidden values of panels from `panel` to end - 1 of all rows of a group; then `next` is read. */
static void hidden_block(struct worker *w, const struct expert_group *g, int panel, int end, const void *next)
{
    struct step *s = w->step;
    const void *const *gate_in = group_input(s, g, &g->ffn->gate), *const *up_in = group_input(s, g, &g->ffn->up);
    int first_row = g->hidden == &s->moe.hidden ? g->first : 0;
    int n_ff = g->ffn->gate.n_out, first = panel * PANEL_ROWS;
    int n = (end * PANEL_ROWS < n_ff ? end * PANEL_ROWS : n_ff) - first;
    float gate[MOST_VALUES], up[MOST_VALUES];
    float *gate_rows[COLUMNS], *up_rows[COLUMNS];
    const float *weight = g->hidden == &s->hidden ? NULL : s->moe.pair_weight + g->first;
    enum act_form form = weight_act_form(g->ffn->down.type);
    const void *up_panel = weight_panel(&g->ffn->up, g->mat, panel);
    void *unpack_gate = arena_take(&w->scratch, matmul_scratch_size(&g->ffn->gate), 1);
    void *unpack_up = arena_take(&w->scratch, matmul_scratch_size(&g->ffn->up), 1);
    for (int c0 = 0; c0 < g->n; c0 += COLUMNS) {
        int columns = g->n - c0 < COLUMNS ? g->n - c0 : COLUMNS;
        for (int c = 0; c < columns; c++) {
            gate_rows[c] = gate + c * n - first;
            up_rows[c] = up + c * n - first;
        }
        matmul_panels(s->kernels, &g->ffn->gate, g->mat, panel, end, gate_in + c0, columns, gate_rows, up_panel,
                      unpack_gate);
        matmul_panels(s->kernels, &g->ffn->up, g->mat, panel, end, up_in + c0, columns, up_rows, next, unpack_up);
        lora_hidden(w, g, false, panel, end, first_row + c0, columns, gate_rows);
        lora_hidden(w, g, true, panel, end, first_row + c0, columns, up_rows);
        for (int c = 0; c < columns; c++) {
            int row = first_row + c0 + c;
            float *values = gate + c * n;
            activate(s, g, values, up + c * n, first, n);
            if (weight)
                s->kernels->scale(weight[c0 + c], values, n, values);
            if (form != ACT_FLOATS)
                act_quantize_part(s->kernels, g->hidden, form, row, first, n, values);
            if (form == ACT_FLOATS || s->lora.n_chunks > 0)
                memcpy(act_row(g->hidden, row) + first, values, (size_t) n * sizeof(float));
        }
    }
    arena_reset(&w->scratch);
}

/* Panels of an item: a group of 128 values; where blocks of 32 would do 64, or 32 where threads have few items. */
static int item_panels(const struct expert_group *g, bool few)
{
    int values = weight_act_form(g->ffn->down.type) == ACT_GROUPS ? ACT_GROUP : few ? ACT_BLOCK : 2 * ACT_BLOCK;
    return values / PANEL_ROWS;
}

static int group_items(const struct expert_group *g, bool few)
{
    int n_panels = item_panels(g, few);
    return (weight_panels(&g->ffn->gate) + n_panels - 1) / n_panels;
}

static int all_items(const struct expert_group *groups, int n_groups, bool few)
{
    int total = 0;
    for (int i = 0; i < n_groups; i++)
        total += group_items(&groups[i], few);
    return total;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/*
 * Items of a run that lie in one group are one block, as far as their values have room: gate and up are two places of
 * memory, and going from one to the other and back for each item reads a twentieth slower.
 */
void ffn_gate_up(struct worker *w, const struct expert_group *groups, int n_groups)
{
    enum { ENOUGH = 8 };    /* items for each thread */
    bool few = all_items(groups, n_groups, false) < ENOUGH * w->n_threads;
    int total = all_items(groups, n_groups, few), first, last;
    while (worker_take_run(w, total, few ? 8 : 4, &first, &last)) {
        int g = 0, base = 0, items = group_items(&groups[0], few);
        for (int i = first, to; i < last; i = to) {
            for (; i - base >= items; items = group_items(&groups[++g], few))
                base += items;
            const struct expert_group *here = &groups[g];
            int n_panels = item_panels(here, few);
            int room = MOST_VALUES / (least(here->n, COLUMNS) * n_panels * PANEL_ROWS);
            to = least(last, least(base + items, i + room));
            bool ends = to == base + items;
            int end = ends ? weight_panels(&here->ffn->gate) : (to - base) * n_panels;
            const struct expert_group *then = ends ? here + 1 : here;
            const void *next = to < total ? weight_panel(&then->ffn->gate, then->mat, ends ? 0 : end) : NULL;
            hidden_block(w, here, (i - base) * n_panels, end, next);
        }
    }
}

static void add_down_bias(struct worker *w, const void *bias, int first, int last)
{
    struct step *s = w->step;
    int d = s->model->shape.n_embd;
    for (int r = first; r < last; r++)
        s->kernels->add_scaled(s->y + (size_t) r * s->y_stride, 1, bias, d);
}

void ffn_dense(struct worker *w, int layer)
{
    struct step *s = w->step;
    const struct ffn_weights *f = &s->model->weights.layers[layer].ffn;
    struct expert_group all = {.ffn = f, .hidden = &s->hidden, .n = s->n_rows};
    lora_before_hidden(w, false);
    ffn_gate_up(w, &all, 1);
    worker_sync(w);
    struct product down = {&f->down, 0, act_input(&s->hidden, &f->down, 0), s->n_rows, s->y, s->y_stride};
    worker_products(w, &down, 1);
    struct lora_use lora = {LORA_DOWN, 0, s->hidden.f, (size_t) s->hidden.n, s->y, s->y_stride};
    lora_add(w, &lora, 1);
    if (f->down_bias)
        worker_sync_rows(w, 16, add_down_bias, f->down_bias, NULL);
}
