/*
 * moe.c - route each row to its experts and sum what they return
 *
 * Rows are grouped by expert first, so that an expert's weights are read once
 * per step and not once per row. The shared expert is one more group that all
 * rows belong to. The sum over a row's experts runs in order of expert id: it
 * depends on the row's own choice and on nothing else in the batch. Hidden rows
 * carry their expert's weight, so that the sum goes on from one matrix to the next
 * inside the kernel: sixteen experts of 64 values cost what one of 1,024 does.
 *
 * DeepSeekMoE, section 3 (arXiv:2401.06066).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/ops.h"
#include "model/step.h"

#include <string.h>

enum { COLUMNS = 32, DOWN_PANELS = 8, MOST_TOGETHER = 32, MANY_ROWS = 64 };

/* From a row's scores to its experts. */
static void choose_rows(struct worker *w, const void *argument, int first, int last)
{
    struct step *s = w->step;
    const struct model_shape *m = &s->model->shape;
    const struct layer *l = &s->model->weights.layers[w->layer];
    for (int r = first; r < last; r++) {
        float *row = s->moe.scores + (size_t) r * (size_t) m->n_experts;
        if (l->router_bias)
            s->kernels->add_scaled(row, 1, l->router_bias, m->n_experts);
        router_choose(s->kernels, m, s->n_used, l->select_bias, row, s->moe.chosen + r * s->n_used,
                      s->moe.chosen_weight + r * s->n_used);
        for (int i = 0; s->rows[r].experts && i < s->n_used; i++)
            s->rows[r].experts[w->layer * s->n_used + i] = (uint16_t) s->moe.chosen[r * s->n_used + i];
    }
}

/* Norm, scores and choice of some rows. */
static void route_rows(struct worker *w, const void *norm, int first, int last)
{
    struct step *s = w->step;
    const struct weight *router = &s->model->weights.layers[w->layer].router;
    size_t mark = w->scratch.used, n_experts = (size_t) s->model->shape.n_experts;
    add_norm_rows(w, norm, first, last);
    float **scores = worker_outputs(w, s->moe.scores + (size_t) first * n_experts, n_experts, last - first);
    void *unpack = arena_take(&w->scratch, matmul_scratch_size(router), 1);
    matmul_panels(s->kernels, router, 0, 0, weight_panels(router), act_input(&s->h, router, first), last - first, scores,
                  NULL, unpack);
    w->scratch.used = mark;
    choose_rows(w, NULL, first, last);
}

/* A counting sort of (expert, row) pairs; rows stay in order within an expert. */
static void group_by_expert(struct worker *w)
{
    struct step *s = w->step;
    const struct layer *l = &s->model->weights.layers[w->layer];
    const struct model_shape *m = &s->model->shape;
    struct moe_buffers *b = &s->moe;
    int start[1025] = {0}, n_pairs = s->n_rows * s->n_used;
    for (int i = 0; i < n_pairs; i++)
        start[b->chosen[i] + 1]++;
    b->n_shared = l->shared.up.n_mats > 0;
    b->n_groups = b->n_shared;
    if (b->n_shared > 0)
        b->groups[0] = (struct expert_group){&l->shared, &b->hidden_shared, 0, n_pairs, s->n_rows};
    for (int e = 0; e < m->n_experts; e++) {
        if (start[e + 1] > 0)
            b->groups[b->n_groups++] = (struct expert_group){&l->ffn, &b->hidden, e, start[e], start[e + 1]};
        start[e + 1] += start[e];
    }
    for (int i = 0; i < n_pairs; i++) {
        int row = i / s->n_used, pair = start[b->chosen[i]]++;
        b->pair_row[pair] = row;
        b->pair_weight[pair] = b->chosen_weight[i];
        for (enum act_form form = ACT_FLOATS; form < ACT_FORMS; form++)
            if (s->h.wants[form])
                b->pair_input[form][pair] = s->h.rows[form][row];
    }
    lora_plan_pairs(s);
    for (int r = 0; r < s->n_rows && b->n_shared > 0; r++) {
        float z = 0;
        for (int i = 0; l->shared_gate && i < m->n_embd; i++)
            z += l->shared_gate[i] * act_row(&s->h, r)[i];
        b->pair_row[n_pairs + r] = r;
        b->pair_weight[n_pairs + r] = l->shared_gate ? ops_sigmoid(z) : 1;
    }
}

/*
 * The rows' scores are a product like any other, which threads divide by panels, where there are few rows and many
 * experts. Else each thread goes through with its own rows.
 */
