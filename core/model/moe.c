/*
 * moe.c - route each row to its experts and sum what they return
 *
 * Rows are grouped by expert first, so that an expert's weights are read once
 * per step and not once per row. The shared expert is one more group that all
 * rows belong to. The sum over a row's experts runs in order of expert id: it
 * depends on the row's own choice and on nothing else in the batch.
 *
 * DeepSeekMoE, section 3 (arXiv:2401.06066).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/ops.h"
#include "model/step.h"

#include <string.h>

enum { COLUMNS = 32, DOWN_PANELS = 8 };

static void route(struct worker *w, const struct layer *l)
{
    struct step *s = w->step;
    const struct model_shape *m = &s->model->shape;
    int first, last;
    struct product scores = {&l->router, 0, act_input(&s->h, &l->router, 0), s->n_rows, s->moe.scores,
                             (size_t) m->n_experts};
    worker_products(w, &scores, 1);
    worker_sync(w);
    struct lora_use lora = {LORA_ROUTER, 0, s->h.f, (size_t) m->n_embd, s->moe.scores, (size_t) m->n_experts};
    lora_add(w, &lora, 1);
    while (worker_take(w, s->n_rows, worker_grain(w, s->n_rows, 16), &first, &last))
        for (int r = first; r < last; r++) {
            float *row = s->moe.scores + (size_t) r * (size_t) m->n_experts;
            if (l->router_bias)
                s->kernels->add_scaled(row, 1, l->router_bias, m->n_experts);
            router_choose(m, s->n_used, l->select_bias, row, s->moe.chosen + r * s->n_used,
                          s->moe.chosen_weight + r * s->n_used);
            for (int i = 0; s->rows[r].experts && i < s->n_used; i++)
                s->rows[r].experts[w->layer * s->n_used + i] = (uint16_t) s->moe.chosen[r * s->n_used + i];
        }
    worker_sync(w);
}

/* A counting sort of (expert, row) pairs; rows stay in order within an expert. */
static void group_by_expert(struct step *s, const struct layer *l)
{
    const struct model_shape *m = &s->model->shape;
    struct moe_buffers *b = &s->moe;
    int start[1025] = {0}, n_pairs = s->n_rows * s->n_used;
    for (int i = 0; i < n_pairs; i++)
        start[b->chosen[i] + 1]++;
    b->n_groups = 0;
    for (int e = 0; e < m->n_experts; e++) {
        if (start[e + 1] > 0)
            b->groups[b->n_groups++] = (struct expert_group){&l->ffn, &b->hidden, e, start[e], start[e + 1]};
        start[e + 1] += start[e];
    }
    for (int i = 0; i < n_pairs; i++) {
        int row = i / s->n_used, pair = start[b->chosen[i]]++;
        b->pair_row[pair] = row;
        b->pair_weight[pair] = b->chosen_weight[i];
        b->pair_input_f[pair] = s->h.f_rows[row];
        b->pair_input_q[pair] = s->h.q_rows[row];
    }
    if (l->shared.up.n_mats == 0)
        return;
    b->groups[b->n_groups++] = (struct expert_group){&l->shared, &b->hidden_shared, 0, n_pairs, s->n_rows};
    for (int r = 0; r < s->n_rows; r++) {
        float z = 0;
        for (int i = 0; l->shared_gate && i < m->n_embd; i++)
            z += l->shared_gate[i] * act_row(&s->h, r)[i];
        b->pair_row[n_pairs + r] = r;
        b->pair_weight[n_pairs + r] = l->shared_gate ? ops_sigmoid(z) : 1;
    }
}

/* Output rows of panels from .. to - 1 of one group, weighted and added to y. */
static void add_group(struct worker *w, const struct expert_group *g, int from, int to)
{
    struct step *s = w->step;
    const struct weight *down = &g->ffn->down;
    int d = s->model->shape.n_embd, first = from * PANEL_ROWS;
    int n = to * PANEL_ROWS < d ? (to - from) * PANEL_ROWS : d - first;
    float out[COLUMNS][DOWN_PANELS * PANEL_ROWS];
    float *rows[COLUMNS];
    size_t mark = w->scratch.used;
    void *unpack = arena_take(&w->scratch, matmul_scratch_size(down), 1);
    const void *const *input = act_input(g->hidden, down, g->hidden == &s->moe.hidden ? g->first : 0);
    for (int c0 = 0; c0 < g->n; c0 += COLUMNS) {
        int columns = g->n - c0 < COLUMNS ? g->n - c0 : COLUMNS;
        for (int c = 0; c < columns; c++)
            rows[c] = out[c] - first;
        matmul_panels(s->kernels, down, g->mat, from, to, input + c0, columns, rows, unpack);
        for (int c = 0; c < columns; c++) {
            int pair = g->first + c0 + c;
            if (g->ffn->down_bias)
                s->kernels->add_scaled(out[c], 1, g->ffn->down_bias + (size_t) g->mat * (size_t) d + first, n);
            float *y = s->y + (size_t) s->moe.pair_row[pair] * (size_t) d + first;
            s->kernels->add_scaled(y, s->moe.pair_weight[pair], out[c], n);
        }
    }
    w->scratch.used = mark;
}

static void combine(struct worker *w)
{
    struct step *s = w->step;
    int d = s->model->shape.n_embd, panels = (d + PANEL_ROWS - 1) / PANEL_ROWS, first, last;
    while (worker_take(w, panels, worker_grain(w, panels, DOWN_PANELS), &first, &last)) {
        int begin = first * PANEL_ROWS, end = last * PANEL_ROWS < d ? last * PANEL_ROWS : d;
        for (int r = 0; r < s->n_rows; r++)
            memset(s->y + (size_t) r * (size_t) d + begin, 0, (size_t) (end - begin) * sizeof(float));
        for (int g = 0; g < s->moe.n_groups; g++)
            add_group(w, &s->moe.groups[g], first, last);
        lora_combine(w, first, last);
    }
    worker_sync(w);
}

void ffn_moe(struct worker *w, int layer)
{
    struct step *s = w->step;
    const struct layer *l = &s->model->weights.layers[layer];
    route(w, l);
    if (w->thread == 0) {
        group_by_expert(s, l);
        lora_plan_pairs(s);
    }
    worker_sync(w);
    lora_before_hidden(w, true);
    ffn_gate_up(w, s->moe.groups, s->moe.n_groups);
    worker_sync(w);
    lora_before_combine(w);
    combine(w);
}
