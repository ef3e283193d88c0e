/*
 * weights.c - the tensors of a model, each in its place
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/weights.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/size.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct binder {
    const struct gguf *gguf;
    const struct model_shape *shape;
    const struct gguf_tensor **bound;   /* each tensor that the graph has asked for */
    size_t n_bound;
    int layer;                          /* names get "blk.N." in front; -1: none */
    void **split;                       /* weights->split */
    dsr1_error *err;
    dsr1_status status;
};

static void full_name(const struct binder *b, const char *name, char full[96])
{
    if (b->layer >= 0)
        snprintf(full, 96, "blk.%d.%s", b->layer, name);
    else
        snprintf(full, 96, "%s", name);
}

static const struct gguf_tensor *find(struct binder *b, const char *name, char full[96])
{
    full_name(b, name, full);
    if (b->status != DSR1_OK)
        return NULL;
    const struct gguf_tensor *tensor = gguf_find_tensor(b->gguf, full);
    if (tensor)
        b->bound[b->n_bound++] = tensor;
    return tensor;
}

static bool exists(struct binder *b, const char *name)
{
    char full[96];
    full_name(b, name, full);
    return gguf_find_tensor(b->gguf, full) != NULL;
}

static void missing(struct binder *b, const char *name)
{
    if (b->status == DSR1_OK)
        b->status = error_set(b->err, DSR1_ERR_FORMAT, "tensor %s is missing", name);
}

static bool check_shape(struct binder *b, const struct gguf_tensor *t, int64_t n0, int64_t n1, int64_t n2)
{
    if (t->ne[0] == n0 && t->ne[1] == n1 && t->ne[2] == n2 && t->ne[3] == 1)
        return true;
    b->status = error_set(b->err, DSR1_ERR_FORMAT,
                          "tensor %s is %lld x %lld x %lld, the model's shape wants %lld x %lld x %lld", t->name,
                          (long long) t->ne[0], (long long) t->ne[1], (long long) t->ne[2], (long long) n0,
                          (long long) n1, (long long) n2);
    return false;
}

static struct weight view(const struct gguf_tensor *t, int64_t first_row, int64_t n_rows)
{
    size_t row_size = tensor_type_row(t->type, (size_t) t->ne[0]);
    return (struct weight){.type = t->type, .n_in = (int) t->ne[0], .n_out = (int) n_rows, .n_mats = (int) t->ne[2],
                           .row_size = row_size, .data = t->data + (size_t) first_row * row_size};
}

static bool matrix_optional(struct binder *b, const char *name, int n_in, int n_out, int n_mats, struct weight *w)
{
    char full[96];
    const struct gguf_tensor *t = find(b, name, full);
    if (!t || !check_shape(b, t, n_in, n_out, n_mats))
        return false;
    *w = view(t, 0, n_out);
    return true;
}

static void matrix(struct binder *b, const char *name, int n_in, int n_out, int n_mats, struct weight *w)
{
    char full[96];
    full_name(b, name, full);
    if (!matrix_optional(b, name, n_in, n_out, n_mats, w))
        missing(b, full);
}

/* A vector of n floats, or n_rows of them; NULL (and no error) when the file has none. */
static float *vector_optional(struct binder *b, const char *name, int n, int n_rows)
{
    char full[96];
    const struct gguf_tensor *t = find(b, name, full);
    if (!t || !check_shape(b, t, n, n_rows, 1))
        return NULL;
    float *values = memory_array((size_t) n * (size_t) n_rows, sizeof *values);
    if (!values) {
        b->status = error_nomem(b->err, full);
        return NULL;
    }
    size_t row_size = tensor_type_row(t->type, (size_t) n);
    for (int r = 0; r < n_rows; r++)
        dequantize_row(t->type, t->data + (size_t) r * row_size, n, values + (size_t) r * (size_t) n);
    return values;
}

static float *vector(struct binder *b, const char *name, int n)
{
    char full[96];
    float *values = vector_optional(b, name, n, 1);
    if (!values) {
        full_name(b, name, full);
        missing(b, full);
    }
    return values;
}

