/*
 * requantize.c - a model's matrices in smaller formats, rounded by what their rows look like
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/requantize.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "kernel/encode.h"
#include "kernel/kernel.h"
#include "train/gptq.h"
#include "train/stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_COLUMNS = 8192,
    MOST_PARTS = 4,             /* taken together: shared and routed gates and ups */
    LAYER_MATRICES = 10         /* q, k, v, o; gate, up and down of the shared expert and of the others */
};

/* A matrix of the layer at hand that gets a new format; more than one where l has many. */
struct part {
    struct linear *l;           /* of the rounded layer: w becomes back */
    enum tensor_type type;
    uint8_t *bytes;
    real *back;                 /* as the file will read */
};

struct requantizing {
    const struct requantize_options *options;
    const struct gguf *file;
    struct net net;
    struct thread_pool *pool;
    struct calibration text;
    int n;                      /* its tokens */
    struct stream given, rounded;
    struct net_layer layer;     /* the one at hand, rounded as far as we are */
    real *h, *y;                /* n x d */
    real *rows;                 /* n x what output or down matrices read */
    real **backs;               /* of the layer at hand */
    int n_backs;
    struct requantized *result;
    dsr1_error *err;
};

struct requantize_options requantize_defaults(void)
{
    return (struct requantize_options){.text = {.n_tokens = 24576, .seq = 256, .seed = 1}, .ridge = 0.02f};
}

/* ------------------------------------------------------------------ */
/* Opening                                                             */
/* ------------------------------------------------------------------ */

static int width_of(const struct requantizing *q)
{
    int width = q->net.shape.n_heads * q->net.shape.n_v;
    for (int i = 0; i < q->net.shape.n_layers; i++) {
        int hidden = stream_hidden_width(&q->net.layers[i]);
        width = hidden > width ? hidden : width;
    }
    return width;
}

static dsr1_status open_rows(struct requantizing *q)
{
    size_t n = (size_t) q->n, d = (size_t) q->net.shape.n_embd;
    int width = width_of(q);
    if (width > MOST_COLUMNS)
        return error_set(q->err, DSR1_ERR_LIMIT, "at most %d columns are rounded together, a layer has %d",
                         MOST_COLUMNS, width);
    q->h = memory_array(n * d, sizeof *q->h);
    q->y = memory_array(n * d, sizeof *q->y);
    q->rows = memory_array(n, (size_t) width * sizeof *q->rows);
    q->backs = memory_array(LAYER_MATRICES, sizeof *q->backs);
    q->result->tensors = memory_array((size_t) q->net.shape.n_layers * LAYER_MATRICES, sizeof *q->result->tensors);
    bool ok = q->h && q->y && q->rows && q->backs && q->result->tensors;
    return ok ? DSR1_OK : error_nomem(q->err, "calibration");
}

static dsr1_status open_all(struct requantizing *q, const char *path)
{
    const struct requantize_options *o = q->options;
    dsr1_status status = net_open(path, o->text.seq, &q->net, q->err);
    if (status == DSR1_OK && q->net.shape.attention != ATTENTION_GQA)
        status = error_set(q->err, DSR1_ERR_UNSUPPORTED, "models with latent attention are not rounded by data");
    if (status == DSR1_OK)
        status = calibration_open(q->net.gguf, &o->text, 2 * q->net.shape.n_embd, &q->text, q->err);
    q->n = q->text.n;
    if (status == DSR1_OK)
        status = thread_pool_open(o->threads > 0 ? o->threads : cpu_count(), &q->pool, q->err);
    struct stream *streams[] = {&q->given, &q->rounded};
    for (int i = 0; i < 2 && status == DSR1_OK; i++)
        status = stream_open(&q->net, q->pool, q->text.n_seqs, q->text.start, q->text.tokens, 0, streams[i], q->err);
    if (status == DSR1_OK)
        status = open_rows(q);
    return status;
}

static void leave_layer(struct requantizing *q)
{
    for (int i = 0; i < q->n_backs; i++)
        free(q->backs[i]);
    q->n_backs = 0;
}

static void close_all(struct requantizing *q)
{
    leave_layer(q);
    void *all[] = {q->h, q->y, q->rows, q->backs};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    stream_close(&q->given);
    stream_close(&q->rounded);
    thread_pool_close(q->pool);
    calibration_close(&q->text);
    net_close(&q->net);
}

