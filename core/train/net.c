/*
 * net.c - a model's weights as training wants them: plain numbers
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/net.h"

#include "base/error.h"
#include "base/memory.h"
#include "model/weights.h"
#include "train/carve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_POSITIONS = 1 << 16 };

/* Runs twice, like everything that carves: to count, and to fill. */
struct loader {
    struct net *net;
    struct carve carve;
    float *row;             /* one row of floats */
    int layer;
};

static void copy_row(real *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (real) from[i];
}

static const real *load_values(struct loader *l, const struct weight *w)
{
    size_t rows = (size_t) w->n_mats * (size_t) w->n_out, n = (size_t) w->n_in;
    real *values = carve_real(&l->carve, rows, n);
    for (size_t r = 0; values && r < rows; r++) {
        dequantize_row(w->type, w->data + r * w->row_size, w->n_in, l->row);
        copy_row(values + r * n, l->row, n);
    }
    return values;
}

static const real *load_floats(struct loader *l, const float *from, size_t n)
{
    real *values = from ? carve_real(&l->carve, 1, n) : NULL;
    if (values)
        copy_row(values, from, n);
    return values;
}

static void name_tensor(const struct loader *l, const char *name, char full[LINEAR_NAME])
{
    if (l->layer >= 0)
        snprintf(full, LINEAR_NAME, "blk.%d.%s.weight", l->layer, name);
    else
        snprintf(full, LINEAR_NAME, "%s.weight", name);
}

static void load_linear(struct loader *l, const char *name, const struct weight *w, const float *bias,
                        struct linear *linear)
{
    if (w->n_mats == 0)
        return;
    *linear = (struct linear){.n_in = w->n_in, .n_out = w->n_out, .n_mats = w->n_mats, .w_at = LINEAR_FROZEN,
                              .a_at = LINEAR_FROZEN, .b_at = LINEAR_FROZEN};
    name_tensor(l, name, linear->name);
    linear->w = load_values(l, w);
    linear->bias = load_floats(l, bias, (size_t) w->n_out * (size_t) w->n_mats);
}

static void load_norm(struct loader *l, const char *name, const float *from, int n, struct norm *norm)
{
    if (!from)
        return;
    *norm = (struct norm){.n = n, .at = LINEAR_FROZEN};
    name_tensor(l, name, norm->name);
    norm->w = load_floats(l, from, (size_t) n);
}

static void load_mlp(struct loader *l, const char *suffix, const struct ffn_weights *f, struct mlp *mlp)
{
    char name[40];
    snprintf(name, sizeof name, "ffn_gate%s", suffix);
    load_linear(l, name, &f->gate, f->gate_bias, &mlp->gate);
    snprintf(name, sizeof name, "ffn_up%s", suffix);
    load_linear(l, name, &f->up, f->up_bias, &mlp->up);
    snprintf(name, sizeof name, "ffn_down%s", suffix);
    load_linear(l, name, &f->down, f->down_bias, &mlp->down);
}

static void load_layer(struct loader *l, struct layer *from)
{
    struct net *net = l->net;
    struct net_layer *to = &net->layers[l->layer];
    int d = net->shape.n_embd;
    load_norm(l, "attn_norm", from->attn_norm, d, &to->attn_norm);
    load_norm(l, "ffn_norm", from->ffn_norm, d, &to->ffn_norm);
    load_linear(l, "attn_q", &from->q, from->q_bias, &to->q);
    load_linear(l, "attn_k", &from->k, from->k_bias, &to->k);
    load_linear(l, "attn_v", &from->v, from->v_bias, &to->v);
    load_linear(l, "attn_output", &from->o, from->o_bias, &to->o);
    load_linear(l, "attn_q_a", &from->q_a, NULL, &to->q_a);
    load_linear(l, "attn_q_b", &from->q_b, NULL, &to->q_b);
    load_linear(l, "attn_kv_a_mqa", &from->kv_a, NULL, &to->kv_a);
    load_linear(l, "attn_k_b", &from->k_b, NULL, &to->k_b);
    load_linear(l, "attn_v_b", &from->v_b, NULL, &to->v_b);
    load_linear(l, "attn_kv_b", &from->kv_b, NULL, &to->kv_b);
    load_norm(l, "attn_q_a_norm", from->q_a_norm, net->shape.n_q_lora, &to->q_a_norm);
    load_norm(l, "attn_kv_a_norm", from->kv_a_norm, net->shape.n_kv_lora, &to->kv_a_norm);
    bool experts = from->router.n_mats > 0;
    load_mlp(l, experts ? "_exps" : "", &from->ffn, &to->ffn);
    load_mlp(l, "_shexp", &from->shared, &to->shared);
    load_linear(l, "ffn_gate_inp", &from->router, NULL, &to->router);
    to->gating = net->shape.router;
    to->n_used = net->shape.n_used;
    /* Taken over: the rest of the weights is closed. */
    if (l->carve.base) {
        to->select_bias = net->vectors[l->layer] = from->select_bias;
        from->select_bias = NULL;
    }
}

static void load_angles(struct loader *l, const struct rope *rope)
{
    struct net *net = l->net;
    size_t n = (size_t) rope->n_rot;
    net->cos_sin = carve_real(&l->carve, (size_t) net->n_positions, n);
    for (int p = 0; net->cos_sin && p < net->n_positions; p++)
        for (int i = 0; i < rope->n_rot / 2; i++) {
            double theta = p * rope->frequency[i];
            net->cos_sin[(size_t) p * n + 2 * (size_t) i] = (real) (cos(theta) * rope->magnitude);
            net->cos_sin[(size_t) p * n + 2 * (size_t) i + 1] = (real) (sin(theta) * rope->magnitude);
        }
}

