/*
 * upcycle.c - a dense llama model into DeepSeekMoE form
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/upcycle.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "kernel/encode.h"
#include "kernel/kernel.h"
#include "train/calibration.h"
#include "train/gram.h"
#include "train/stream.h"
#include "train/upcycle_write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HIDDEN_ROWS = 256 };

static const real largest_logit = (real) 0.001;

struct upcycling {
    const struct upcycle_options *options;
    struct upcycled_shape shape;
    struct net net;
    struct thread_pool *pool;
    struct calibration text;
    int n;                      /* its tokens */
    struct stream dense, experts;       /* experts: only with refit */
    struct upcycled_layer *layers;
    struct net_layer layer;     /* the one at hand, in its new form */
    real *h, *y;                /* n x d */
    real *a, *masked;           /* n x n_ff */
    real *weight;               /* n: the root of how much a row's error counts */
    real *mask, *scores;        /* n x n_experts */
    real *gate, *up, *down;     /* permuted; down d x n_ff in the dense order */
    real *exps, *shared;        /* down of the new layer, as it will be read back */
    dsr1_error *err;
};

struct upcycle_options upcycle_defaults(void)
{
    return (struct upcycle_options){.n_tokens = 24576, .seq = 256, .n_slices = 24, .n_shared = 8, .n_used = 8,
                                    .grain = 1, .rounds = 4, .epochs = 12, .ridge = 0.02f, .all_share = 0.1f,
                                    .down_type = TENSOR_Q8_0, .fim_order = "psm", .seed = 1};
}

/* ------------------------------------------------------------------ */
/* Opening                                                             */
/* ------------------------------------------------------------------ */

static dsr1_status check_model(const struct upcycling *u)
{
    const struct model_shape *s = &u->net.shape;
    if (strcmp(s->architecture, "llama") != 0)
        return error_set(u->err, DSR1_ERR_UNSUPPORTED, "only llama models can be upcycled, not %s", s->architecture);
    for (int i = 0; i < s->n_layers; i++) {
        const struct net_layer *l = &u->net.layers[i];
        if (net_has_experts(l) || l->ffn.gate.n_mats != 1 || l->ffn.up.bias || l->ffn.gate.bias || l->ffn.down.bias)
            return error_set(u->err, DSR1_ERR_UNSUPPORTED, "layer %d is not a plain dense one", i);
    }
    return DSR1_OK;
}

/* Are the down matrices' rows whole blocks, and blocks that may be copied? */
static dsr1_status check_down(struct upcycling *u, int width)
{
    const struct upcycle_options *o = u->options;
    bool copied = o->down_type < 0;
    const struct gguf_tensor *t = gguf_find_tensor(u->net.gguf, u->net.layers[0].ffn.down.name);
    u->shape.down_type = copied ? t->type : (enum tensor_type) o->down_type;
    int block = tensor_type_block(u->shape.down_type);
    if (width % o->grain != 0 || width % block != 0)
        return error_set(u->err, DSR1_ERR_ARGUMENT, "experts of %d neurons are no whole grains of %d or blocks of %s", width,
                         o->grain, tensor_type_name(u->shape.down_type));
    if (copied && (o->refit || o->grain % block != 0))
        return error_set(u->err, DSR1_ERR_ARGUMENT, "down matrices can be copied without refit and in grains of %d only",
                         block);
    for (int i = 0; i < u->shape.n_layers && copied; i++)
        if (gguf_find_tensor(u->net.gguf, u->net.layers[i].ffn.down.name)->type != u->shape.down_type)
            return error_set(u->err, DSR1_ERR_UNSUPPORTED, "down matrices of several formats cannot be copied");
    return DSR1_OK;
}

static dsr1_status check_shape(struct upcycling *u)
{
    const struct upcycle_options *o = u->options;
    int n_ff = u->net.layers[0].ffn.up.n_out;
    if (o->n_slices < 2 || n_ff % o->n_slices != 0)
        return error_set(u->err, DSR1_ERR_ARGUMENT, "%d neurons cannot be cut into %d slices", n_ff, o->n_slices);
    if (o->n_shared < 0 || o->n_shared > o->n_slices - 2)
        return error_set(u->err, DSR1_ERR_ARGUMENT, "%d shared of %d slices", o->n_shared, o->n_slices);
    int width = n_ff / o->n_slices;
    u->shape = (struct upcycled_shape){.n_layers = u->net.shape.n_layers, .d = u->net.shape.n_embd, .n_ff = n_ff,
                                       .n_shared = o->n_shared * width, .n_experts = o->n_slices - o->n_shared,
                                       .width = width};
    int most = o->n_default > o->n_used ? o->n_default : o->n_used;
    if (o->n_used < 1 || most > u->shape.n_experts)
        return error_set(u->err, DSR1_ERR_ARGUMENT, "%d of %d experts", most, u->shape.n_experts);
    return check_down(u, width);
}

