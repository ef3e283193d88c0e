/*
 * shape.c - what a model file says about its graph
 *
 * Keys of the GGUF metadata, without their "ARCH." prefix. Every value is held
 * against what the graph can bear, so that the code behind may multiply freely.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/shape.h"

#include "base/error.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_LAYERS = 512,
    MAX_EMBD = 1 << 16,
    MAX_HEADS = 1024,
    MAX_HEAD_SIZE = 576,
    MAX_FF = 1 << 20,
    MAX_EXPERTS = 1024,
    MAX_USED = 64,
    MAX_VOCAB = 1 << 22,
    MAX_CONTEXT = 1 << 24
};

/* What the name of an architecture decides and no key tells. */
static const struct traits {
    const char *name;
    bool mla;
    bool neox;
    enum qk_norm qk_norm;
    bool moe;               /* experts are required */
    bool normalize;         /* router weights */
    bool untied;            /* output.weight is required */
    bool scales;            /* granite's four scalars */
} architectures[] = {
    {.name = "llama", .normalize = true},
    {.name = "deepseek", .moe = true},
    {.name = "deepseek2", .mla = true, .moe = true},
    {.name = "qwen2", .neox = true},
    {.name = "qwen3", .neox = true, .qk_norm = QK_NORM_HEAD},
    {.name = "qwen2moe", .neox = true, .moe = true, .untied = true},
    {.name = "qwen3moe", .neox = true, .qk_norm = QK_NORM_HEAD, .moe = true, .normalize = true},
    {.name = "olmoe", .neox = true, .qk_norm = QK_NORM_ROW, .moe = true, .untied = true},
    {.name = "granite", .scales = true, .normalize = true},
    {.name = "granitemoe", .scales = true, .normalize = true},
    {.name = "gpt-oss", .neox = true, .moe = true, .untied = true},
};

struct reader {
    const struct gguf *gguf;
    const char *prefix;
    dsr1_error *err;
    dsr1_status status;     /* the first failure; later reads do nothing */
    int n_blocks;           /* what an array per layer must hold; 0 before it is known */
};

static const char *full_key(const struct reader *r, const char *key, char buffer[128])
{
    snprintf(buffer, 128, "%s.%s", r->prefix, key);
    return buffer;
}

static bool has_key(const struct reader *r, const char *key)
{
    char name[128];
    return gguf_has(r->gguf, full_key(r, key, name));
}

static void fail(struct reader *r, const char *key, const char *why)
{
    if (r->status == DSR1_OK)
        r->status = error_set(r->err, DSR1_ERR_FORMAT, "key %s.%s: %s", r->prefix, key, why);
}

static void read_float(struct reader *r, const char *key, float *value)
{
    char name[128];
    if (r->status == DSR1_OK)
        r->status = gguf_get_float(r->gguf, full_key(r, key, name), value, r->err);
    if (r->status == DSR1_OK && !isfinite(*value))
        fail(r, key, "not a finite number");
}

static void read_bool(struct reader *r, const char *key, bool *value)
{
    char name[128];
    if (r->status == DSR1_OK)
        r->status = gguf_get_bool(r->gguf, full_key(r, key, name), value, r->err);
}

/* A count that may be given per layer; dsr1 wants the layers alike. */
static bool read_uniform_array(struct reader *r, const char *name, int64_t *value)
{
    struct gguf_array array = {0};
    if (gguf_get_array(r->gguf, name, &array, NULL) != DSR1_OK || array.n == 0 || array.type == GGUF_STRING ||
        array.type == GGUF_F32 || array.type == GGUF_F64)
        return false;
    *value = gguf_array_int(&array, 0);
    if (array.n != (size_t) r->n_blocks)
        r->status = error_set(r->err, DSR1_ERR_FORMAT, "key %s holds %zu values for %d layers", name, array.n,
                              r->n_blocks);
    for (size_t i = 1; i < array.n && r->status == DSR1_OK; i++)
        if (gguf_array_int(&array, i) != *value)
            r->status = error_set(r->err, DSR1_ERR_UNSUPPORTED, "key %s differs between layers", name);
    return true;
}