static void route(struct worker *w, const struct layer *l, const struct add_norm *norm)
{
    struct step *s = w->step;
    size_t n_experts = (size_t) s->model->shape.n_experts;
    if (s->lora.n_chunks == 0 && (weight_panels(&l->router) == 1 || s->n_rows >= MANY_ROWS)) {
        worker_sync_rows(w, 16, route_rows, norm, group_by_expert);
        return;
    }
    worker_sync_rows(w, 16, add_norm_rows, norm, NULL);
    struct product scores = {&l->router, 0, act_input(&s->h, &l->router, 0), s->n_rows, s->moe.scores, n_experts};
    worker_products(w, &scores, 1);
    struct lora_use lora = {LORA_ROUTER, 0, s->h.f, (size_t) s->model->shape.n_embd, s->moe.scores, n_experts};
    lora_add(w, &lora, 1);
    worker_sync_rows(w, 16, choose_rows, NULL, group_by_expert);
}

/* Output rows of panels from .. to - 1: what n groups that are all of the same rows add to y, before `next` is read. */
static void add_groups(struct worker *w, const struct expert_group *g, int n, int from, int to, const void *next)
{
    struct step *s = w->step;
    const struct weight *down = &g->ffn->down;
    int mats[MOST_TOGETHER], d = s->model->shape.n_embd, first = from * PANEL_ROWS;
    const void *x[MOST_TOGETHER * COLUMNS];
    float *y[COLUMNS];
    size_t mark = w->scratch.used;
    void *unpack = arena_take(&w->scratch, matmul_scratch_size(down), 1);
    for (int c0 = 0; c0 < g->n; c0 += COLUMNS) {
        int columns = g->n - c0 < COLUMNS ? g->n - c0 : COLUMNS;
        for (int i = 0; i < n; i++) {
            const void *const *input = act_input(g->hidden, down, g->hidden == &s->moe.hidden ? g[i].first : 0) + c0;
            mats[i] = g[i].mat;
            for (int c = 0; c < columns; c++)       /* few: a string instruction, which gcc makes of memcpy, takes longer */
                x[i * columns + c] = input[c];
        }
        for (int c = 0; c < columns; c++)
            y[c] = s->y + (size_t) s->moe.pair_row[g->first + c0 + c] * s->y_stride;
        matmul_add_panels(s->kernels, down, mats, n, from, to, x, columns, y, next, unpack);
        const float *bias = g->ffn->down_bias ? g->ffn->down_bias + (size_t) g->mat * (size_t) d + first : NULL;
        for (int c = 0; bias && c < columns; c++)
            s->kernels->add_scaled(y[c] + first, s->moe.pair_weight[g->first + c0 + c], bias,
                                   (to * PANEL_ROWS < d ? to * PANEL_ROWS : d) - first);
    }
    w->scratch.used = mark;
}

/*
 * How many groups from `first` on can be added at once: those of all rows, which is every one for a single row, where
 * their panels lie side by side. Else an expert's panels are read one after the other: jumping from expert to expert
 * every few KiB reads a fifth slower.
 */
static int groups_together(const struct step *s, const struct expert_group *first)
{
    const struct expert_group *end = s->moe.groups + s->moe.n_groups;
    bool apart = !first->ffn->down.side_by_side || first->ffn->down_bias || first->n != s->n_rows;
    int n = 1;
    while (!apart && first + n < end && n < MOST_TOGETHER && first[n].n == s->n_rows && first[n].ffn == first->ffn)
        n++;
    return n;
}

/* The i-th group of the sum: experts in order of their id, then the shared one, which stands before them. */
static const struct expert_group *summand(const struct moe_buffers *b, int i)
{
    return &b->groups[i + b->n_shared < b->n_groups ? i + b->n_shared : 0];
}

static void combine(struct worker *w)
{
    struct step *s = w->step;
    int d = s->model->shape.n_embd, panels = (d + PANEL_ROWS - 1) / PANEL_ROWS, first, last;
    while (worker_take_run(w, panels, DOWN_PANELS, &first, &last)) {
        int begin = first * PANEL_ROWS, end = last * PANEL_ROWS < d ? last * PANEL_ROWS : d;
        for (int r = 0; r < s->n_rows; r++)
            memset(s->y + (size_t) r * s->y_stride + begin, 0, (size_t) (end - begin) * sizeof(float));
        for (int i = 0, n; i < s->moe.n_groups; i += n) {
            const struct expert_group *here = summand(&s->moe, i);
            n = groups_together(s, here);
            const struct expert_group *then = summand(&s->moe, i + n < s->moe.n_groups ? i + n : 0);
            int panel = i + n < s->moe.n_groups ? first : last;
            const void *next = panel < panels ? weight_panel(&then->ffn->down, then->mat, panel) : NULL;
            add_groups(w, here, n, first, last, next);
        }
        lora_combine(w, first, last);
    }
}

void ffn_moe(struct worker *w, int layer, const struct add_norm *norm)
{
    struct step *s = w->step;
    route(w, &s->model->weights.layers[layer], norm);
    lora_before_hidden(w, true);
    ffn_gate_up(w, s->moe.groups, s->moe.n_groups);
    worker_sync(w);
    lora_before_combine(w);
    combine(w);
}
