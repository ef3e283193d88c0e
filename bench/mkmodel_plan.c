/*
 * mkmodel_plan.c - a shape as a list of tensors
 *
 * Names and shapes are those of the architectures' GGUF files. Weights have a
 * standard deviation of 1 / sqrt(n_in), so that a row keeps its size through a
 * matrix; queries, routers and the output get more, so that attention, routing
 * and the answer have opinions.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "mkmodel.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct planner {
    const struct mkmodel_shape *shape;
    const struct mkmodel_wishes *wishes;
    struct mkmodel_plan *plan;
    int layer;                  /* -1: outside */
};

/* ------------------------------------------------------------------ */
/* Types                                                               */
/* ------------------------------------------------------------------ */

static const struct {
    const char *name;
    int file_type;
} file_types[] = {{"F32", 0},   {"F16", 1},   {"Q4_0", 2},  {"Q4_1", 3},   {"MXFP4_MOE", 38}, {"Q8_0", 7},
                  {"Q5_0", 8},  {"Q5_1", 9},  {"Q2_K", 10}, {"Q3_K", 12},  {"Q4_K", 14},      {"Q4_K_M", 15},
                  {"Q5_K", 17}, {"Q6_K", 18}, {"IQ4_NL", 25}, {"IQ4_XS", 30}, {"BF16", 32}};

int mkmodel_plan_file_type(const char *type)
{
    for (size_t i = 0; i < sizeof file_types / sizeof *file_types; i++)
        if (strcasecmp(file_types[i].name, type) == 0)
            return file_types[i].file_type;
    return 0;
}

