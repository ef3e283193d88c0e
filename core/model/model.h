/*
 * model.h - an open model: file, shape, weights, angles
 *
 * Immutable once open; engines on any thread share it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "kv/kv_cache.h"
#include "model/rope.h"
#include "model/shape.h"
#include "model/weights.h"

struct model {
    struct gguf *gguf;
    struct model_shape shape;
    struct weights weights;
    struct rope rope;
    struct pack_writer *pack_writer;    /* at work on a pack file, or NULL */
};

/*
 * Takes over the gguf also when it fails. Packed weights are mapped from a pack
 * file (pack.h) where there is one. Else they are packed with all cores where the
 * copy fits comfortably into memory, and written to the cache for the next start;
 * else panels are packed on the fly. DSR1_PACK=off in the environment: always so.
 */
dsr1_status model_open(struct gguf *gguf, struct model *model, dsr1_error *err);
void model_close(struct model *model);

/* What the model keeps per token in a cache of this type. */
struct kv_shape model_kv_shape(const struct model *model, enum kv_type type);

#endif