static dsr1_status open_rows(struct upcycling *u)
{
    size_t n = (size_t) u->n, d = (size_t) u->shape.d, ff = (size_t) u->shape.n_ff, ne = (size_t) u->shape.n_experts;
    u->h = memory_array(n * d, sizeof *u->h);
    u->y = memory_array(n * d, sizeof *u->y);
    u->a = memory_array(n * ff, sizeof *u->a);
    u->masked = memory_array(n * ff, sizeof *u->masked);
    u->weight = memory_array(n, sizeof *u->weight);
    u->mask = memory_array(n * ne, sizeof *u->mask);
    u->scores = memory_array(n * ne, sizeof *u->scores);
    u->gate = memory_array(ff * d, sizeof *u->gate);
    u->up = memory_array(ff * d, sizeof *u->up);
    u->down = memory_array(ff * d, sizeof *u->down);
    u->exps = memory_array(ff * d, sizeof *u->exps);
    u->shared = u->exps + ne * (size_t) u->shape.width * d;
    u->layers = memory_array((size_t) u->shape.n_layers, sizeof *u->layers);
    bool ok = u->h && u->y && u->a && u->masked && u->weight && u->mask && u->scores && u->gate && u->up && u->down &&
              u->exps && u->layers;
    return ok ? DSR1_OK : error_nomem(u->err, "calibration");
}

static dsr1_status open_all(struct upcycling *u, const char *from)
{
    const struct upcycle_options *o = u->options;
    dsr1_status status = net_open(from, o->seq, &u->net, u->err);
    if (status == DSR1_OK)
        status = check_model(u);
    if (status == DSR1_OK)
        status = check_shape(u);
    if (status == DSR1_OK)
        status = calibration_open(u->net.gguf, &(struct calibration_options){o->data, o->n_data, o->n_tokens, o->seq,
                                                                            o->seed}, 2 * u->shape.d, &u->text, u->err);
    u->n = u->text.n;
    if (status == DSR1_OK)
        status = thread_pool_open(o->threads > 0 ? o->threads : cpu_count(), &u->pool, u->err);
    if (status == DSR1_OK)
        status = stream_open(&u->net, u->pool, u->text.n_seqs, u->text.start, u->text.tokens, 0, &u->dense, u->err);
    if (status == DSR1_OK && o->refit)
        status = stream_open(&u->net, u->pool, u->text.n_seqs, u->text.start, u->text.tokens, 0, &u->experts, u->err);
    if (status == DSR1_OK)
        status = open_rows(u);
    return status;
}

static void close_all(struct upcycling *u)
{
    for (int i = 0; u->layers && i < u->shape.n_layers; i++) {
        free(u->layers[i].order);
        free(u->layers[i].router);
        free(u->layers[i].down);
        free(u->layers[i].down_shared);
    }
    void *all[] = {u->layers, u->h, u->y, u->a, u->masked, u->weight, u->mask, u->scores, u->gate, u->up, u->down,
                   u->exps};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    stream_close(&u->dense);
    stream_close(&u->experts);
    thread_pool_close(u->pool);
    calibration_close(&u->text);
    net_close(&u->net);
}

/* ------------------------------------------------------------------ */
/* Rows of one layer                                                   */
/* ------------------------------------------------------------------ */

struct hidden_task {
    struct upcycling *u;
    const struct net_layer *layer;
    real *room;                 /* per thread: 2 x HIDDEN_ROWS x n_ff */
};

/* a = weight silu(gate h) up h */
static void hidden_rows(void *context, int thread, int n_threads)
{
    const struct hidden_task *t = context;
    struct upcycling *u = t->u;
    int d = u->shape.d, ff = u->shape.n_ff;
    real *gate = t->room + (size_t) thread * 2 * HIDDEN_ROWS * (size_t) ff, *up = gate + HIDDEN_ROWS * (size_t) ff;
    for (int first = thread * HIDDEN_ROWS; first < u->n; first += n_threads * HIDDEN_ROWS) {
        int n = u->n - first < HIDDEN_ROWS ? u->n - first : HIDDEN_ROWS;
        const real *h = u->h + (size_t) first * (size_t) d;
        real *a = u->a + (size_t) first * (size_t) ff;
        real_gemm_nt(n, ff, d, 1, h, d, t->layer->ffn.gate.w, d, 0, gate, ff);
        real_gemm_nt(n, ff, d, 1, h, d, t->layer->ffn.up.w, d, 0, up, ff);
        u->net.ops->swiglu(gate, up, (size_t) n * (size_t) ff, a);
        for (int r = 0; r < n; r++)
            for (int j = 0; j < ff; j++)
                a[(size_t) r * (size_t) ff + (size_t) j] *= u->weight[first + r];
    }
}

