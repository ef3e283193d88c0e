/*
 * upcycle_write.h - the file of an upcycled model
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_UPCYCLE_WRITE_H
#define TRAIN_UPCYCLE_WRITE_H

#include "gguf/gguf.h"
#include "train/upcycle.h"

/* What became of one layer. */
struct upcycled_layer {
    int *order;                 /* n_ff: the neuron of the dense layer at each place (split.h) */
    real *router;               /* n_experts x d, scaled */
    uint8_t *down_shared;       /* d rows of n_shared neurons, encoded; NULL without shared experts */
    uint8_t *down;              /* n_experts x d rows of width, encoded */
};

/* The shape all layers share. */
struct upcycled_shape {
    int n_layers, d, n_ff, n_shared, n_experts, width;
    enum tensor_type down_type;
};

dsr1_status upcycle_write(const struct gguf *dense, const char *to, const struct upcycle_options *options,
                          const struct upcycled_shape *shape, const struct upcycled_layer *layers, dsr1_error *err);

#endif