/* Some converters store q, k and v as one tensor: three views of its rows. */
static void bind_fused_qkv(struct binder *b, struct layer *l, int n_q, int n_k, int n_v)
{
    char full[96];
    const struct gguf_tensor *t = find(b, "attn_qkv.weight", full);
    if (!t || !check_shape(b, t, b->shape->n_embd, n_q + n_k + n_v, 1))
        return;
    l->q = view(t, 0, n_q);
    l->k = view(t, n_q, n_k);
    l->v = view(t, n_q + n_k, n_v);
    float *bias = vector_optional(b, "attn_qkv.bias", n_q + n_k + n_v, 1);
    if (!bias)
        return;
    l->q_bias = memory_array((size_t) n_q, sizeof(float));
    l->k_bias = memory_array((size_t) n_k, sizeof(float));
    l->v_bias = memory_array((size_t) n_v, sizeof(float));
    if (l->q_bias && l->k_bias && l->v_bias) {
        memcpy(l->q_bias, bias, (size_t) n_q * sizeof(float));
        memcpy(l->k_bias, bias + n_q, (size_t) n_k * sizeof(float));
        memcpy(l->v_bias, bias + n_q + n_k, (size_t) n_v * sizeof(float));
    } else {
        b->status = error_nomem(b->err, full);
    }
    free(bias);
}

static void bind_gqa(struct binder *b, struct layer *l)
{
    const struct model_shape *s = b->shape;
    int n_q = s->n_heads * s->n_k, n_k = s->n_kv_heads * s->n_k, n_v = s->n_kv_heads * s->n_v;
    if (exists(b, "attn_qkv.weight")) {
        bind_fused_qkv(b, l, n_q, n_k, n_v);
    } else {
        matrix(b, "attn_q.weight", s->n_embd, n_q, 1, &l->q);
        matrix(b, "attn_k.weight", s->n_embd, n_k, 1, &l->k);
        matrix(b, "attn_v.weight", s->n_embd, n_v, 1, &l->v);
        l->q_bias = vector_optional(b, "attn_q.bias", n_q, 1);
        l->k_bias = vector_optional(b, "attn_k.bias", n_k, 1);
        l->v_bias = vector_optional(b, "attn_v.bias", n_v, 1);
    }
    matrix(b, "attn_output.weight", s->n_heads * s->n_v, s->n_embd, 1, &l->o);
    l->o_bias = vector_optional(b, "attn_output.bias", s->n_embd, 1);
    if (s->qk_norm != QK_NORM_NONE) {
        l->q_norm = vector(b, "attn_q_norm.weight", s->qk_norm == QK_NORM_HEAD ? s->n_k : n_q);
        l->k_norm = vector(b, "attn_k_norm.weight", s->qk_norm == QK_NORM_HEAD ? s->n_k : n_k);
    }
    if (s->sinks)
        l->sinks = vector(b, "attn_sinks.weight", s->n_heads);
}

static void bind_mla(struct binder *b, struct layer *l)
{
    const struct model_shape *s = b->shape;
    int n_k_head = s->n_nope + s->rope.n_rot, n_q = s->n_heads * n_k_head;
    if (exists(b, "attn_q_a.weight")) {
        if (s->n_q_lora < 1) {
            b->status = error_set(b->err, DSR1_ERR_FORMAT, "key %s.attention.q_lora_rank is missing", s->architecture);
            return;
        }
        matrix(b, "attn_q_a.weight", s->n_embd, s->n_q_lora, 1, &l->q_a);
        l->q_a_norm = vector(b, "attn_q_a_norm.weight", s->n_q_lora);
        matrix(b, "attn_q_b.weight", s->n_q_lora, n_q, 1, &l->q_b);
    } else {
        matrix(b, "attn_q.weight", s->n_embd, n_q, 1, &l->q);
    }
    matrix(b, "attn_kv_a_mqa.weight", s->n_embd, s->n_kv_lora + s->rope.n_rot, 1, &l->kv_a);
    l->kv_a_norm = vector(b, "attn_kv_a_norm.weight", s->n_kv_lora);
    if (s->attention == ATTENTION_MLA) {
        matrix(b, "attn_k_b.weight", s->n_nope, s->n_kv_lora, s->n_heads, &l->k_b);
        matrix(b, "attn_v_b.weight", s->n_kv_lora, s->n_v_head, s->n_heads, &l->v_b);
    } else {
        matrix(b, "attn_kv_b.weight", s->n_kv_lora, s->n_heads * (s->n_nope + s->n_v_head), 1, &l->kv_b);
    }
    matrix(b, "attn_output.weight", s->n_heads * s->n_v_head, s->n_embd, 1, &l->o);
}

