/*
 * model_host.h - one model with its engine, and text from tokens
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_MODEL_HOST_H
#define LSP_MODEL_HOST_H

#include "dsr1.h"
#include "polish.h"

struct model_host {
    dsr1_model *model;
    dsr1_engine *engine;
    dsr1_model_info info;
    double load_ms;
};

/*
 * Maps the model, opens an engine (0 means the default) and evaluates one
 * token, which brings the weights into memory. *host is {0} after a failure.
 */
dsr1_status model_host_open(struct model_host *host, const char *path, int threads, int context, dsr1_error *err);
void model_host_close(struct model_host *host);

/* The model for those who name none: DSR1_MODEL, or the first that is there of the places in docs/lsp.md. */
void model_host_default_path(char *path, size_t size);

struct generation {
    const int32_t *tokens;
    size_t n_tokens;
    int max_tokens;
    float temperature;
    /* Asked between steps and after each token: true ends the generation. */
    bool (*stop)(void *user, const struct draft *draft);
    void *user;
    /* results */
    dsr1_usage usage;
    double first_ms;        /* until the first token */
};

/* Appends what the model writes to the draft. A generation that was stopped is no failure. */
dsr1_status model_host_generate(struct model_host *host, struct generation *generation, struct draft *draft,
                                dsr1_error *err);

#endif
