/*
 * model.c - an open model: file, shape, weights, angles
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/model.h"

#include "base/cpu.h"
#include "base/log.h"
#include "model/pack.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool packing_wanted(void)
{
    const char *wish = getenv("DSR1_PACK");
    return !wish || strcmp(wish, "off") != 0;
}

/* A packed copy may take half of the machine: the page cache holds the file too. */
static bool packing_fits(size_t size)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 && size / (size_t) page < (size_t) pages / 2;
}

/* Packing is an optimisation: without memory for it the model works all the same. */
static void pack(struct model *model)
{
    struct thread_pool *pool;
    dsr1_error err = {0};
    if (pack_find(&model->weights, gguf_path(model->gguf)) || !packing_fits(pack_size(&model->weights)))
        return;
    if (thread_pool_open(cpu_count(), &pool, &err) == DSR1_OK) {
        pack_memory(&model->weights, pool, &err);
        thread_pool_close(pool);
    }
    if (err.status != DSR1_OK)
        log_line(LOG_WARN, "weights stay unpacked: %s", err.message);
    else
        model->pack_writer = pack_writer_start(&model->weights);
}

dsr1_status model_open(struct gguf *gguf, struct model *model, dsr1_error *err)
{
    *model = (struct model){.gguf = gguf};
    dsr1_status status = model_shape_read(gguf, &model->shape, err);
    if (status == DSR1_OK)
        status = weights_open(gguf, &model->shape, &model->weights, err);
    if (status == DSR1_OK)
        status = rope_open(&model->shape.rope, model->weights.rope_factors, &model->rope, err);
    if (status != DSR1_OK) {
        model_close(model);
        return status;
    }
    if (packing_wanted())
        pack(model);
    return DSR1_OK;
}

void model_close(struct model *model)
{
    pack_writer_stop(model->pack_writer);
    rope_close(&model->rope);
    weights_close(&model->weights);
    gguf_close(model->gguf);
    *model = (struct model){0};
}

struct kv_shape model_kv_shape(const struct model *model, enum kv_type type)
{
    const struct model_shape *s = &model->shape;
    return (struct kv_shape){.type = type, .n_layers = s->n_layers + s->has_nextn, .n_heads = s->n_kv_heads, .n_k = s->n_k,
                             .n_v = s->n_v, .latent = s->attention == ATTENTION_MLA};
}
