/*
 * shape.h - what a model file says about its graph
 *
 * One vocabulary serves all architectures: a kind of attention, a kind of
 * feed-forward layer and a kind of router, with the constants that go with
 * them. The architecture's name decides only what no key says.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef MODEL_SHAPE_H
#define MODEL_SHAPE_H

#include "dsr1.h"
#include "gguf/gguf.h"

enum attention_kind {
    ATTENTION_GQA,          /* grouped queries: keys and values per KV head */
    ATTENTION_MLA,          /* multi-head latent attention, absorbed: one latent row per token (DeepSeek-V2, 2.1) */
    ATTENTION_MLA_EXPANDED  /* the same from an old file with one kv_b: keys and values per head */
};

enum qk_norm { QK_NORM_NONE, QK_NORM_HEAD, QK_NORM_ROW };

enum gating { GATING_SOFTMAX, GATING_SIGMOID, GATING_SOFTMAX_CHOSEN };

enum activation { ACTIVATION_SWIGLU, ACTIVATION_SWIGLU_CLAMPED };

struct rope_shape {
    int n_rot;
    bool neox;              /* pairs (i, i + n/2) rather than (2i, 2i + 1) */
    bool yarn;
    float base;
    float factor;           /* s: context stretched by this much; 1 = not */
    float attn_factor;      /* what the file says about m */
    float magnitude;        /* m: multiplies cos and sin */
    int original_context;
};

struct router_shape {
    enum gating gating;
    bool normalize;         /* chosen weights sum to one */
    float scale;
    int n_groups, n_groups_used;    /* 0 = no groups */
};

struct model_shape {
    const char *architecture;       /* static string */
    int n_layers, n_embd, n_vocab, n_context;
    bool has_nextn;         /* block n_layers guesses one token further (DeepSeek-V3, section 2.2) */
    float norm_eps;

    enum attention_kind attention;
    int n_heads, n_kv_heads;
    int n_k, n_v;           /* values per cached key and value head */
    enum qk_norm qk_norm;
    float attention_scale;
    int window;             /* of the layers that model_shape_has_window names; 0 = none */
    uint64_t window_layers[8];      /* bit l % 64 of word l / 64 */
    bool sinks;
    struct rope_shape rope;
    int n_q_lora, n_kv_lora, n_nope, n_v_head;      /* MLA */

    int n_dense_layers;     /* leading layers without experts */
    int n_ff;               /* dense layers */
    int n_experts, n_used;
    int n_ff_expert, n_ff_shared;
    bool shared_gate;       /* qwen2moe: a sigmoid weighs the shared expert */
    enum activation activation;
    struct router_shape router;

    bool tied_output_allowed;
    bool norm_before_ffn_renamed;   /* post_attention_norm takes the place of ffn_norm */
    float embedding_scale, residual_scale, logit_scale;
};

/*
 * Reads and checks the keys. DSR1_ERR_UNSUPPORTED for an architecture or a
 * variant that has no graph here, DSR1_ERR_FORMAT (naming the key) for values
 * that cannot be.
 */
dsr1_status model_shape_read(const struct gguf *gguf, struct model_shape *shape, dsr1_error *err);

/* Can a token be sent to n experts of this model, rather than to as many as the file says? */
bool model_shape_may_use(const struct model_shape *shape, int n);

static inline bool model_shape_has_window(const struct model_shape *shape, int layer)
{
    return shape->window > 0 && (shape->window_layers[layer / 64] >> layer % 64 & 1);
}

#endif