/* An integer from low to high; `*value` is the default of a missing key. */
static void read_count(struct reader *r, const char *key, int *value, int low, int high)
{
    char name[128], why[80];
    int64_t n = *value;
    if (r->status != DSR1_OK)
        return;
    full_key(r, key, name);
    if (!read_uniform_array(r, name, &n))
        r->status = gguf_get_int(r->gguf, name, &n, r->err);
    if (r->status == DSR1_OK && (n < low || n > high)) {
        snprintf(why, sizeof why, "%lld is not within %d .. %d", (long long) n, low, high);
        fail(r, key, why);
    }
    *value = (int) n;
}

static void require_count(struct reader *r, const char *key, int *value, int low, int high)
{
    if (!has_key(r, key))
        fail(r, key, "is missing");
    read_count(r, key, value, low, high);
}

/* A key that changes what a graph computes, in a way that is not done here. */
static void refuse_float(struct reader *r, const char *key, float harmless, const char *why)
{
    float value = harmless;
    read_float(r, key, &value);
    if (r->status == DSR1_OK && value != harmless)
        r->status = error_set(r->err, DSR1_ERR_UNSUPPORTED, "key %s.%s %s", r->prefix, key, why);
}

static const struct traits *find_architecture(const struct gguf *gguf, dsr1_error *err)
{
    struct gguf_string name = {0};
    if (gguf_get_string(gguf, "general.architecture", &name, err) != DSR1_OK)
        return NULL;
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (strlen(architectures[i].name) == name.size && memcmp(architectures[i].name, name.bytes, name.size) == 0)
            return &architectures[i];
    if (name.size == 0)
        error_set(err, DSR1_ERR_FORMAT, "key general.architecture is missing: not a model");
    else
        error_set(err, DSR1_ERR_UNSUPPORTED, "architecture \"%.*s\" is not supported", (int) (name.size < 60 ? name.size : 60),
                  name.bytes);
    return NULL;
}

static void read_vocab(struct reader *r, struct model_shape *s)
{
    struct gguf_array tokens = {0};
    if (r->status == DSR1_OK)
        r->status = gguf_get_array(r->gguf, "tokenizer.ggml.tokens", &tokens, r->err);
    if (tokens.n > MAX_VOCAB)
        fail(r, "vocab_size", "too many tokens");
    s->n_vocab = (int) tokens.n;
    read_count(r, "vocab_size", &s->n_vocab, 1, MAX_VOCAB);
    /* Embedding rows decide in the end (weights.c): files disagree about vocab_size. */
    if (tokens.n > 0)
        s->n_vocab = (int) tokens.n;
}

/* 1 + 0.1 m ln s, the attention temperature of a context stretched s times; equation 22 of the YaRN paper. */
static float temperature(float s, float m)
{
    return s > 1 ? 1 + 0.1f * m * logf(s) : 1;
}

/* The YaRN paper is arXiv:2309.00071; deepseek2 has a magnitude of its own, see read_mla_scale. */
static void read_rope(struct reader *r, const struct traits *t, struct model_shape *s)
{
    struct rope_shape *rope = &s->rope;
    char name[128];
    *rope = (struct rope_shape){.neox = t->neox, .base = 10000, .magnitude = 1, .n_rot = s->n_k};
    if (t->mla)
        rope->n_rot = 64;
    read_count(r, "rope.dimension_count", &rope->n_rot, 2, t->mla ? MAX_HEAD_SIZE : s->n_k);
    if (rope->n_rot % 2)
        fail(r, "rope.dimension_count", "is odd");
    read_float(r, "rope.freq_base", &rope->base);
    if (!(rope->base > 0))
        fail(r, "rope.freq_base", "must be positive");

    struct gguf_string type = {"linear", 6};
    float factor = 0, attn_factor = 1;
    if (r->status == DSR1_OK)
        r->status = gguf_get_string(r->gguf, full_key(r, "rope.scaling.type", name), &type, r->err);
    read_float(r, "rope.scale_linear", &factor);
    read_float(r, "rope.scaling.factor", &factor);
    read_float(r, "rope.scaling.attn_factor", &attn_factor);
    rope->original_context = s->n_context;
    read_count(r, "rope.scaling.original_context_length", &rope->original_context, 1, MAX_CONTEXT);
    if (factor < 0 || (factor > 0 && factor < 1e-3f))
        fail(r, "rope.scaling.factor", "must be positive");
    rope->factor = factor > 0 ? factor : 1;
    rope->attn_factor = attn_factor;
    if (type.size == 4 && memcmp(type.bytes, "none", 4) == 0)
        rope->factor = 1;
    else if (type.size == 4 && memcmp(type.bytes, "yarn", 4) == 0)
        rope->yarn = true;
    else if (type.size != 6 || memcmp(type.bytes, "linear", 6) != 0) {
        if (r->status == DSR1_OK)
            r->status = error_set(r->err, DSR1_ERR_UNSUPPORTED, "rope scaling \"%.*s\" is not supported",
                                  (int) (type.size < 40 ? type.size : 40), type.bytes);
    }
    rope->magnitude = attn_factor * (rope->yarn ? temperature(rope->factor, 1) : 1);
}