/* ------------------------------------------------------------------ */
/* Parts                                                               */
/* ------------------------------------------------------------------ */

/* The matrices among these that change; their new bytes belong to the result, their new numbers to the layer. */
static dsr1_status take_parts(struct requantizing *q, struct linear *const *from, int n_from, struct part *parts,
                              int *n_parts)
{
    *n_parts = 0;
    for (int i = 0; i < n_from; i++) {
        struct linear *l = from[i];
        const struct gguf_tensor *t = l->n_mats > 0 ? gguf_find_tensor(q->file, l->name) : NULL;
        enum tensor_type type = t ? q->options->type_of(q->options->user, t) : TENSOR_F32;
        if (!t || type == t->type)
            continue;
        size_t n = (size_t) l->n_mats * (size_t) l->n_out;
        struct part part = {l, type, memory_array(n, tensor_type_row(type, (size_t) l->n_in)),
                            memory_array(n, (size_t) l->n_in * sizeof(real))};
        if (part.back)
            q->backs[q->n_backs++] = part.back;
        if (part.bytes)
            q->result->tensors[q->result->n++] = (struct requantized_tensor){t->name, part.bytes};
        if (!part.bytes || !part.back)
            return error_nomem(q->err, l->name);
        parts[(*n_parts)++] = part;
    }
    return DSR1_OK;
}

/* From its bytes the part's matrix becomes what the file will read. */
static dsr1_status read_back(struct requantizing *q, const struct part *p)
{
    size_t n_in = (size_t) p->l->n_in, n = (size_t) p->l->n_mats * (size_t) p->l->n_out;
    float *row = memory_array(n_in, sizeof *row);
    if (!row)
        return error_nomem(q->err, "a row");
    for (size_t r = 0; r < n; r++) {
        dequantize_row(p->type, p->bytes + r * tensor_type_row(p->type, n_in), (int) n_in, row);
        for (size_t i = 0; i < n_in; i++)
            p->back[r * n_in + i] = (real) row[i];
    }
    free(row);
    p->l->w = p->back;
    return DSR1_OK;
}

static dsr1_status round_to_nearest(struct requantizing *q, const struct part *p)
{
    size_t n_in = (size_t) p->l->n_in, n = (size_t) p->l->n_mats * (size_t) p->l->n_out;
    float *row = memory_array(n_in, sizeof *row);
    if (!row)
        return error_nomem(q->err, "a row");
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < n_in; i++)
            row[i] = (float) p->l->w[r * n_in + i];
        encode_row(p->type, row, (int) n_in, p->bytes + r * tensor_type_row(p->type, n_in));
    }
    free(row);
    return read_back(q, p);
}

/* ------------------------------------------------------------------ */
/* Matrices that read the same rows                                    */
/* ------------------------------------------------------------------ */

static dsr1_status round_alone(struct requantizing *q, const struct gptq *gptq, const struct part *p)
{
    if (!encode_has_grid(p->type))
        return round_to_nearest(q, p);
    size_t size = (size_t) p->l->n_out * (size_t) p->l->n_in, row = tensor_type_row(p->type, (size_t) p->l->n_in);
    double *w = memory_array(size, sizeof *w);
    if (!w)
        return error_nomem(q->err, p->l->name);
    for (int mat = 0; mat < p->l->n_mats; mat++) {
        const real *from = linear_w(p->l, mat);
        for (size_t i = 0; i < size; i++)
            w[i] = (double) from[i];
        gptq_round(gptq, q->pool, p->type, w, p->l->n_out, p->bytes + (size_t) mat * (size_t) p->l->n_out * row);
    }
    free(w);
    return read_back(q, p);
}

/* Experts are rounded for the rows of all, chosen or not: what one sees alone is too little. */
static dsr1_status round_readers(struct requantizing *q, struct linear *const *from, int n_from, const real *rows)
{
    struct part parts[MOST_PARTS];
    struct gram gram = {0};
    struct gptq gptq = {0};
    int n;
    dsr1_status status = take_parts(q, from, n_from, parts, &n);
    if (status != DSR1_OK || n == 0)
        return status;
    status = gram_open(parts[0].l->n_in, 1, &gram, q->err);
    if (status == DSR1_OK) {
        gram_add_xx(&gram, q->pool, rows, q->n, 1);
        status = gptq_open(&gram, (double) q->options->ridge, &gptq, q->err);
    }
    for (int i = 0; i < n && status == DSR1_OK; i++)
        status = round_alone(q, &gptq, &parts[i]);
    gptq_close(&gptq);
    gram_close(&gram);
    return status;
}

