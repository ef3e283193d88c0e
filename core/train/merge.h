/*
 * merge.h - an adapter made part of a model file
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_MERGE_H
#define TRAIN_MERGE_H

#include "base/tensor_type.h"
#include "dsr1.h"

struct merge_options {
    int type;                   /* enum tensor_type of the matrices that change; -1: as they are, see below */
    float strength;             /* multiplies the adapter; 1 */
    /* Called before each changed tensor; may be NULL. */
    void (*progress)(void *user, int done, int n, const char *name);
    void *user;
};

/* How many tensors have changed, and the largest error that writing made, over the largest weight of its row. */
struct merge_result {
    int n_changed;
    double worst;
};

/*
 * Writes base + adapter to `to`: every tensor that the adapter names is computed in floats and written in
 * options->type. As they are, changed matrices keep their type where encode_row knows it, and get Q8_0 where not; rows
 * that are no whole blocks get F16. Routers and vectors stay F32. DSR1_ERR_FORMAT for an adapter that does not fit the
 * model; the file appears when it is whole.
 */
dsr1_status merge_files(const char *base, const char *adapter, const char *to, const struct merge_options *options,
                        struct merge_result *result, dsr1_error *err);

#endif