static dsr1_status hidden(struct upcycling *u, const struct net_layer *layer)
{
    struct hidden_task task = {.u = u, .layer = layer};
    task.room = memory_array((size_t) thread_pool_size(u->pool) * 2 * HIDDEN_ROWS, (size_t) u->shape.n_ff * sizeof(real));
    if (!task.room)
        return error_nomem(u->err, "hidden rows");
    thread_pool_run(u->pool, hidden_rows, &task);
    free(task.room);
    return DSR1_OK;
}

/* An error of a row counts by the size of its residual stream, which the next norm divides by. */
static void weigh_rows(struct upcycling *u)
{
    size_t d = (size_t) u->shape.d;
    for (int r = 0; r < u->n; r++) {
        const real *x = u->dense.x + (size_t) r * d;
        double squares = (double) u->net.ops->dot(x, x, d) / (double) d;
        u->weight[r] = (real) (1 / sqrt(squares + 1e-9));
    }
}

/* Router scores to logits of at most largest_logit, and the choice that they make. */
static void settle_router(struct upcycling *u, struct upcycled_layer *l)
{
    const struct upcycled_shape *s = &u->shape;
    real most = 0;
    size_t pairs = (size_t) u->n * (size_t) s->n_experts;
    real_gemm_nt(u->n, s->n_experts, s->d, 1, u->h, s->d, l->router, s->d, 0, u->scores, s->n_experts);
    for (size_t i = 0; i < pairs; i++)
        most = (real) fmax((double) most, fabs((double) u->scores[i]));
    for (size_t i = 0; i < (size_t) s->n_experts * (size_t) s->d && most > 0; i++)
        l->router[i] *= largest_logit / most;
    split_choose(u->scores, u->n, s->n_experts, u->options->n_used, u->mask);
}

static void mask_rows(struct upcycling *u, const int *order)
{
    const struct upcycled_shape *s = &u->shape;
    size_t ff = (size_t) s->n_ff, ne = (size_t) s->n_experts;
    memcpy(u->masked, u->a, (size_t) u->n * ff * sizeof *u->a);
    for (size_t r = 0; r < (size_t) u->n; r++)
        for (size_t e = 0; e < ne; e++) {
            const int *members = order + s->n_shared + e * (size_t) s->width;
            for (int c = 0; c < s->width && u->mask[r * ne + e] == 0; c++)
                u->masked[r * ff + (size_t) members[c]] = 0;
        }
}

/* u->down so that the chosen neurons turn the experts' stream into the dense one. */
static dsr1_status refit(struct upcycling *u, const int *order)
{
    const struct upcycled_shape *s = &u->shape;
    size_t d = (size_t) s->d;
    double all = (double) u->options->all_share;
    struct gram gram;
    dsr1_status status = gram_open(s->n_ff, s->d, &gram, u->err);
    if (status != DSR1_OK)
        return status;
    for (size_t r = 0; r < (size_t) u->n; r++)
        for (size_t c = 0; c < d; c++)
            u->y[r * d + c] = u->weight[r] * (u->dense.x[r * d + c] - u->experts.x[r * d + c]);
    mask_rows(u, order);
    gram_add_xx(&gram, u->pool, u->masked, u->n, 1 - all);
    gram_add_xy(&gram, u->pool, u->masked, u->y, u->n, 1 - all);
    if (all > 0) {
        gram_add_xx(&gram, u->pool, u->a, u->n, all);
        gram_add_xy(&gram, u->pool, u->a, u->y, u->n, all);
    }
    status = gram_factor(&gram, (double) u->options->ridge, u->err);
    if (status == DSR1_OK)
        status = gram_solve(&gram, u->down, u->down, u->err);
    gram_close(&gram);
    return status;
}