/*
 * One tensor with the rows of gate, then those of up, for each expert: some
 * converters store it so. Matrices of one weight lie side by side here, so both
 * are copied apart.
 */
static void split_gate_up(struct binder *b, struct ffn_weights *f, const char *name, int n_ff, int n_mats)
{
    struct weight both;
    char full[96];
    full_name(b, name, full);
    if (!matrix_optional(b, name, b->shape->n_embd, 2 * n_ff, n_mats, &both))
        return;
    size_t half = (size_t) n_ff * both.row_size, part;
    uint8_t *copy = size_mul(half, (size_t) n_mats, &part) ? memory_array(2, part) : NULL;
    if (!copy) {
        b->status = error_nomem(b->err, full);
        return;
    }
    for (size_t e = 0; e < (size_t) n_mats; e++) {
        memcpy(copy + e * half, both.data + 2 * e * half, half);
        memcpy(copy + part + e * half, both.data + (2 * e + 1) * half, half);
    }
    b->split[b->layer] = copy;
    both.n_out = n_ff;
    f->gate = f->up = both;
    f->gate.data = copy;
    f->up.data = copy + part;
}

static void bind_ffn(struct binder *b, struct ffn_weights *f, const char *suffix, int n_ff, int n_mats)
{
    const struct model_shape *s = b->shape;
    char name[64];
    if (strcmp(suffix, "_exps") == 0 && exists(b, "ffn_gate_up_exps.weight")) {
        split_gate_up(b, f, "ffn_gate_up_exps.weight", n_ff, n_mats);
    } else {
        snprintf(name, sizeof name, "ffn_gate%s.weight", suffix);
        matrix(b, name, s->n_embd, n_ff, n_mats, &f->gate);
        snprintf(name, sizeof name, "ffn_up%s.weight", suffix);
        matrix(b, name, s->n_embd, n_ff, n_mats, &f->up);
    }
    snprintf(name, sizeof name, "ffn_down%s.weight", suffix);
    matrix(b, name, n_ff, s->n_embd, n_mats, &f->down);
    /* A token sums over all its experts: where a panel is a fraction of a page, they are read as one stream. */
    f->down.side_by_side = f->down.n_mats > 1 && panel_size(f->down.type, n_ff) < 4096;
    snprintf(name, sizeof name, "ffn_gate%s.bias", suffix);
    f->gate_bias = vector_optional(b, name, n_ff, n_mats);
    snprintf(name, sizeof name, "ffn_up%s.bias", suffix);
    f->up_bias = vector_optional(b, name, n_ff, n_mats);
    snprintf(name, sizeof name, "ffn_down%s.bias", suffix);
    f->down_bias = vector_optional(b, name, s->n_embd, n_mats);
}

static void bind_layer(struct binder *b, struct layer *l)
{
    const struct model_shape *s = b->shape;
    l->attn_norm = vector(b, "attn_norm.weight", s->n_embd);
    if (s->attention == ATTENTION_GQA)
        bind_gqa(b, l);
    else
        bind_mla(b, l);
    l->ffn_norm = vector(b, s->norm_before_ffn_renamed ? "post_attention_norm.weight" : "ffn_norm.weight", s->n_embd);
    if (s->n_experts == 0 || b->layer < s->n_dense_layers) {
        bind_ffn(b, &l->ffn, "", s->n_ff, 1);
        return;
    }
    matrix(b, "ffn_gate_inp.weight", s->n_embd, s->n_experts, 1, &l->router);
    l->router_bias = vector_optional(b, "ffn_gate_inp.bias", s->n_experts, 1);
    l->select_bias = vector_optional(b, "exp_probs_b.bias", s->n_experts, 1);
    bind_ffn(b, &l->ffn, "_exps", s->n_ff_expert, s->n_experts);
    if (s->n_ff_shared > 0 && exists(b, "ffn_up_shexp.weight"))
        bind_ffn(b, &l->shared, "_shexp", s->n_ff_shared, 1);
    else if (s->n_ff_shared > 0)
        missing(b, "ffn_up_shexp.weight");
    if (s->shared_gate)
        l->shared_gate = vector(b, "ffn_gate_inp_shexp.weight", s->n_embd);
}

