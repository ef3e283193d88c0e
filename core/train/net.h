/*
 * net.h - a model's weights as training wants them: plain numbers
 *
 * Every matrix of a served GGUF file is dequantised once and kept: twice or eight
 * times the file's size, and then each product runs at the full speed of OpenBLAS.
 * The weights stay as they are; what is trained lies in trainable.h's vector.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_NET_H
#define TRAIN_NET_H

#include "model/rope.h"
#include "model/shape.h"
#include "train/linear.h"
#include "train/vector.h"

#define NET_ALL_LAYERS (-1)

/* A gated feed-forward layer, or n_mats of them. */
struct mlp {
    struct linear gate, up, down;
};

/* A vector of norm weights; `at` as in struct linear. */
struct norm {
    char name[LINEAR_NAME];
    int n;
    const real *w;              /* NULL: absent */
    size_t at;
};

struct net_layer {
    struct norm attn_norm, ffn_norm;
    struct linear q, k, v, o;                       /* o also serves MLA; q is MLA's whole query without q_a */
    struct linear q_a, q_b, kv_a, k_b, v_b, kv_b;   /* MLA */
    struct norm q_a_norm, kv_a_norm;
    struct mlp ffn;                                 /* dense, or the experts */
    struct mlp shared;                              /* up.n_mats = 0: none */
    struct linear router;                           /* n_mats = 0: a dense layer */
    const float *select_bias;                       /* n_experts, or NULL */
    struct router_shape gating;
    int n_used;                                     /* experts per row, unless the batch says otherwise */
};

struct net {
    struct model_shape shape;
    const struct vector_ops *ops;
    struct gguf *gguf;          /* the file, kept open: names, tokenizer, types */
    struct net_layer *layers;   /* shape.n_layers */
    const real *token_embd;     /* n_vocab x n_embd */
    struct norm output_norm;
    struct linear output;       /* w = token_embd where they are tied */
    bool tied;
    real *cos_sin;              /* n_positions x n_rot: the angles of rope */
    int n_positions;
    void *block;
    size_t block_size;
    float **vectors;            /* select_bias arrays */
};

/*
 * Reads the model at path for sequences of up to n_positions tokens. DSR1_ERR_UNSUPPORTED for a graph that has
 * no backward pass here: today llama (dense or Mixtral's experts), qwen2, deepseek and deepseek2 have one.
 */
dsr1_status net_open(const char *path, int n_positions, struct net *net, dsr1_error *err);
void net_close(struct net *net);        /* accepts a zeroed one */

/* Is this one matrix of experts rather than one for all rows? */
static inline bool net_has_experts(const struct net_layer *layer)
{
    return layer->router.n_mats > 0;
}

/* Calls fn for every matrix that is present (layer NET_ALL_LAYERS: of all layers; the head is not among them). */
void net_each_linear(struct net *net, int layer, void (*fn)(struct linear *linear, void *user), void *user);

#endif