/* Whole blocks of the dense file's rows, in the order of neurons. */
static void copy_down(struct upcycling *u, int layer, const int *order, int n, uint8_t *bytes)
{
    const struct gguf_tensor *t = gguf_find_tensor(u->net.gguf, u->net.layers[layer].ffn.down.name);
    size_t block = (size_t) tensor_type_block(t->type), size = tensor_type_size(t->type);
    size_t row = tensor_type_row(t->type, (size_t) u->shape.n_ff);
    for (size_t r = 0; r < (size_t) u->shape.d; r++)
        for (size_t i = 0; i < (size_t) n; i += block, bytes += size)
            memcpy(bytes, t->data + r * row + (size_t) order[i] / block * size, size);
}

/* Rows of n neurons named by order, from u->down: encoded, and as they read back. */
static dsr1_status encode_down(struct upcycling *u, const int *order, int n, uint8_t *bytes, real *back)
{
    size_t size = tensor_type_row(u->shape.down_type, (size_t) n);
    float *row = memory_array((size_t) n, sizeof *row);
    dsr1_status status = row ? DSR1_OK : error_nomem(u->err, "a row");
    for (int r = 0; r < u->shape.d && status == DSR1_OK; r++) {
        for (int i = 0; i < n; i++)
            row[i] = (float) u->down[(size_t) r * (size_t) u->shape.n_ff + (size_t) order[i]];
        encode_row(u->shape.down_type, row, n, bytes + (size_t) r * size);
        dequantize_row(u->shape.down_type, bytes + (size_t) r * size, n, row);
        for (int i = 0; i < n; i++)
            back[(size_t) r * (size_t) n + (size_t) i] = (real) row[i];
    }
    free(row);
    return status;
}

static dsr1_status encode_layer(struct upcycling *u, int layer)
{
    struct upcycled_layer *l = &u->layers[layer];
    const struct upcycled_shape *s = &u->shape;
    size_t row = tensor_type_row(u->shape.down_type, (size_t) s->width), d = (size_t) s->d, w = (size_t) s->width;
    dsr1_status status = DSR1_OK;
    l->down = memory_array((size_t) s->n_experts * d, row);
    l->down_shared = s->n_shared ? memory_array(d, tensor_type_row(u->shape.down_type, (size_t) s->n_shared)) : NULL;
    if (!l->down || (s->n_shared && !l->down_shared))
        return error_nomem(u->err, "a layer's matrices");
    if (u->options->down_type < 0) {
        for (int e = 0; e < s->n_experts; e++)
            copy_down(u, layer, l->order + s->n_shared + e * s->width, s->width, l->down + (size_t) e * d * row);
        copy_down(u, layer, l->order, s->n_shared, l->down_shared);
        return DSR1_OK;
    }
    for (int e = 0; e < s->n_experts && status == DSR1_OK; e++)
        status = encode_down(u, l->order + s->n_shared + e * s->width, s->width, l->down + (size_t) e * d * row,
                             u->exps + (size_t) e * d * w);
    if (status == DSR1_OK && s->n_shared)
        status = encode_down(u, l->order, s->n_shared, l->down_shared, u->shared);
    return status;
}

static void permute(const real *from, const int *order, int n, int d, real *to)
{
    for (int i = 0; i < n; i++)
        memcpy(to + (size_t) i * (size_t) d, from + (size_t) order[i] * (size_t) d, (size_t) d * sizeof *to);
}

static struct linear matrix(const real *w, int n_in, int n_out, int n_mats)
{
    return (struct linear){.n_in = n_in, .n_out = n_out, .n_mats = n_mats, .w = w, .w_at = LINEAR_FROZEN,
                           .a_at = LINEAR_FROZEN, .b_at = LINEAR_FROZEN};
}

/* The layer as its file will be read. */
static void build_layer(struct upcycling *u, const struct net_layer *dense, const struct upcycled_layer *l)
{
    const struct upcycled_shape *s = &u->shape;
    size_t first = (size_t) s->n_shared * (size_t) s->d;
    permute(dense->ffn.gate.w, l->order, s->n_ff, s->d, u->gate);
    permute(dense->ffn.up.w, l->order, s->n_ff, s->d, u->up);
    u->layer = *dense;
    u->layer.ffn = (struct mlp){matrix(u->gate + first, s->d, s->width, s->n_experts),
                                matrix(u->up + first, s->d, s->width, s->n_experts),
                                matrix(u->exps, s->width, s->d, s->n_experts)};
    u->layer.shared = (struct mlp){.gate = {.n_mats = 0}};
    if (s->n_shared)
        u->layer.shared = (struct mlp){matrix(u->gate, s->d, s->n_shared, 1), matrix(u->up, s->d, s->n_shared, 1),
                                       matrix(u->shared, s->n_shared, s->d, 1)};
    u->layer.router = matrix(l->router, s->d, s->n_experts, 1);
    u->layer.select_bias = NULL;
    u->layer.gating = (struct router_shape){.gating = GATING_SOFTMAX, .scale = (float) s->n_experts};
    u->layer.n_used = u->options->n_used;
}