static void read_gqa(struct reader *r, const struct traits *t, struct model_shape *s)
{
    s->attention = ATTENTION_GQA;
    s->qk_norm = t->qk_norm;
    s->n_k = s->n_v = s->n_embd / s->n_heads;
    read_count(r, "attention.key_length", &s->n_k, 1, MAX_HEAD_SIZE);
    read_count(r, "attention.value_length", &s->n_v, 1, MAX_HEAD_SIZE);
    if (s->n_kv_heads < 1 || s->n_heads % s->n_kv_heads)
        fail(r, "attention.head_count_kv", "does not divide the number of heads");
    read_rope(r, t, s);
    s->attention_scale = 1 / sqrtf((float) s->n_k);
    if (t->scales) {
        float scale = 0;
        read_float(r, "attention.scale", &scale);
        if (scale != 0)
            s->attention_scale = scale;
    }
}

/*
 * DeepSeek-V2 scales the softmax where others scale the rotation. Its files give
 * 0.1 m of equation 22. Where they give none (before 2024) both are scaled, and
 * without YaRN the softmax all the same: so does the reference.
 */
static void read_mla_scale(struct reader *r, struct model_shape *s, int n_k_head)
{
    struct rope_shape *rope = &s->rope;
    float multiplier = 0, log_s = logf(rope->factor), stretched = 1 + 0.1f * log_s;
    read_float(r, "rope.scaling.yarn_log_multiplier", &multiplier);
    float a = rope->attn_factor;
    if (rope->yarn)
        a *= (multiplier != 0 ? 1 : temperature(rope->factor, 1)) / stretched;
    float m = a * stretched * (1 + 0.1f * (multiplier / 0.1f) * log_s);
    rope->magnitude = rope->yarn ? a * stretched : a;
    s->attention_scale = m * m / sqrtf((float) n_k_head);
}

/* DeepSeek-V2 section 2.1; files since spring 2025 carry *_mla keys and split k_b, v_b. */
static void read_mla(struct reader *r, const struct traits *t, struct model_shape *s)
{
    int n_k_head = 0, n_v_head = 0;
    bool absorbed = has_key(r, "attention.key_length_mla");
    require_count(r, absorbed ? "attention.key_length_mla" : "attention.key_length", &n_k_head, 1, MAX_HEAD_SIZE);
    require_count(r, absorbed ? "attention.value_length_mla" : "attention.value_length", &n_v_head, 1, MAX_HEAD_SIZE);
    require_count(r, "attention.kv_lora_rank", &s->n_kv_lora, 1, MAX_EMBD);
    read_count(r, "attention.q_lora_rank", &s->n_q_lora, 0, MAX_EMBD);
    read_rope(r, t, s);
    s->n_nope = n_k_head - s->rope.n_rot;
    s->n_v_head = n_v_head;
    if (s->n_nope < 1)
        fail(r, "rope.dimension_count", "leaves nothing of the key");

    s->attention = absorbed ? ATTENTION_MLA : ATTENTION_MLA_EXPANDED;
    s->n_kv_heads = absorbed ? 1 : s->n_heads;
    s->n_k = absorbed ? s->n_kv_lora + s->rope.n_rot : n_k_head;
    s->n_v = absorbed ? s->n_kv_lora : n_v_head;
    if (s->n_k > MAX_HEAD_SIZE)
        fail(r, "attention.kv_lora_rank", "the latent is larger than dsr1 supports");

    refuse_float(r, "attention.temperature_scale", 0, "is not supported: queries that grow with their position");
    read_mla_scale(r, s, n_k_head);
}

