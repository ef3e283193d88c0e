/*
 * trainable.h - which numbers of a network are trained, in one flat vector
 *
 * Low-rank adapters beside frozen matrices, or matrices and norms themselves. All of them lie one
 * after the other in one vector, as do their gradients and the optimiser's moments: clipping,
 * summing over threads and checkpoints are then loops over numbers.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_TRAINABLE_H
#define TRAIN_TRAINABLE_H

#include "train/net.h"

/* Kinds of weights, to be or-ed. */
enum {
    TRAINABLE_Q = 1,            /* attn_q, attn_q_a, attn_q_b */
    TRAINABLE_K = 2,            /* attn_k, attn_kv_a_mqa, attn_k_b, attn_kv_b */
    TRAINABLE_V = 4,            /* attn_v, attn_v_b */
    TRAINABLE_O = 8,            /* attn_output */
    TRAINABLE_ATTENTION = 15,
    TRAINABLE_FFN = 16,         /* ffn_gate, ffn_up, ffn_down of dense layers */
    TRAINABLE_SHARED = 32,      /* of shared experts */
    TRAINABLE_EXPERTS = 64,     /* of routed experts */
    TRAINABLE_ROUTER = 128,     /* ffn_gate_inp */
    TRAINABLE_NORMS = 256,      /* *_norm; only whole */
    TRAINABLE_DOWN = 512,       /* ffn_down of dense layers, shared and routed experts: a second kind that they have */
};

struct trainable_options {
    int rank;                   /* of adapters */
    float alpha;                /* an adapter counts alpha / rank; 0: rank */
    unsigned lora;              /* kinds that get an adapter */
    unsigned whole;             /* kinds that are trained themselves */
    uint64_t seed;              /* of the adapters' A; B starts at zero, so that nothing changes at first */
};

/* One tensor of the vector. */
struct param {
    char name[LINEAR_NAME + 8]; /* "blk.3.attn_q.weight.lora_a" */
    int n_dims;
    int64_t ne[3];              /* as in a GGUF file */
    size_t at, n;
    /* Where the network looks for it, and what it saw before. */
    const real **place;
    const real *before;
};

struct trainable {
    struct net *net;
    struct trainable_options options;
    struct param *params;
    int n_params;
    real *value;
    size_t n;
    size_t value_size;
    bool active;                /* trainable_activate */
};

/*
 * Joins adapters and whole weights to the network, which then reads them from value. DSR1_ERR_ARGUMENT when
 * nothing is left to train, DSR1_ERR_NOMEM. One trainable at a time may be joined to a net.
 */
dsr1_status trainable_open(struct net *net, const struct trainable_options *options, struct trainable *t,
                           dsr1_error *err);

/* The network is as before. Accepts a zeroed one. */
void trainable_close(struct trainable *t);

/*
 * Off: the network computes as if nothing were joined (for reference probabilities); on: with it. Only while no pass
 * is between its beginning and its end.
 */
void trainable_activate(struct trainable *t, bool on);

/* NULL if there is none. */
const struct param *trainable_find(const struct trainable *t, const char *name);

/*
 * A list with commas of "attn", "q", "k", "v", "o", "ffn", "shared", "experts", "down", "router", "norms", "all" (but for
 * the last two) and "none"; false for other words.
 */
bool trainable_parse(const char *text, unsigned *kinds);

/* The kinds of a matrix, by its tensor's name: of TRAINABLE_*, 0 for others. Any of them makes it trained. */
unsigned trainable_kind(const char *name);

#endif
