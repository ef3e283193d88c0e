/*
 * calibration.c - tokens of real text, to see what a network's rows look like
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/calibration.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static dsr1_status take(const struct dataset *data, const struct calibration_options *o, struct calibration *c,
                        dsr1_error *err)
{
    int *seqs = memory_array((size_t) data->n_seqs, sizeof *seqs);
    c->start = memory_array((size_t) data->n_seqs + 1, sizeof *c->start);
    c->tokens = memory_array((size_t) o->n_tokens + (size_t) o->seq, sizeof *c->tokens);
    if (!seqs || !c->start || !c->tokens) {
        free(seqs);
        return error_nomem(err, "calibration tokens");
    }
    dataset_pick(data, o->seed, 0, data->n_seqs, seqs);
    c->start[0] = 0;
    while (c->n_seqs < data->n_seqs && c->n < o->n_tokens) {
        int seq = seqs[c->n_seqs], length = dataset_length(data, seq);
        memcpy(c->tokens + c->n, data->tokens + data->start[seq], (size_t) length * sizeof *c->tokens);
        c->n += length;
        c->start[++c->n_seqs] = c->n;
    }
    free(seqs);
    return DSR1_OK;
}

dsr1_status calibration_open(const struct gguf *model, const struct calibration_options *options, int at_least,
                             struct calibration *c, dsr1_error *err)
{
    struct dataset data = {0};
    *c = (struct calibration){0};
    dsr1_status status = dataset_open(model, options->data, options->n_data, options->seq, 0, options->seed, &data,
                                      err);
    if (status == DSR1_OK)
        status = take(&data, options, c, err);
    dataset_close(&data);
    if (status == DSR1_OK && c->n < at_least)
        status = error_set(err, DSR1_ERR_ARGUMENT, "%d calibration tokens: at least %d are wanted", c->n, at_least);
    if (status != DSR1_OK)
        calibration_close(c);
    return status;
}

void calibration_close(struct calibration *c)
{
    free(c->start);
    free(c->tokens);
    *c = (struct calibration){0};
}