static void read_router(struct reader *r, const struct traits *t, struct model_shape *s)
{
    struct router_shape *router = &s->router;
    int gating = 0;
    *router = (struct router_shape){.normalize = t->normalize, .scale = 1};
    if (t->mla || strcmp(t->name, "deepseek") == 0)
        read_float(r, "expert_weights_scale", &router->scale);
    if (router->scale == 0)
        router->scale = 1;
    if (t->mla) {
        read_bool(r, "expert_weights_norm", &router->normalize);
        read_count(r, "expert_gating_func", &gating, 0, 3);
        router->gating = gating == 3 ? GATING_SOFTMAX_CHOSEN : gating == 2 ? GATING_SIGMOID : GATING_SOFTMAX;
    }
    if (strcmp(t->name, "gpt-oss") == 0)
        router->gating = GATING_SOFTMAX_CHOSEN;
    read_count(r, "expert_group_count", &router->n_groups, 0, MAX_EXPERTS);
    read_count(r, "expert_group_used_count", &router->n_groups_used, 0, MAX_EXPERTS);
    if (router->n_groups <= 1)
        router->n_groups = 0;
    if (router->n_groups &&
        (router->n_groups >= s->n_experts || s->n_experts % router->n_groups || router->n_groups_used < 1 ||
         router->n_groups_used >= router->n_groups || !model_shape_may_use(s, s->n_used)))
        fail(r, "expert_group_count", "does not fit the experts");
}

static void read_experts(struct reader *r, const struct traits *t, struct model_shape *s)
{
    int n_shared = 0;
    read_count(r, "expert_count", &s->n_experts, 0, MAX_EXPERTS);
    read_count(r, "expert_used_count", &s->n_used, 0, s->n_experts < MAX_USED ? s->n_experts : MAX_USED);
    if (t->moe && s->n_experts == 0)
        fail(r, "expert_count", "must be positive");
    if (s->n_experts == 0)
        return;
    if (s->n_used < 1)
        fail(r, "expert_used_count", "must be positive");
    read_count(r, "leading_dense_block_count", &s->n_dense_layers, 0, MAX_LAYERS);
    if (s->n_dense_layers > s->n_layers)
        s->n_dense_layers = s->n_layers;
    s->n_ff_expert = s->n_ff;
    if (strncmp(t->name, "qwen", 4) == 0 && s->n_used > 0)
        s->n_ff_expert = s->n_ff / s->n_used;
    read_count(r, "expert_feed_forward_length", &s->n_ff_expert, 1, MAX_FF);
    read_count(r, "expert_shared_count", &n_shared, 0, MAX_EXPERTS);
    if (n_shared > 0 && n_shared > MAX_FF / s->n_ff_expert)
        fail(r, "expert_shared_count", "is too large");
    s->n_ff_shared = n_shared * s->n_ff_expert;
    s->shared_gate = strcmp(t->name, "qwen2moe") == 0;
    if (s->shared_gate)
        s->n_ff_shared = s->n_ff;
    if (s->shared_gate || t->scales)
        read_count(r, "expert_shared_feed_forward_length", &s->n_ff_shared, 0, MAX_FF);
    read_router(r, t, s);
}

static void read_scales(struct reader *r, struct model_shape *s)
{
    read_float(r, "embedding_scale", &s->embedding_scale);
    read_float(r, "residual_scale", &s->residual_scale);
    if (!has_key(r, "logit_scale"))
        fail(r, "logit_scale", "is missing");
    read_float(r, "logit_scale", &s->logit_scale);
    if (s->logit_scale == 0)
        fail(r, "logit_scale", "must not be zero");
    if (s->embedding_scale == 0)
        s->embedding_scale = 1;
    if (s->residual_scale == 0)
        s->residual_scale = 1;
    bool rotated = true;
    if (strcmp(r->prefix, "granite") == 0)
        read_bool(r, "rope.scaling.finetuned", &rotated);
    if (!rotated) {
        /* Granite 4's way to say "no rotation": angles of zero are one. */
        s->rope.yarn = false;
        s->rope.factor = INFINITY;
        s->rope.magnitude = 1;
    }
}

