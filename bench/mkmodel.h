/*
 * mkmodel.h - model files with random weights, for benchmarks and comparisons
 *
 * A shape (mkmodel_preset.c, changed by options) becomes metadata keys
 * (mkmodel_keys.c), a tokenizer (mkmodel_vocab.c) and a plan of tensors
 * (mkmodel_plan.c), whose blocks are drawn at random (mkmodel_fill.c). The files
 * are valid ones of their architecture: any engine computes the same with them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef MKMODEL_H
#define MKMODEL_H

#include "gguf/gguf_write.h"
#include "tools/options.h"

/* Zero is "not in the file" for everything that a file may leave out. Flags are 0 or 1. */
struct mkmodel_shape {
    const char *name, *about;
    const char *arch;
    const char *pre;            /* tokenizer.ggml.pre */
    int vocab, context, layers, nextn, embd, ff;
    int heads, kv_heads, head_k, head_v, rot;
    int q_lora, kv_lora, old_kv_b;              /* deepseek2; old_kv_b: one attn_kv_b, no *_mla keys */
    int experts, used, ff_expert, shared, ff_shared, dense;
    int groups, groups_used, gating, weights_norm, select_bias;
    float weights_scale;
    int qkv_bias, out_bias, ff_bias, router_bias, tied, rope_factors, fused_qkv, fused_gate_up;
    float rope_base, rope_factor, log_multiplier, attn_factor;
    const char *rope_scaling;
    int rope_original, window;
    float eps, embedding_scale, residual_scale, attention_scale, logit_scale;
};

enum mkmodel_fill { MKMODEL_RANDOM, MKMODEL_ROPE_FACTORS };

/* Weights of this mean and standard deviation. */
struct mkmodel_tensor {
    char name[64];
    enum tensor_type type;
    int n_dims;
    int64_t ne[4];
    float mean, deviation;
    enum mkmodel_fill fill;
};

struct mkmodel_plan {
    struct mkmodel_tensor *tensors;
    size_t n, capacity;
    bool failed;
};

/* Words of the command line that change keys and tensors one by one. */
struct mkmodel_wishes {
    struct string_list set, unset, without, tensor_types;
    const char *type;           /* Q4_K_M, MXFP4_MOE, MIXED or the name of one type */
    const char *tokenizer;      /* a GGUF file, or NULL */
};

/* NULL where there is no preset of this name. */
const struct mkmodel_shape *mkmodel_preset_find(const char *name);
const struct mkmodel_shape *mkmodel_preset_at(size_t index);    /* NULL behind the last */

/*
 * Takes the options that are numbers of a shape out of argv, sets them and returns
 * how many words are left; *wrong is the one that cannot be read, or NULL.
 */
int mkmodel_field_take(struct mkmodel_shape *shape, int argc, char **argv, const char **wrong);
void mkmodel_field_help(void);

/* All keys but the tokenizer's. DSR1_ERR_ARGUMENT for a --set that cannot be read. */
dsr1_status mkmodel_keys_write(const struct mkmodel_shape *shape, const struct mkmodel_wishes *wishes,
                               struct gguf_writer *writer, dsr1_error *err);

/* Does --set or --unset speak of this key? Then the usual value is not written. */
bool mkmodel_keys_taken(const struct mkmodel_shape *shape, const struct mkmodel_wishes *wishes, const char *key);

/* A byte-level BPE tokenizer of shape->vocab tokens, or the one of wishes->tokenizer, whose size goes to the shape. */
dsr1_status mkmodel_vocab_write(struct mkmodel_shape *shape, const struct mkmodel_wishes *wishes,
                                struct gguf_writer *writer, dsr1_error *err);

/* DSR1_ERR_ARGUMENT for an unknown type, DSR1_ERR_NOMEM. Free plan->tensors. */
dsr1_status mkmodel_plan_make(const struct mkmodel_shape *shape, const struct mkmodel_wishes *wishes,
                              struct mkmodel_plan *plan, dsr1_error *err);

/* general.file_type of a --type. */
int mkmodel_plan_file_type(const char *type);

/* Blocks first .. first + n - 1 of a tensor, the same whoever asks; float types have blocks of one weight. */
void mkmodel_fill_blocks(const struct mkmodel_tensor *tensor, uint64_t seed, uint64_t first, size_t n, uint8_t *out);

#endif