/* ------------------------------------------------------------------ */
/* A layer, and all                                                    */
/* ------------------------------------------------------------------ */

static dsr1_status split(struct upcycling *u, int index, struct split_report *report)
{
    const struct upcycle_options *o = u->options;
    const struct upcycled_shape *s = &u->shape;
    const struct net_layer *layer = &u->net.layers[index];
    struct upcycled_layer *l = &u->layers[index];
    struct split_problem p = {.n = u->n, .d = s->d, .n_ff = s->n_ff, .n_shared = s->n_shared,
                              .n_experts = s->n_experts, .width = s->width, .grain = o->grain, .n_used = o->n_used, .h = u->h, .a = u->a,
                              .gate = layer->ffn.gate.w, .down = layer->ffn.down.w, .rounds = o->rounds,
                              .epochs = o->epochs, .seed = o->seed + (uint64_t) index, .ops = u->net.ops,
                              .pool = u->pool};
    l->order = memory_array((size_t) s->n_ff, sizeof *l->order);
    l->router = memory_array((size_t) s->n_experts * (size_t) s->d, sizeof *l->router);
    if (!l->order || !l->router)
        return error_nomem(u->err, "a layer's experts");
    dsr1_status status = split_layer(&p, l->order, l->router, report, u->err);
    if (status == DSR1_OK)
        settle_router(u, l);
    return status;
}

/* The dense stream goes ahead; u->h becomes the input of the layer to split, of the stream that it will see. */
static dsr1_status enter(struct upcycling *u, const struct net_layer *layer)
{
    dsr1_status status = stream_attention(&u->dense, layer, u->err);
    if (status == DSR1_OK && u->options->refit)
        status = stream_attention(&u->experts, layer, u->err);
    if (status != DSR1_OK)
        return status;
    stream_norm(&u->dense, &layer->ffn_norm, u->h);
    status = stream_ffn(&u->dense, layer, NULL, u->h, u->y, u->err);
    if (status != DSR1_OK)
        return status;
    stream_add(&u->dense, u->y);
    weigh_rows(u);
    if (u->options->refit)
        stream_norm(&u->experts, &layer->ffn_norm, u->h);
    return hidden(u, layer);
}

static dsr1_status upcycle_layer(struct upcycling *u, int index)
{
    const struct net_layer *layer = &u->net.layers[index];
    struct split_report report = {0};
    dsr1_status status = enter(u, layer);
    if (status == DSR1_OK)
        status = split(u, index, &report);
    memcpy(u->down, layer->ffn.down.w, (size_t) u->shape.n_ff * (size_t) u->shape.d * sizeof *u->down);
    if (status == DSR1_OK && u->options->refit)
        status = refit(u, u->layers[index].order);
    if (status == DSR1_OK)
        status = encode_layer(u, index);
    if (status == DSR1_OK && u->options->refit) {
        build_layer(u, layer, &u->layers[index]);
        status = stream_ffn(&u->experts, &u->layer, NULL, u->h, u->y, u->err);
        if (status == DSR1_OK)
            stream_add(&u->experts, u->y);
    }
    if (status == DSR1_OK && u->options->progress)
        u->options->progress(u->options->user, index, u->shape.n_layers, &report);
    return status;
}

dsr1_status upcycle_file(const char *from, const char *to, const struct upcycle_options *options,
                         struct upcycle_result *result, dsr1_error *err)
{
    struct upcycling u = {.options = options, .err = err};
    *result = (struct upcycle_result){0};
    dsr1_status status = open_all(&u, from);
    for (int i = 0; status == DSR1_OK && i < u.shape.n_layers; i++)
        status = upcycle_layer(&u, i);
    if (status == DSR1_OK)
        status = stream_loss(&u.dense, &result->dense, err);
    if (status == DSR1_OK && options->refit)
        status = stream_loss(&u.experts, &result->experts, err);
    if (status == DSR1_OK)
        status = upcycle_write(u.net.gguf, to, options, &u.shape, u.layers, err);
    result->n_tokens = u.n;
    close_all(&u);
    return status;
}
