/*
 * model_host.h - one model with its engine, and text from tokens
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_MODEL_HOST_H
#define LSP_MODEL_HOST_H

#include "dsr1.h"
#include "pg_host.h"
#include "polish.h"

/* How a model is asked (layout.h). */
enum prompt_mode { PROMPT_FIM, PROMPT_HOLE, PROMPT_PREFIX_ONLY, PROMPT_CHAT };

struct model_host {
    struct pg_host *pg;         /* a server that has the model; all else is zero then */
    dsr1_model *model;
    dsr1_engine *engine;
    dsr1_model_info info;
    enum prompt_mode prompt;    /* the best that works with this model: see probe.h */
    bool remembered;            /* from an earlier load */
    double load_ms;
};

struct model_wish {
    const struct pg_wish *pg;   /* not NULL: ask this server; the rest does not matter */
    const char *path;
    int threads, context;       /* 0: the default */
    int kv_mib;                 /* of the KV cache, at most; 0: the default */
    int prompt;                 /* enum settings_prompt: a mode, or 0 for the best that works */
};

/*
 * Connects to the server, or maps the model, opens an engine and finds out how to ask it, which brings the
 * weights into memory. *host is {0} after a failure, except that of a server,
 * which is tried again when it is needed.
 */
dsr1_status model_host_open(struct model_host *host, const struct model_wish *wish, dsr1_error *err);
void model_host_close(struct model_host *host);

/* The model for those who name none: DSR1_MODEL, or the first that is there of the places in docs/lsp.md. */
void model_host_default_path(char *path, size_t size);

struct generation {
    const int32_t *tokens;
    size_t n_tokens;
    int max_tokens;
    float temperature;
    float min_p;            /* 0: off */
    uint64_t seed;
    const char *grammar;    /* GBNF that the text is the beginning of, or NULL; it becomes NULL where it cannot be used */
    bool heal;              /* the last token is chosen anew, and the text begins behind its bytes */
    /* Asked between steps and after each token: true ends the generation. */
    bool (*stop)(void *user, const struct draft *draft);
    void *user;
    /* results */
    dsr1_usage usage;
    double first_ms;        /* until the first token */
};

/*
 * The same for n of them at once, in one batch: each writes into its own draft. The first failure ends all that have not
 * begun; what was written stays.
 */
dsr1_status model_host_generate_all(struct model_host *host, struct generation *generations, struct draft *drafts, int n,
                                    dsr1_error *err);

/* Appends what the model writes to the draft. A generation that was stopped is no failure. */
dsr1_status model_host_generate(struct model_host *host, struct generation *generation, struct draft *draft,
                                dsr1_error *err);

#endif
