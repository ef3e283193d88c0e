/*
 * dataset.h - files to sequences of tokens, and the order in which they are learned
 *
 * A text file is cut into windows. A .jsonl file has one object a line: {"text": ..}, windows, too;
 * {"messages": [{"role", "content"}, ..]} through the chat template, where the loss counts what the assistant says;
 * {"prompt", "completion"}, the same as a question and its answer; or {"prefix", "suffix", "middle"}, where it counts the
 * middle that the vocabulary's fill-in-the-middle tokens ask for, and its end.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_DATASET_H
#define TRAIN_DATASET_H

#include "gguf/gguf.h"

enum { DATASET_SHORTEST = 8 };  /* tokens; shorter rests of a text are left out */

/* Does predicting a token count? */
enum dataset_counts { DATASET_MUTE, DATASET_COUNTS, DATASET_MIDDLE /* and it fills a hole */ };

struct dataset {
    int n_seqs;
    int64_t *start;             /* n_seqs + 1 */
    int32_t *tokens;
    uint8_t *counts;            /* beside each token: enum dataset_counts. The first of a sequence never does. */
    int longest;
    uint64_t hash;              /* of all of it */
    int n_eval;                 /* sequences 0 .. n_eval - 1 of the order are never trained on */
};

/*
 * Reads files with the vocabulary and template of model; sequences have at most n_tokens tokens (what is longer is cut:
 * at its end, a prefix at its beginning). n_eval sequences, chosen by the seed, are set aside. DSR1_ERR_FORMAT names file and line,
 * DSR1_ERR_ARGUMENT when nothing remains to train on.
 */
dsr1_status dataset_open(const struct gguf *model, const char *const *files, size_t n_files, int n_tokens, int n_eval,
                         uint64_t seed, struct dataset *data, dsr1_error *err);
void dataset_close(struct dataset *data);

static inline int dataset_length(const struct dataset *data, int seq)
{
    return (int) (data->start[seq + 1] - data->start[seq]);
}

/* A text with a hole: it ends with what fills that. */
static inline bool dataset_is_hole(const struct dataset *data, int seq)
{
    return data->counts[data->start[seq + 1] - 1] == DATASET_MIDDLE;
}

/*
 * The sequences of a run of training: number `first` and the n - 1 after it of an endless row of epochs, each of
 * which has every sequence once in an order of its own.
 */
void dataset_pick(const struct dataset *data, uint64_t seed, uint64_t first, int n, int *seqs);

/* The sequence that stands i-th among those set aside, i < n_eval. */
int dataset_eval(const struct dataset *data, int i);

#endif
