/*
 * checkpoint.h - everything that a run needs to go on as if it had not stopped
 *
 * A GGUF file of three vectors (values, Adam's moments) and a few numbers. Random numbers and the order of the data
 * depend on the seed and the step alone, so the step stands for both. The file is written beside the old one, waited
 * for until it is on disk, and then takes its name.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "train/optimizer.h"
#include "train/trainable.h"

/*
 * fingerprint: of whatever must be the same when the run goes on (data, seed, options); read refuses another one with
 * DSR1_ERR_ARGUMENT, and DSR1_ERR_FORMAT for other trained tensors.
 */
dsr1_status checkpoint_write(const struct trainable *t, const struct optimizer *o, uint64_t fingerprint,
                             const char *path, dsr1_error *err);
dsr1_status checkpoint_read(struct trainable *t, struct optimizer *o, uint64_t fingerprint, const char *path,
                            dsr1_error *err);

/* A hash to build fingerprints with: FNV-1a over bytes, from hash on (0 to begin). */
uint64_t checkpoint_hash(uint64_t hash, const void *bytes, size_t size);

#endif