/* One bool per layer, or a period p of which the last layer sees everything; else every second one does. */
static void read_window(struct reader *r, struct model_shape *s)
{
    struct gguf_array array = {0};
    char name[128];
    int period = 2;
    require_count(r, "attention.sliding_window", &s->window, 1, MAX_CONTEXT);
    full_key(r, "attention.sliding_window_pattern", name);
    bool per_layer = gguf_get_array(r->gguf, name, &array, NULL) == DSR1_OK && array.n > 0;
    if (per_layer && (array.n != (size_t) r->n_blocks || array.type == GGUF_STRING || array.type == GGUF_F32 ||
                      array.type == GGUF_F64))
        fail(r, "attention.sliding_window_pattern", "is not one bool per layer");
    else if (!per_layer)
        read_count(r, "attention.sliding_window_pattern", &period, 0, MAX_LAYERS);
    for (int l = 0; l < s->n_layers && r->status == DSR1_OK; l++) {
        bool here = per_layer ? gguf_array_int(&array, (size_t) l) != 0 : period == 0 || l % period < period - 1;
        s->window_layers[l / 64] |= (uint64_t) here << l % 64;
    }
}

static void read_gpt_oss(struct reader *r, struct model_shape *s)
{
    read_window(r, s);
    refuse_float(r, "rope.freq_base_swa", s->rope.base, "is not supported: a rotary base for some layers");
    refuse_float(r, "rope.scaling.factor", s->rope.factor, "is not supported without a scaling type that uses it");
    s->sinks = true;
    s->norm_before_ffn_renamed = true;
    s->activation = ACTIVATION_SWIGLU_CLAMPED;
}

static void read_sizes(struct reader *r, const struct traits *t, struct model_shape *s)
{
    int n_blocks = 0, n_nextn = 0;
    require_count(r, "context_length", &s->n_context, 1, MAX_CONTEXT);
    require_count(r, "embedding_length", &s->n_embd, 1, MAX_EMBD);
    require_count(r, "block_count", &n_blocks, 1, MAX_LAYERS);
    r->n_blocks = n_blocks;
    read_count(r, "nextn_predict_layers", &n_nextn, 0, n_blocks > 0 ? n_blocks - 1 : 0);
    s->n_layers = n_blocks - n_nextn;
    s->has_nextn = n_nextn > 0;
    require_count(r, "attention.head_count", &s->n_heads, 1, MAX_HEADS);
    s->n_kv_heads = s->n_heads;
    read_count(r, "attention.head_count_kv", &s->n_kv_heads, 1, MAX_HEADS);
    read_count(r, "feed_forward_length", &s->n_ff, 0, MAX_FF);
    if (!has_key(r, "attention.layer_norm_rms_epsilon"))
        fail(r, "attention.layer_norm_rms_epsilon", "is missing");
    read_float(r, "attention.layer_norm_rms_epsilon", &s->norm_eps);
    if (!(s->norm_eps > 0))
        fail(r, "attention.layer_norm_rms_epsilon", "must be positive");
    if (!t->moe && s->n_ff == 0)
        fail(r, "feed_forward_length", "is missing");
    bool causal = true;
    read_bool(r, "attention.causal", &causal);
    if (!causal && r->status == DSR1_OK)
        r->status = error_set(r->err, DSR1_ERR_UNSUPPORTED, "key %s.attention.causal: tokens that see what follows "
                              "are not supported", r->prefix);
}

dsr1_status model_shape_read(const struct gguf *gguf, struct model_shape *shape, dsr1_error *err)
{
    const struct traits *t = find_architecture(gguf, err);
    if (!t)
        return err && err->status ? err->status : DSR1_ERR_UNSUPPORTED;
    struct reader r = {.gguf = gguf, .prefix = t->name, .err = err};
    *shape = (struct model_shape){.architecture = t->name, .tied_output_allowed = !t->untied,
                                  .embedding_scale = 1, .residual_scale = 1, .logit_scale = 1};
    read_sizes(&r, t, shape);
    if (r.status == DSR1_OK)
        read_vocab(&r, shape);
    if (r.status == DSR1_OK && t->mla)
        read_mla(&r, t, shape);
    else if (r.status == DSR1_OK)
        read_gqa(&r, t, shape);
    if (r.status == DSR1_OK)
        read_experts(&r, t, shape);
    if (r.status == DSR1_OK && t->scales)
        read_scales(&r, shape);
    if (r.status == DSR1_OK && strcmp(t->name, "gpt-oss") == 0)
        read_gpt_oss(&r, shape);
    return r.status;
}

bool model_shape_may_use(const struct model_shape *s, int n)
{
    const struct router_shape *router = &s->router;
    int most = s->n_experts < MAX_USED ? s->n_experts : MAX_USED;
    return n >= 1 && n <= most && (router->n_groups == 0 || n <= router->n_groups_used * (s->n_experts / router->n_groups));
}
