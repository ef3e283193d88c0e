/*
 * api_engine.c - dsr1.h: the engine's pump
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "api/handle.h"
#include "serve/engine.h"

struct dsr1_engine {
    struct engine engine;
};

/* The handle is the engine itself: one allocation, nothing in between. */
static struct engine *inner(const dsr1_engine *engine)
{
    return (struct engine *) engine;
}

dsr1_status dsr1_engine_open(const dsr1_model *model, const dsr1_engine_options *options, dsr1_engine **engine,
                             dsr1_error *err)
{
    return engine_open(&model->model, model->tokenizer, options, (struct engine **) engine, err);
}

void dsr1_engine_close(dsr1_engine *engine)
{
    engine_close(inner(engine));
}

dsr1_status dsr1_engine_submit(dsr1_engine *engine, const dsr1_request *request, uint64_t *id, dsr1_error *err)
{
    return engine_submit(inner(engine), request, id, err);
}

void dsr1_engine_cancel(dsr1_engine *engine, uint64_t id)
{
    engine_cancel(inner(engine), id);
}

bool dsr1_engine_get_progress(const dsr1_engine *engine, uint64_t id, dsr1_progress *progress)
{
    return engine_get_progress(inner(engine), id, progress);
}

int dsr1_engine_step(dsr1_engine *engine, dsr1_error *err)
{
    return engine_step(inner(engine), err);
}

void dsr1_engine_get_stats(const dsr1_engine *engine, dsr1_engine_stats *stats)
{
    engine_get_stats(inner(engine), stats);
}