static void load_all(struct loader *l, struct weights *w, const struct rope *rope)
{
    struct net *net = l->net;
    l->layer = NET_ALL_LAYERS;
    net->token_embd = load_values(l, &w->token_embd);
    load_norm(l, "output_norm", w->output_norm, net->shape.n_embd, &net->output_norm);
    net->tied = w->output.data == w->token_embd.data;
    if (!net->tied) {
        load_linear(l, "output", &w->output, NULL, &net->output);
    } else {
        net->output = (struct linear){.name = "token_embd.weight", .n_in = net->shape.n_embd,
                                      .n_out = net->shape.n_vocab, .n_mats = 1, .w = net->token_embd,
                                      .w_at = LINEAR_FROZEN, .a_at = LINEAR_FROZEN, .b_at = LINEAR_FROZEN};
    }
    for (l->layer = 0; l->layer < net->shape.n_layers; l->layer++)
        load_layer(l, &w->layers[l->layer]);
    load_angles(l, rope);
}

static dsr1_status check_graph(const struct model_shape *s, const struct weights *w, dsr1_error *err)
{
    const char *what = NULL;
    if (s->qk_norm != QK_NORM_NONE)
        what = "norms of queries and keys";
    else if (s->window || s->sinks || s->norm_before_ffn_renamed || s->activation != ACTIVATION_SWIGLU)
        what = "the layers of gpt-oss";
    else if (s->embedding_scale != 1 || s->residual_scale != 1 || s->logit_scale != 1)
        what = "granite's scales";
    for (int i = 0; i < w->n_layers && !what; i++) {
        const struct layer *l = &w->layers[i];
        if (l->shared_gate || l->router_bias)
            what = "a gate on the shared expert";
        if (l->router.n_mats > 0 && (l->ffn.gate_bias || l->ffn.up_bias || l->ffn.down_bias))
            what = "biases of experts";
    }
    return what ? error_set(err, DSR1_ERR_UNSUPPORTED, "training cannot do %s (architecture %s) yet", what,
                            s->architecture)
                : DSR1_OK;
}

static int widest(const struct model_shape *s)
{
    int all[] = {s->n_embd, s->n_ff, s->n_ff_expert, s->n_ff_shared, s->n_q_lora, s->n_kv_lora, s->n_nope,
                 s->n_heads * s->n_k, s->n_heads * s->n_v, s->n_heads * s->n_v_head};
    int most = 1;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        most = all[i] > most ? all[i] : most;
    return most;
}

static dsr1_status load(struct net *net, struct weights *weights, const struct rope *rope, dsr1_error *err)
{
    struct loader l = {.net = net, .row = memory_array((size_t) widest(&net->shape), sizeof(float))};
    if (!l.row)
        return error_nomem(err, "a row of weights");
    load_all(&l, weights, rope);
    net->block_size = l.carve.used;
    net->block = l.carve.failed ? NULL : memory_map(net->block_size);
    dsr1_status status = net->block ? DSR1_OK : error_nomem(err, "the weights for training");
    if (status == DSR1_OK) {
        l.carve = (struct carve){.base = net->block};
        load_all(&l, weights, rope);
    }
    free(l.row);
    return status;
}

dsr1_status net_open(const char *path, int n_positions, struct net *net, dsr1_error *err)
{
    struct weights weights = {0};
    struct rope rope = {0};
    *net = (struct net){.ops = vector_ops(), .n_positions = n_positions};
    if (n_positions < 1 || n_positions > MAX_POSITIONS)
        return error_set(err, DSR1_ERR_ARGUMENT, "sequences of %d tokens cannot be trained", n_positions);
    openblas_set_num_threads(1);
    dsr1_status status = gguf_open(path, &net->gguf, err);
    if (status == DSR1_OK)
        status = model_shape_read(net->gguf, &net->shape, err);
    if (status == DSR1_OK)
        status = weights_open(net->gguf, &net->shape, &weights, err);
    if (status == DSR1_OK)
        status = check_graph(&net->shape, &weights, err);
    if (status == DSR1_OK)
        status = rope_open(&net->shape.rope, weights.rope_factors, &rope, err);
    if (status == DSR1_OK) {
        net->layers = memory_array((size_t) net->shape.n_layers, sizeof *net->layers);
        net->vectors = memory_array((size_t) net->shape.n_layers, sizeof *net->vectors);
        status = net->layers && net->vectors ? load(net, &weights, &rope, err) : error_nomem(err, "the layers");
    }
    rope_close(&rope);
    weights_close(&weights);
    if (status != DSR1_OK)
        net_close(net);
    return status;
}

void net_close(struct net *net)
{
    for (int i = 0; net->vectors && i < net->shape.n_layers; i++)
        free(net->vectors[i]);
    free(net->vectors);
    free(net->layers);
    memory_unmap(net->block, net->block_size);
    gguf_close(net->gguf);
    *net = (struct net){0};
}

void net_each_linear(struct net *net, int layer, void (*fn)(struct linear *linear, void *user), void *user)
{
    int first = layer == NET_ALL_LAYERS ? 0 : layer, last = layer == NET_ALL_LAYERS ? net->shape.n_layers : layer + 1;
    for (int i = first; i < last; i++) {
        struct net_layer *l = &net->layers[i];
        struct linear *const all[] = {&l->q, &l->k, &l->v, &l->q_a, &l->q_b, &l->kv_a, &l->k_b, &l->v_b, &l->kv_b,
                                      &l->o, &l->router, &l->ffn.gate, &l->ffn.up, &l->ffn.down, &l->shared.gate,
                                      &l->shared.up, &l->shared.down};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            if (all[j]->n_mats > 0)
                fn(all[j], user);
    }
}
