/*
 * served.c - a model that is being served: its file, its engine, its requests
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/served.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static size_t longest_token(const dsr1_model *model, int n_vocab)
{
    size_t longest = 1;
    for (int32_t token = 0; token < n_vocab; token++) {
        size_t size = dsr1_token_bytes(model, token, true, NULL, 0);
        longest = size > longest ? size : longest;
    }
    return longest;
}

dsr1_status served_open(const char *path, const dsr1_engine_options *options, const char *notes, struct served **out,
                        dsr1_error *err)
{
    dsr1_engine_stats stats;
    struct served *s = calloc(1, sizeof *s);
    struct digest_file file = digest_look(path);
    *out = NULL;
    if (s)
        s->path = strdup(path);
    if (!s || !s->path) {
        served_close(s);
        return error_nomem(err, "a model");
    }
    dsr1_status status = dsr1_model_open(path, &s->model, err);
    if (status == DSR1_OK)
        status = dsr1_engine_open(s->model, options, &s->engine, err);
    if (status < 0) {
        served_close(s);
        return status;
    }
    dsr1_model_get_info(s->model, &s->info);
    dsr1_engine_get_stats(s->engine, &stats);
    s->context_size = stats.context_size;
    s->longest_token = longest_token(s->model, s->info.n_vocab);
    s->id = digest_id(&file);
    digest_start(&s->digest, path, &file, notes);
    *out = s;
    return DSR1_OK;
}

void served_close(struct served *s)
{
    if (!s)
        return;
    digest_stop(&s->digest);
    dsr1_engine_close(s->engine);
    adapters_close(&s->adapters);
    dsr1_model_close(s->model);
    free(s->path);
    free(s);
}
