/*
 * upcycle.h - a dense llama model into DeepSeekMoE form
 *
 * Each feed-forward layer is cut into slices of neurons: some always run (the shared expert), the others are routed
 * experts, of which a linear router chooses a few for each token (split.h). Router logits are tiny, so that every
 * gate is one (expert_weights_scale times 1 / n_experts) and with all experts chosen the model is the dense one.
 * Gate and up matrices keep their bits, since neurons are their rows; down is encoded anew, unless neurons stay
 * together in blocks of its format.
 *
 * With `refit`, layers are taken one after the other: the down matrix of each is solved for (ridge towards
 * the dense one) so that, behind the chosen experts, the residual stream is the dense model's again, whatever the
 * layers before did wrong, quantisation included. Then all experts together are no longer exactly the dense model.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_UPCYCLE_H
#define TRAIN_UPCYCLE_H

#include "base/tensor_type.h"
#include "train/split.h"

struct upcycle_options {
    const char *const *data;    /* calibration text (dataset.h) */
    size_t n_data;
    int n_tokens, seq;          /* of it: how many, in windows of how many */
    int n_slices, n_shared;     /* of each layer; slices that always run */
    int n_used;                 /* experts per token that the split is made for */
    int n_default;              /* expert_used_count of the file; 0: n_used */
    int grain, rounds, epochs;  /* split.h */
    bool refit;
    float ridge;                /* towards the dense weights, in units of the mean energy of a neuron */
    float all_share;            /* weight of the case that all experts run */
    /*
     * Of down matrices: encode_knows() it; or negative: copied bit by bit, which needs a grain of whole blocks and no
     * refit.
     */
    int down_type;
    const char *name;           /* general.name, or NULL: as in the dense file */
    const char *fim;            /* "PREFIX,SUFFIX,MIDDLE": tokens that will ask for the middle of a text, or NULL */
    const char *fim_order;      /* "psm", or "spm": in what order they will do so */
    int threads;                /* 0: the cores of this process */
    uint64_t seed;
    void (*progress)(void *user, int layer, int n_layers, const struct split_report *report);
    void *user;
};

struct upcycle_result {
    int n_tokens;               /* calibrated on */
    double dense, experts;      /* -log p per token of them; experts only with refit */
};

/* 24 slices, 8 shared, 8 of 16 used, 24576 tokens in windows of 256. */
struct upcycle_options upcycle_defaults(void);

/*
 * Reads the dense file `from` and writes `to`. DSR1_ERR_UNSUPPORTED for other models than llama's dense ones,
 * DSR1_ERR_ARGUMENT where the numbers do not fit the model.
 */
dsr1_status upcycle_file(const char *from, const char *to, const struct upcycle_options *options,
                         struct upcycle_result *result, dsr1_error *err);

#endif
