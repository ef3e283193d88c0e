/*
 * lora_file.h - adapters in GGUF files, as llama.cpp has them
 *
 * general.type "adapter", adapter.type "lora", and for each base tensor NAME a pair NAME.lora_a {n_in, r[, E]} and
 * NAME.lora_b {r, n_out[, E]}; it counts adapter.lora.alpha / r, or once where alpha is 0.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef MODEL_LORA_FILE_H
#define MODEL_LORA_FILE_H

#include "gguf/gguf.h"

/* One pair of an adapter file, checked: both there, float, and their shapes fit to n_in, n_out and n_mats. */
struct lora_file_pair {
    const struct gguf_tensor *a, *b;
    int rank;
    float scale;
};

/* Checks general.type, adapter.type and general.architecture. */
dsr1_status lora_file_check(const struct gguf *file, const char *architecture, dsr1_error *err);

/*
 * The pair for a base tensor of this shape; *found false when the file has none. DSR1_ERR_FORMAT when it does not fit.
 */
dsr1_status lora_file_pair(const struct gguf *file, const char *name, int64_t n_in, int64_t n_out, int64_t n_mats,
                           struct lora_file_pair *pair, bool *found, dsr1_error *err);

/* n floats of a tensor of type F32 or F16 from its element `at` on. */
void lora_file_floats(const struct gguf_tensor *tensor, size_t at, size_t n, float *to);

#endif
