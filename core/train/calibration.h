/*
 * calibration.h - tokens of real text, to see what a network's rows look like
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_CALIBRATION_H
#define TRAIN_CALIBRATION_H

#include "train/dataset.h"

struct calibration_options {
    const char *const *data;    /* text (dataset.h) */
    size_t n_data;
    int n_tokens, seq;          /* of it: how many, in windows of how many */
    uint64_t seed;              /* which windows */
};

struct calibration {
    int n, n_seqs;
    int *start;                 /* n_seqs + 1 */
    int32_t *tokens;            /* n */
};

/* DSR1_ERR_ARGUMENT where the text has fewer than `at_least` tokens. */
dsr1_status calibration_open(const struct gguf *model, const struct calibration_options *options, int at_least,
                             struct calibration *c, dsr1_error *err);
void calibration_close(struct calibration *c);  /* accepts a zeroed one */

#endif
