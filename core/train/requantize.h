/*
 * requantize.h - a model's matrices in smaller formats, rounded by what their rows look like
 *
 * Layer by layer over calibration text: each matrix is rounded with gptq.h, and those that write into the residual
 * stream (attention's output, down) are first solved for anew, so that the stream of the rounded model is that of the
 * given one again, whatever the roundings before did. Down matrices of one layer, shared and routed, are rounded
 * together, since their products add up.
 *
 * Formats without an even grid (encode.h) are rounded to the nearest, and the layers after them still make up for it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_REQUANTIZE_H
#define TRAIN_REQUANTIZE_H

#include "base/tensor_type.h"
#include "gguf/gguf.h"
#include "train/calibration.h"

struct requantize_options {
    struct calibration_options text;
    float ridge;                /* towards the given weights, in units of the mean energy of a row's value */
    int threads;                /* 0: the cores of this process */
    enum tensor_type (*type_of)(void *user, const struct gguf_tensor *tensor);  /* its own: the tensor stays */
    void (*progress)(void *user, int layer, int n_layers);      /* or NULL */
    void *user;
};

struct requantized_tensor {
    const char *name;           /* in the file, which stays open */
    uint8_t *bytes;             /* of the whole tensor in its new format */
};

struct requantized {
    struct requantized_tensor *tensors;
    int n;
    int n_tokens;               /* of calibration */
    double before, after;       /* -log p per token of them */
};

/* 24576 tokens in windows of 256. */
struct requantize_options requantize_defaults(void);

/*
 * Attention's and feed-forward matrices of the layers of the model at path; embeddings and the head are not among them.
 * DSR1_ERR_UNSUPPORTED for latent attention and for what has no network in core/train, DSR1_ERR_LIMIT for layers whose
 * experts are too wide to be rounded together.
 */
dsr1_status requantize(const char *path, const struct gguf *file, const struct requantize_options *options,
                       struct requantized *result, dsr1_error *err);
void requantized_free(struct requantized *result);

/* The tensor's new bytes, or NULL. */
const uint8_t *requantized_find(const struct requantized *result, const char *name);

#endif