/* The first and last eighth of the layers, and every third between. */
static bool more_bits(int i, int n)
{
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

/* What the usual quantiser takes where rows are no whole blocks. */
static enum tensor_type with_whole_blocks(enum tensor_type type, int64_t n)
{
    if (n % tensor_type_block(type) == 0)
        return type;
    switch (type) {
    case TENSOR_Q2_K:
    case TENSOR_Q3_K:
        type = TENSOR_Q4_0;
        break;
    case TENSOR_IQ4_XS:
        type = TENSOR_IQ4_NL;
        break;
    case TENSOR_Q4_K:
        type = TENSOR_Q5_0;
        break;
    case TENSOR_Q5_K:
        type = TENSOR_Q5_1;
        break;
    default:
        type = TENSOR_Q8_0;
    }
    return n % tensor_type_block(type) == 0 ? type : TENSOR_F16;
}

static enum tensor_type q4_k_m_type(const struct planner *p, const char *name)
{
    bool more = p->layer >= 0 && more_bits(p->layer, p->shape->layers + p->shape->nextn);
    bool tied_embedding = p->shape->tied && strcmp(name, "token_embd.weight") == 0;
    if (strcmp(name, "output.weight") == 0 || tied_embedding)
        return TENSOR_Q6_K;
    bool value = strcmp(name, "attn_v.weight") == 0 || strcmp(name, "attn_kv_b.weight") == 0;
    if (p->shape->experts == 8 && (value || strcmp(name, "attn_k.weight") == 0))
        return TENSOR_Q8_0;
    if (strcmp(name, "attn_qkv.weight") == 0)
        return TENSOR_Q5_K;
    if (p->shape->experts == 8 && strcmp(name, "attn_output.weight") == 0)
        return TENSOR_Q5_K;
    return more && (value || strncmp(name, "ffn_down", 8) == 0) ? TENSOR_Q6_K : TENSOR_Q4_K;
}

/* Some type of those that fit, another one for each tensor. */
static enum tensor_type mixed_type(const struct planner *p, const char *name, int64_t n)
{
    uint64_t hash = (uint64_t) (p->layer + 1);
    for (; *name; name++)
        hash = rng_mix(hash ^ (uint64_t) (unsigned char) *name);
    for (;; hash = rng_mix(hash + 1)) {
        uint32_t type = (uint32_t) (hash % TENSOR_TYPES);
        if (tensor_type_known(type) && n % tensor_type_block(type) == 0)
            return (enum tensor_type) type;
    }
}

static bool is_quantised(const char *name)
{
    size_t n = strlen(name);
    return n > 7 && strcmp(name + n - 7, ".weight") == 0 && !strstr(name, "norm") && !strstr(name, "ffn_gate_inp") &&
           !strstr(name, "rope_freqs") && !strstr(name, "sinks");
}

static bool wished_type(const struct planner *p, const char *name, enum tensor_type *type)
{
    size_t size = strlen(name);
    for (size_t i = 0; i < p->wishes->tensor_types.n; i++) {
        const char *wish = p->wishes->tensor_types.items[i];
        if (strncmp(wish, name, size) == 0 && wish[size] == '=' && tensor_type_parse(wish + size + 1) >= 0) {
            *type = (enum tensor_type) tensor_type_parse(wish + size + 1);
            return true;
        }
    }
    return false;
}

static enum tensor_type pick_type(const struct planner *p, const char *name, int n_dims, int64_t n)
{
    const char *recipe = p->wishes->type;
    enum tensor_type type;
    if (wished_type(p, name, &type))
        return type;
    if (n_dims < 2 || !is_quantised(name))
        return TENSOR_F32;
    if (strcasecmp(recipe, "MIXED") == 0)
        return mixed_type(p, name, n);
    if (strcasecmp(recipe, "Q4_K_M") == 0)
        return with_whole_blocks(q4_k_m_type(p, name), n);
    if (strcasecmp(recipe, "MXFP4_MOE") == 0)
        return with_whole_blocks(strstr(name, "_exps.") ? TENSOR_MXFP4 : TENSOR_Q8_0, n);
    return with_whole_blocks((enum tensor_type) tensor_type_parse(recipe), n);
}

/* ------------------------------------------------------------------ */
/* Tensors                                                             */
/* ------------------------------------------------------------------ */

static bool unwanted(const struct planner *p, const char *name)
{
    for (size_t i = 0; i < p->wishes->without.n; i++)
        if (strcmp(p->wishes->without.items[i], name) == 0)
            return true;
    return false;
}

static struct mkmodel_tensor *add(struct planner *p, const char *name, int n_dims, int64_t n0, int64_t n1, int64_t n2)
{
    static struct mkmodel_tensor nowhere;
    struct mkmodel_plan *plan = p->plan;
    if (plan->n == plan->capacity) {
        size_t capacity = plan->capacity ? 2 * plan->capacity : 256;
        struct mkmodel_tensor *tensors = memory_resize(plan->tensors, capacity, sizeof *tensors);
        plan->failed = plan->failed || !tensors;
        if (!tensors)
            return &nowhere;
        plan->tensors = tensors;
        plan->capacity = capacity;
    }
    if (unwanted(p, name))
        return &nowhere;
    struct mkmodel_tensor *t = &plan->tensors[plan->n++];
    *t = (struct mkmodel_tensor){.type = pick_type(p, name, n_dims, n0), .n_dims = n_dims, .ne = {n0, n1, n2, 1},
                                 .deviation = 1 / sqrtf((float) n0)};
    if (p->layer < 0)
        snprintf(t->name, sizeof t->name, "%s", name);
    else
        snprintf(t->name, sizeof t->name, "blk.%d.%s", p->layer, name);
    return t;
}

static void matrix(struct planner *p, const char *name, int n_in, int n_out)
{
    add(p, name, 2, n_in, n_out, 1);
}

static void louder(struct planner *p, const char *name, int n_in, int n_out, float by)
{
    add(p, name, 2, n_in, n_out, 1)->deviation *= by;
}

static void norm(struct planner *p, const char *name, int n)
{
    struct mkmodel_tensor *t = add(p, name, 1, n, 1, 1);
    t->mean = 1;
    t->deviation = 0.2f;
}

static void bias(struct planner *p, const char *name, int n, float deviation)
{
    add(p, name, 1, n, 1, 1)->deviation = deviation;
}

static void plan_gqa(struct planner *p)
{
    const struct mkmodel_shape *s = p->shape;
    int head_k = s->head_k ? s->head_k : s->embd / s->heads, head_v = s->head_v ? s->head_v : s->embd / s->heads;
    int kv_heads = s->kv_heads ? s->kv_heads : s->heads;
    int n_q = s->heads * head_k, n_k = kv_heads * head_k, n_v = kv_heads * head_v;
    if (s->fused_qkv) {
        matrix(p, "attn_qkv.weight", s->embd, n_q + n_k + n_v);
    } else {
        louder(p, "attn_q.weight", s->embd, n_q, 1.5f);
        matrix(p, "attn_k.weight", s->embd, n_k);
        matrix(p, "attn_v.weight", s->embd, n_v);
    }
    if (s->qkv_bias && s->fused_qkv) {
        bias(p, "attn_qkv.bias", n_q + n_k + n_v, 0.3f);
    } else if (s->qkv_bias) {
        bias(p, "attn_q.bias", n_q, 0.3f);
        bias(p, "attn_k.bias", n_k, 0.3f);
        bias(p, "attn_v.bias", n_v, 0.3f);
    }
    matrix(p, "attn_output.weight", s->heads * head_v, s->embd);
    if (s->out_bias)
        bias(p, "attn_output.bias", s->embd, 0.3f);
    if (strncmp(s->arch, "qwen3", 5) == 0 || strcmp(s->arch, "olmoe") == 0) {
        bool per_head = s->arch[0] == 'q';
        norm(p, "attn_q_norm.weight", per_head ? head_k : n_q);
        norm(p, "attn_k_norm.weight", per_head ? head_k : n_k);
    }
    if (strcmp(s->arch, "gpt-oss") == 0)
        bias(p, "attn_sinks.weight", s->heads, 1);
}

static void plan_mla(struct planner *p)
{
    const struct mkmodel_shape *s = p->shape;
    int n_q = s->heads * s->head_k, nope = s->head_k - s->rot;
    if (s->q_lora) {
        matrix(p, "attn_q_a.weight", s->embd, s->q_lora);
        norm(p, "attn_q_a_norm.weight", s->q_lora);
        louder(p, "attn_q_b.weight", s->q_lora, n_q, 1.5f);
    } else {
        louder(p, "attn_q.weight", s->embd, n_q, 1.5f);
    }
    matrix(p, "attn_kv_a_mqa.weight", s->embd, s->kv_lora + s->rot);
    norm(p, "attn_kv_a_norm.weight", s->kv_lora);
    if (s->old_kv_b) {
        matrix(p, "attn_kv_b.weight", s->kv_lora, s->heads * (nope + s->head_v));
    } else {
        /* The transpose of a matrix with n_in = kv_lora: its size follows from that. */
        add(p, "attn_k_b.weight", 3, nope, s->kv_lora, s->heads)->deviation = 1 / sqrtf((float) s->kv_lora);
        add(p, "attn_v_b.weight", 3, s->kv_lora, s->head_v, s->heads);
    }
    matrix(p, "attn_output.weight", s->heads * s->head_v, s->embd);
}

/* suffix "", "_shexp" or "_exps"; n experts, 0 for one plain matrix. */
static void plan_ffn(struct planner *p, const char *suffix, int ff, int n)
{
    const struct mkmodel_shape *s = p->shape;
    static const char *const parts[] = {"gate", "up", "down"};
    char name[64];
    bool fused = n > 0 && s->fused_gate_up;
    if (fused)
        add(p, "ffn_gate_up_exps.weight", 3, s->embd, 2 * ff, n);
    for (int i = fused ? 2 : 0; i < 3; i++) {
        snprintf(name, sizeof name, "ffn_%s%s.weight", parts[i], suffix);
        add(p, name, n > 0 ? 3 : 2, i < 2 ? s->embd : ff, i < 2 ? ff : s->embd, n > 0 ? n : 1);
    }
    for (int i = 0; i < 3 && s->ff_bias; i++) {
        snprintf(name, sizeof name, "ffn_%s%s.bias", parts[i], suffix);
        add(p, name, n > 0 ? 2 : 1, i < 2 ? ff : s->embd, n > 0 ? n : 1, 1)->deviation = 0.3f;
    }
}

static void plan_moe(struct planner *p)
{
    const struct mkmodel_shape *s = p->shape;
    int ff = s->ff_expert ? s->ff_expert : s->ff;
    if (!s->ff_expert && strncmp(s->arch, "qwen", 4) == 0)
        ff = s->ff / s->used;
    louder(p, "ffn_gate_inp.weight", s->embd, s->experts, 2);
    if (s->router_bias)
        bias(p, "ffn_gate_inp.bias", s->experts, 0.3f);
    if (s->select_bias)
        bias(p, "exp_probs_b.bias", s->experts, 0.1f);
    plan_ffn(p, "_exps", ff, s->experts);
    int shared = s->shared * ff;
    if (s->ff_shared)
        shared = s->ff_shared;
    else if (strcmp(s->arch, "qwen2moe") == 0)
        shared = s->ff;
    if (shared)
        plan_ffn(p, "_shexp", shared, 0);
    if (strcmp(s->arch, "qwen2moe") == 0)
        add(p, "ffn_gate_inp_shexp.weight", 1, s->embd, 1, 1);
}

static void plan_nextn(struct planner *p)
{
    const struct mkmodel_shape *s = p->shape;
    matrix(p, "nextn.eh_proj.weight", 2 * s->embd, s->embd);
    norm(p, "nextn.enorm.weight", s->embd);
    norm(p, "nextn.hnorm.weight", s->embd);
    norm(p, "nextn.shared_head_norm.weight", s->embd);
}

static void plan_layer(struct planner *p)
{
    const struct mkmodel_shape *s = p->shape;
    norm(p, "attn_norm.weight", s->embd);
    if (s->kv_lora)
        plan_mla(p);
    else
        plan_gqa(p);
    norm(p, strcmp(s->arch, "gpt-oss") == 0 ? "post_attention_norm.weight" : "ffn_norm.weight", s->embd);
    if (s->experts == 0 || p->layer < s->dense)
        plan_ffn(p, "", s->ff, 0);
    else
        plan_moe(p);
    if (p->layer >= s->layers)
        plan_nextn(p);
}

dsr1_status mkmodel_plan_make(const struct mkmodel_shape *s, const struct mkmodel_wishes *wishes,
                              struct mkmodel_plan *plan, dsr1_error *err)
{
    bool recipe = strcasecmp(wishes->type, "Q4_K_M") == 0 || strcasecmp(wishes->type, "MXFP4_MOE") == 0 ||
                  strcasecmp(wishes->type, "MIXED") == 0;
    if (!recipe && tensor_type_parse(wishes->type) < 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "--type %s: there is no such type", wishes->type);
    struct planner planner = {.shape = s, .wishes = wishes, .plan = plan, .layer = -1}, *p = &planner;
    *plan = (struct mkmodel_plan){0};
    add(p, "token_embd.weight", 2, s->embd, s->vocab, 1)->deviation *= s->tied ? 4 : sqrtf((float) s->embd);
    norm(p, "output_norm.weight", s->embd);
    if (!s->tied)
        louder(p, "output.weight", s->embd, s->vocab, 4);
    if (s->rope_factors) {
        int head = s->rot ? s->rot : s->head_k ? s->head_k : s->embd / s->heads;
        add(p, "rope_freqs.weight", 1, head / 2, 1, 1)->fill = MKMODEL_ROPE_FACTORS;
    }
    for (p->layer = 0; p->layer < s->layers + s->nextn; p->layer++)
        plan_layer(p);
    if (!plan->failed)
        return DSR1_OK;
    free(plan->tensors);
    return error_nomem(err, "a list of tensors");
}
