/*
 * lora.h - a low-rank adapter beside a model's weights, as serving wants it
 *
 * LoRA (arXiv:2106.09685): y = W x + scale B (A x). The weights stay as they are, quantised, and shared by all; each
 * row of a step names its adapter or none, so that requests with different ones run in one batch (lora_step.c). An
 * adapter never changes once it is open.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef MODEL_LORA_H
#define MODEL_LORA_H

#include "model/model.h"

#include <stdatomic.h>

/* The matrices of a layer that can have a pair. */
enum lora_slot {
    LORA_Q, LORA_K, LORA_V, LORA_O, LORA_Q_A, LORA_Q_B, LORA_KV_A, LORA_K_B, LORA_V_B, LORA_KV_B, LORA_ROUTER,
    LORA_GATE, LORA_UP, LORA_DOWN,                          /* of dense layers and routed experts */
    LORA_SHARED_GATE, LORA_SHARED_UP, LORA_SHARED_DOWN,
    LORA_SLOTS
};

/* A router's exact change has as many ranks as there are experts. */
enum { LORA_MAX_RANK = 512 };

struct lora_pair {
    int rank;               /* 0: none */
    float scale;
    struct weight a, b;     /* F32, packed; n_mats as the base matrix */
};

struct lora_layer {
    struct lora_pair pairs[LORA_SLOTS];
};

struct lora {
    uint64_t id;            /* no two of a process share it: cached prefixes are kept apart by it */
    struct lora_layer *layers;
    int n_layers, max_rank, n_pairs;
    size_t size;            /* bytes of all pairs as floats */
    float alpha;            /* as its file has it */
    void *block;            /* their panels */
    size_t block_size;
    atomic_int refs;
};

/* One pair as its source has it; the arrays are valid until the source is asked again. */
struct lora_values {
    int rank;               /* 0: the source has no such pair */
    float scale;
    const float *a;         /* n_mats x rank x n_in */
    const float *b;         /* n_mats x n_out x rank */
};

struct lora_source {
    void *user;
    const char *name;       /* for messages */
    size_t n_pairs;         /* all of them must find their place */
    dsr1_status (*find)(void *user, const char *name, int n_in, int n_out, int n_mats, struct lora_values *values,
                        dsr1_error *err);
};

/*
 * Copies all pairs of a source. DSR1_ERR_FORMAT where a pair does not fit the model or has no place in it,
 * DSR1_ERR_UNSUPPORTED for a rank above LORA_MAX_RANK. The caller holds the only reference.
 */
dsr1_status lora_open(const struct model *model, const struct lora_source *source, struct lora **lora, dsr1_error *err);

struct gguf;

/* The adapter in a GGUF file (lora_file.h). */
dsr1_status lora_open_gguf(const struct model *model, struct gguf *file, struct lora **lora, dsr1_error *err);
dsr1_status lora_open_file(const struct model *model, const char *path, struct lora **lora, dsr1_error *err);

struct lora *lora_share(struct lora *lora);     /* one more reference; accepts NULL */
void lora_close(struct lora *lora);             /* one less; the last one frees. Accepts NULL */

/* The base matrix of a slot; n_mats = 0 where the layer has none. */
const struct weight *lora_base(const struct layer *layer, enum lora_slot slot);

#endif
