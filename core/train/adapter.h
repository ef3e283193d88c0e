/*
 * adapter.h - trained weights as a GGUF adapter that llama.cpp loads, too
 *
 * general.type "adapter", adapter.type "lora", and for each base tensor NAME a pair NAME.lora_a {n_in, r[, E]} and
 * NAME.lora_b {r, n_out[, E]}; it counts alpha / r. A matrix that was trained whole is written as a pair, too, when its
 * change has a small exact one: a router of E experts has rank E at most, A the change and B the unit matrix.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_ADAPTER_H
#define TRAIN_ADAPTER_H

#include "train/trainable.h"

/* The rank up to which a whole matrix's change is written exactly. */
enum { ADAPTER_MAX_EXACT = 512 };

/*
 * Writes what t has learned. DSR1_ERR_UNSUPPORTED where it is no adapter: norms, and whole matrices
 * with more rows than ADAPTER_MAX_EXACT. The file appears when it is whole.
 */
dsr1_status adapter_write(const struct trainable *t, const char *path, dsr1_error *err);

/*
 * Reads such a file into t, whose ranks must be the file's. What the file does not name stays as it is. DSR1_ERR_FORMAT
 * for a tensor that t does not train, another shape, half a pair or another architecture.
 */
dsr1_status adapter_read(struct trainable *t, const char *path, dsr1_error *err);

#endif