/* The converter may leave the block's tensors out though the key counts it: then there is none. */
static bool has_nextn(const struct gguf *gguf, const struct model_shape *s)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.nextn.eh_proj.weight", s->n_layers);
    return s->has_nextn && gguf_find_tensor(gguf, name) != NULL;
}

static void bind_nextn(struct binder *b, struct weights *w)
{
    const struct model_shape *s = b->shape;
    struct nextn_weights *n = &w->nextn;
    n->embd_norm = vector(b, "nextn.enorm.weight", s->n_embd);
    n->hidden_norm = vector(b, "nextn.hnorm.weight", s->n_embd);
    n->head_norm = vector(b, "nextn.shared_head_norm.weight", s->n_embd);
    matrix(b, "nextn.eh_proj.weight", 2 * s->n_embd, s->n_embd, 1, &n->project);
    if (!matrix_optional(b, "nextn.embed_tokens.weight", s->n_embd, s->n_vocab, 1, &n->token_embd))
        n->token_embd = w->token_embd;
    matrix_optional(b, "nextn.shared_head_head.weight", s->n_embd, s->n_vocab, 1, &n->output);
}

static void bind_outer(struct binder *b, struct model_shape *shape, struct weights *w)
{
    char full[96];
    const struct gguf_tensor *t = find(b, "token_embd.weight", full);
    if (!t) {
        missing(b, "token_embd.weight");
        return;
    }
    if (t->ne[1] < 1 || t->ne[1] > 1 << 22) {
        b->status = error_set(b->err, DSR1_ERR_FORMAT, "tensor token_embd.weight has %lld rows", (long long) t->ne[1]);
        return;
    }
    shape->n_vocab = (int) t->ne[1];
    if (!check_shape(b, t, shape->n_embd, shape->n_vocab, 1))
        return;
    w->token_embd = view(t, 0, shape->n_vocab);
    w->output_norm = vector(b, "output_norm.weight", shape->n_embd);
    if (!matrix_optional(b, "output.weight", shape->n_embd, shape->n_vocab, 1, &w->output)) {
        if (!shape->tied_output_allowed)
            missing(b, "output.weight");
        w->output = w->token_embd;
    }
    w->rope_factors = vector_optional(b, "rope_freqs.weight", shape->rope.n_rot / 2, 1);
    for (int i = 0; w->rope_factors && i < shape->rope.n_rot / 2; i++)
        if (!(w->rope_factors[i] > 0) && b->status == DSR1_OK)
            b->status = error_set(b->err, DSR1_ERR_FORMAT, "tensor rope_freqs.weight: factor %d is not positive", i);
}

static int compare_pointers(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) *(const void *const *) a, y = (uintptr_t) *(const void *const *) b;
    return (x > y) - (x < y);
}

/* Tensors of further multi-token-prediction blocks lie beyond the layers that run. */
static bool beyond_layers(const char *name, int n_layers)
{
    int layer;
    return sscanf(name, "blk.%d.", &layer) == 1 && layer >= n_layers;
}

static void refuse_leftovers(struct binder *b)
{
    qsort(b->bound, b->n_bound, sizeof *b->bound, compare_pointers);
    for (size_t i = 0; i < gguf_n_tensors(b->gguf) && b->status == DSR1_OK; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(b->gguf, i);
        if (!bsearch(&t, b->bound, b->n_bound, sizeof *b->bound, compare_pointers) &&
            !beyond_layers(t->name, b->shape->n_layers + b->shape->has_nextn))
            b->status = error_set(b->err, DSR1_ERR_UNSUPPORTED, "tensor %s has no place in a %s model", t->name,
                                  b->shape->architecture);
    }
}

