/*
 * serving.h - what is being trained, as the serving engine takes it
 *
 * The policy that samples and the one that learns are then the same numbers, without a file in between.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_SERVING_H
#define TRAIN_SERVING_H

#include "model/lora.h"
#include "train/trainable.h"

/*
 * A copy of the trainables as they are now, as an adapter of model, which is the file that t's net was read from. Whole
 * routers become pairs as in adapter.h. DSR1_ERR_UNSUPPORTED for what is no adapter: norms and other whole matrices.
 */
dsr1_status serving_adapter(const struct trainable *t, const struct model *model, struct lora **lora, dsr1_error *err);

#endif
