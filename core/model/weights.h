/*
 * weights.h - the tensors of a model, each in its place
 *
 * Matrices stay where the file maps them; vectors (norms, biases) are copied to
 * floats. Every tensor's shape is held against the model's shape, and a file
 * with a tensor that the graph does not know is refused: silently leaving out a
 * part of a network gives plausible nonsense.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "kernel/kernel.h"
#include "model/shape.h"

/* A gated feed-forward layer, or n_mats of them. Biases hold n_mats rows; NULL where absent. */
struct ffn_weights {
    struct weight gate, up, down;
    float *gate_bias, *up_bias, *down_bias;
};

/* An absent matrix has n_mats = 0, an absent vector is NULL. */
struct layer {
    float *attn_norm, *ffn_norm;

    struct weight q, k, v, o;                   /* o also serves MLA */
    float *q_bias, *k_bias, *v_bias, *o_bias;
    float *q_norm, *k_norm;
    float *sinks;

    struct weight q_a, q_b, kv_a, k_b, v_b, kv_b;   /* MLA; without q_a, `q` is the whole query */
    float *q_a_norm, *kv_a_norm;

    struct ffn_weights ffn;                     /* dense, or the experts */
    struct ffn_weights shared;                  /* of an expert layer; up.n_mats = 0 without */
    float *shared_gate;                         /* qwen2moe: sigmoid(shared_gate . h) scales the shared expert */
    struct weight router;                       /* n_mats = 0: a dense layer */
    float *router_bias, *select_bias;
};

/* What a multi-token-prediction block has beside a layer's tensors. */
struct nextn_weights {
    float *embd_norm, *hidden_norm, *head_norm;
    struct weight project;                      /* 2 n_embd -> n_embd */
    struct weight token_embd, output;           /* its own, or the model's */
};

struct weights {
    const struct gguf *gguf;
    struct weight token_embd, output;           /* output may be the same tensor */
    float *output_norm;
    float *rope_factors;                        /* n_rot / 2, or NULL */
    struct layer *layers;
    int n_layers;                               /* with the block of nextn, which is the last */
    struct nextn_weights nextn;                 /* project.n_mats = 0: none */
    void **split;                               /* per layer: gate and up, where the file holds them as one; or NULL */
    uint8_t *panels;                            /* all packed copies (pack.h), in memory or mapped; or NULL */
    size_t panels_size;
    uint64_t n_parameters;
    uint64_t size;
    enum tensor_type main_type;                 /* the type with most bytes */
};

/* Also corrects shape->n_vocab to the embedding's rows. After a failure nothing is held. */
dsr1_status weights_open(const struct gguf *gguf, struct model_shape *shape, struct weights *weights, dsr1_error *err);
void weights_close(struct weights *weights);

/* Calls fn for every matrix that is present, always in the same order. */
void weights_each(struct weights *weights, void (*fn)(struct weight *weight, void *user), void *user);

#endif