static void count_sizes(const struct gguf *gguf, struct weights *w)
{
    uint64_t by_type[TENSOR_TYPES] = {0};
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(gguf, i);
        w->size += t->size;
        by_type[t->type] += t->size;
        w->n_parameters += (uint64_t) t->ne[0] * (uint64_t) t->ne[1] * (uint64_t) t->ne[2] * (uint64_t) t->ne[3];
    }
    for (int i = 0; i < TENSOR_TYPES; i++)
        if (by_type[i] > by_type[w->main_type])
            w->main_type = (enum tensor_type) i;
}

dsr1_status weights_open(const struct gguf *gguf, struct model_shape *shape, struct weights *weights, dsr1_error *err)
{
    *weights = (struct weights){.gguf = gguf};
    bool nextn = has_nextn(gguf, shape);
    size_t n_layers = (size_t) shape->n_layers + nextn;
    /* Each lookup binds at most one tensor, and no layer asks for more than 40. */
    struct binder b = {.gguf = gguf, .shape = shape, .layer = -1, .err = err};
    b.bound = memory_array(n_layers * 40 + 16, sizeof *b.bound);
    weights->layers = memory_array(n_layers, sizeof *weights->layers);
    weights->split = b.split = memory_array(n_layers, sizeof *weights->split);
    weights->n_layers = (int) n_layers;
    shape->has_nextn = nextn;
    if (!b.bound || !weights->layers || !weights->split)
        b.status = error_nomem(err, "the table of tensors");
    if (b.status == DSR1_OK)
        bind_outer(&b, shape, weights);
    for (int i = 0; i < weights->n_layers && b.status == DSR1_OK; i++) {
        b.layer = i;
        bind_layer(&b, &weights->layers[i]);
    }
    if (nextn)
        bind_nextn(&b, weights);
    if (b.status == DSR1_OK)
        refuse_leftovers(&b);
    if (b.status == DSR1_OK)
        count_sizes(gguf, weights);
    free(b.bound);
    if (b.status != DSR1_OK)
        weights_close(weights);
    return b.status;
}

static void free_ffn(struct ffn_weights *f)
{
    free(f->gate_bias);
    free(f->up_bias);
    free(f->down_bias);
}

void weights_close(struct weights *w)
{
    for (int i = 0; w->layers && i < w->n_layers; i++) {
        struct layer *l = &w->layers[i];
        float *const vectors[] = {l->attn_norm, l->ffn_norm, l->q_bias, l->k_bias, l->v_bias, l->o_bias, l->q_norm,
                                  l->k_norm, l->sinks, l->q_a_norm, l->kv_a_norm, l->shared_gate, l->router_bias,
                                  l->select_bias};
        for (size_t j = 0; j < sizeof vectors / sizeof *vectors; j++)
            free(vectors[j]);
        free_ffn(&l->ffn);
        free_ffn(&l->shared);
        if (w->split)
            free(w->split[i]);
    }
    free(w->split);
    free(w->layers);
    free(w->nextn.embd_norm);
    free(w->nextn.hidden_norm);
    free(w->nextn.head_norm);
    free(w->output_norm);
    free(w->rope_factors);
    memory_unmap(w->panels, w->panels_size);
    *w = (struct weights){0};
}

/* ------------------------------------------------------------------ */
/* Walking                                                             */
/* ------------------------------------------------------------------ */

static void each_ffn(struct ffn_weights *f, void (*fn)(struct weight *, void *), void *user)
{
    struct weight *const all[] = {&f->gate, &f->up, &f->down};
    for (int i = 0; i < 3; i++)
        if (all[i]->n_mats > 0)
            fn(all[i], user);
}

void weights_each(struct weights *w, void (*fn)(struct weight *weight, void *user), void *user)
{
    for (int i = 0; i < w->n_layers; i++) {
        struct layer *l = &w->layers[i];
        struct weight *const all[] = {&l->q, &l->k, &l->v, &l->q_a, &l->q_b, &l->kv_a, &l->k_b, &l->v_b, &l->kv_b,
                                      &l->o, &l->router};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            if (all[j]->n_mats > 0)
                fn(all[j], user);
        each_ffn(&l->ffn, fn, user);
        each_ffn(&l->shared, fn, user);
    }
    fn(&w->output, user);
    if (w->nextn.project.n_mats > 0)
        fn(&w->nextn.project, user);
    if (w->nextn.output.n_mats > 0)
        fn(&w->nextn.output, user);
}