/* ------------------------------------------------------------------ */
/* Matrices whose products add up                                      */
/* ------------------------------------------------------------------ */

/* The matrices of all parts side by side, d x width. */
static void put_together(const struct part *parts, int n, int width, real *w)
{
    int column = 0;
    for (int i = 0; i < n; i++)
        for (int mat = 0; mat < parts[i].l->n_mats; mat++) {
            const struct linear *l = parts[i].l;
            for (int r = 0; r < l->n_out; r++)
                memcpy(w + (size_t) r * (size_t) width + (size_t) column,
                       linear_w(l, mat) + (size_t) r * (size_t) l->n_in, (size_t) l->n_in * sizeof *w);
            column += l->n_in;
        }
}

static void take_apart(const struct part *parts, int n, int width, const uint8_t *bytes)
{
    size_t column = 0, whole = tensor_type_row(parts[0].type, (size_t) width);
    for (int i = 0; i < n; i++) {
        const struct linear *l = parts[i].l;
        size_t row = tensor_type_row(parts[i].type, (size_t) l->n_in);
        for (int mat = 0; mat < l->n_mats; mat++, column += row)
            for (int r = 0; r < l->n_out; r++)
                memcpy(parts[i].bytes + ((size_t) mat * (size_t) l->n_out + (size_t) r) * row,
                       bytes + (size_t) r * whole + column, row);
    }
}

/* What the rounded stream lacks, from rows that are weighed like it; then rounding by the same moments. */
static dsr1_status solve_and_round(struct requantizing *q, const struct part *parts, int n, int width)
{
    size_t d = (size_t) q->net.shape.n_embd, size = d * (size_t) width;
    struct gram gram = {0};
    struct gptq gptq = {0};
    real *w = memory_array(size, sizeof *w);
    double *wide = memory_array(size, sizeof *wide);
    uint8_t *bytes = memory_array(d, tensor_type_row(parts[0].type, (size_t) width));
    dsr1_status status = w && wide && bytes ? gram_open(width, q->net.shape.n_embd, &gram, q->err)
                                            : error_nomem(q->err, "a layer's matrices");
    if (status == DSR1_OK) {
        put_together(parts, n, width, w);
        gram_add_xx(&gram, q->pool, q->rows, q->n, 1);
        gram_add_xy(&gram, q->pool, q->rows, q->y, q->n, 1);
        status = gptq_open(&gram, (double) q->options->ridge, &gptq, q->err);
    }
    if (status == DSR1_OK)
        status = gram_solve(&gram, w, w, q->err);
    if (status == DSR1_OK) {
        for (size_t i = 0; i < size; i++)
            wide[i] = (double) w[i];
        gptq_round(&gptq, q->pool, parts[0].type, wide, (int) d, bytes);
        take_apart(parts, n, width, bytes);
    }
    gptq_close(&gptq);
    gram_close(&gram);
    free(w);
    free(wide);
    free(bytes);
    for (int i = 0; i < n && status == DSR1_OK; i++)
        status = read_back(q, &parts[i]);
    return status;
}

/* y = weight (given - rounded), rows *= weight: an error counts by the stream's size, by which the next norm divides. */
static void weigh(struct requantizing *q, int width)
{
    size_t d = (size_t) q->net.shape.n_embd;
    for (size_t r = 0; r < (size_t) q->n; r++) {
        const real *x = q->given.x + r * d;
        real weight = (real) (1 / sqrt((double) q->net.ops->dot(x, x, d) / (double) d + 1e-9));
        for (size_t i = 0; i < d; i++)
            q->y[r * d + i] = weight * (x[i] - q->rounded.x[r * d + i]);
        for (size_t i = 0; i < (size_t) width; i++)
            q->rows[r * (size_t) width + i] *= weight;
    }
}

/* q->rows is what they read; the given stream is ahead by what they are to write. */
static dsr1_status round_writers(struct requantizing *q, struct linear *const *from, int n_from, int width)
{
    struct part parts[MOST_PARTS];
    int n, columns = 0;
    dsr1_status status = take_parts(q, from, n_from, parts, &n);
    bool together = n > 0;
    for (int i = 0; i < n; i++) {
        columns += parts[i].l->n_in * parts[i].l->n_mats;
        together = together && parts[i].type == parts[0].type && encode_has_grid(parts[i].type);
    }
    if (status == DSR1_OK && together && columns == width) {
        weigh(q, width);
        return solve_and_round(q, parts, n, width);
    }
    for (int i = 0; i < n && status == DSR1_OK; i++)
        status = round_to_nearest(q, &parts[i]);
    return status;
}

/* ------------------------------------------------------------------ */
/* A layer, and all                                                    */
/* ------------------------------------------------------------------ */

static dsr1_status round_attention(struct requantizing *q, const struct net_layer *given)
{
    struct net_layer *l = &q->layer;
    stream_norm(&q->rounded, &l->attn_norm, q->h);
    dsr1_status status = round_readers(q, (struct linear *const[]){&l->q, &l->k, &l->v}, 3, q->h);
    if (status == DSR1_OK)
        status = stream_heads(&q->rounded, l, q->rows, q->err);
    if (status == DSR1_OK)
        status = stream_attention(&q->given, given, q->err);
    if (status == DSR1_OK)
        status = round_writers(q, (struct linear *const[]){&l->o}, 1, q->net.shape.n_heads * q->net.shape.n_v);
    return status == DSR1_OK ? stream_attention(&q->rounded, l, q->err) : status;
}

static dsr1_status round_ffn(struct requantizing *q, const struct net_layer *given)
{
    struct net_layer *l = &q->layer;
    stream_norm(&q->given, &given->ffn_norm, q->h);
    dsr1_status status = stream_ffn(&q->given, given, NULL, q->h, q->y, q->err);
    if (status != DSR1_OK)
        return status;
    stream_add(&q->given, q->y);
    stream_norm(&q->rounded, &l->ffn_norm, q->h);
    struct linear *const readers[] = {&l->shared.gate, &l->shared.up, &l->ffn.gate, &l->ffn.up};
    status = round_readers(q, readers, 4, q->h);
    if (status == DSR1_OK)
        status = stream_hidden(&q->rounded, l, q->h, q->rows, q->err);
    if (status == DSR1_OK)
        status = round_writers(q, (struct linear *const[]){&l->shared.down, &l->ffn.down}, 2, stream_hidden_width(l));
    if (status == DSR1_OK)
        status = stream_ffn(&q->rounded, l, NULL, q->h, q->y, q->err);
    if (status == DSR1_OK)
        stream_add(&q->rounded, q->y);
    return status;
}

static dsr1_status round_layer(struct requantizing *q, int index)
{
    const struct net_layer *given = &q->net.layers[index];
    q->layer = *given;
    dsr1_status status = round_attention(q, given);
    if (status == DSR1_OK)
        status = round_ffn(q, given);
    leave_layer(q);
    if (status == DSR1_OK && q->options->progress)
        q->options->progress(q->options->user, index, q->net.shape.n_layers);
    return status;
}

dsr1_status requantize(const char *path, const struct gguf *file, const struct requantize_options *options,
                       struct requantized *result, dsr1_error *err)
{
    struct requantizing q = {.options = options, .file = file, .result = result, .err = err};
    *result = (struct requantized){0};
    dsr1_status status = open_all(&q, path);
    for (int i = 0; i < q.net.shape.n_layers && status == DSR1_OK; i++)
        status = round_layer(&q, i);
    if (status == DSR1_OK)
        status = stream_loss(&q.given, &result->before, err);
    if (status == DSR1_OK)
        status = stream_loss(&q.rounded, &result->after, err);
    result->n_tokens = q.n;
    close_all(&q);
    return status;
}

void requantized_free(struct requantized *result)
{
    for (int i = 0; i < result->n; i++)
        free(result->tensors[i].bytes);
    free(result->tensors);
    *result = (struct requantized){0};
}

const uint8_t *requantized_find(const struct requantized *result, const char *name)
{
    for (int i = 0; i < result->n; i++)
        if (strcmp(result->tensors[i].name, name) == 0)
            return result->tensors[i].bytes;
    return NULL;
}
