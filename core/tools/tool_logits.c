/*
 * tool_logits.c - dsr1 logits: what the model says about token ids
 *
 * For comparing with other engines: the cache is f32 unless told otherwise, so
 * that only the order of summation can differ on an f32 model.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOP = 100 };

struct logits {
    const char *model, *output;
    struct int_list tokens;
    bool step, all, json;
    int top;
    struct engine_flags engine;
    /* Filled while the engine runs. */
    size_t n_vocab, first;      /* first position that is kept */
    float *rows;                /* n_rows x n_vocab */
    size_t n_seen;
    dsr1_error *err;
};

static void on_event(const dsr1_event *event, void *user)
{
    struct logits *o = user;
    if (event->type == DSR1_EVENT_LOGITS && (size_t) event->position >= o->first) {
        memcpy(o->rows + ((size_t) event->position - o->first) * o->n_vocab, event->logits,
               o->n_vocab * sizeof *o->rows);
        o->n_seen++;
    } else if (event->type == DSR1_EVENT_DONE && event->finish == DSR1_FINISH_ERROR) {
        error_set(o->err, event->error->status, "%s", event->error->message);
    }
}

static dsr1_status evaluate(struct logits *o, const dsr1_model *model, dsr1_error *err)
{
    dsr1_engine_options options = {0};
    dsr1_engine *engine = NULL;
    dsr1_adapter *adapter;
    uint64_t id;
    dsr1_status status = tool_adapter_open(&o->engine, model, &adapter, err);
    tool_engine_options(&o->engine, &options);
    options.max_batch = 1;
    options.context_size = (int) o->tokens.n + 1;
    if (o->step)
        options.chunk_size = 1;
    dsr1_request request = {.tokens = o->tokens.items, .n_tokens = o->tokens.n, .on_event = on_event, .user = o,
                            .want_logits = o->all ? DSR1_LOGITS_ALL : DSR1_LOGITS_LAST, .adapter = adapter};
    o->err = err;
    if (status == DSR1_OK)
        status = dsr1_engine_open(model, &options, &engine, err);
    if (status == DSR1_OK)
        status = dsr1_engine_submit(engine, &request, &id, err);
    if (status == DSR1_OK)
        status = tool_engine_drain(engine, err);
    dsr1_engine_close(engine);
    dsr1_adapter_close(adapter);
    if (status == DSR1_OK)
        status = err->status;
    if (status == DSR1_OK && o->n_seen != o->tokens.n - o->first)
        status = error_set(err, DSR1_ERR_INTERNAL, "%zu rows of logits instead of %zu", o->n_seen,
                           o->tokens.n - o->first);
    return status;
}

static dsr1_status print_top(const struct logits *o, const dsr1_model *model, dsr1_error *err)
{
    const float *row = o->rows + (o->tokens.n - o->first - 1) * o->n_vocab;
    int32_t ids[MAX_TOP];
    int n = tool_top(row, (int) o->n_vocab, o->top, ids);
    json_t *list = o->json ? json_array() : NULL;
    for (int i = 0; i < n; i++) {
        char text[TOOL_TOKEN_TEXT];
        size_t size = dsr1_token_bytes(model, ids[i], true, text, sizeof text);
        if (o->json)
            json_array_append_new(list, tool_token_json(model, ids[i], "logit", (double) row[ids[i]]));
        else
            printf("%d\t%.6f\t%.*s\n", ids[i], (double) row[ids[i]], (int) (size < sizeof text ? size : sizeof text),
                   text);
    }
    return o->json ? tool_print_json(list, err) : tool_flush(err);
}

static dsr1_status run(struct logits *o, dsr1_error *err)
{
    dsr1_model *model;
    dsr1_model_info info;
    dsr1_status status = tool_model_open(o->model, &model, err);
    if (status != DSR1_OK)
        return status;
    dsr1_model_get_info(model, &info);
    o->n_vocab = (size_t) info.n_vocab;
    o->first = o->all ? 0 : o->tokens.n - 1;
    size_t n_rows = o->tokens.n - o->first;
    o->rows = memory_array(n_rows, o->n_vocab * sizeof *o->rows);
    status = o->rows ? evaluate(o, model, err) : error_nomem(err, "the logits");
    if (status == DSR1_OK && o->output)
        status = tool_write(o->output, o->rows, n_rows * o->n_vocab * sizeof *o->rows, err);
    if (status == DSR1_OK && (!o->output || o->top))
        status = print_top(o, model, err);
    free(o->rows);
    dsr1_model_close(model);
    return status;
}

int tool_logits(int argc, char **argv)
{
    struct logits o = {.engine = {.kv = "f32"}};
    const struct option_row rows[] = {
        TOOL_MODEL_ROW(&o.model),
        TOOL_ADAPTER_ROW(o.engine),
        {0, "tokens", OPTION_INTS, &o.tokens, "1,2,3", "the token ids", 0, INT32_MAX},
        {0, "step", OPTION_FLAG, &o.step, NULL, "one token a step, instead of all at once", 0, 0},
        {0, "all", OPTION_FLAG, &o.all, NULL, "a row for every position, not for the last one only", 0, 0},
        {'o', "output", OPTION_STRING, &o.output, "FILE", "rows of f32, little-endian (-: standard output)", 0, 0},
        {0, "top", OPTION_INT, &o.top, "K", "print the K best of the last row (default without -o: 10)", 1, MAX_TOP},
        TOOL_KV_ROW(o.engine, "f32 (default), bf16, f16 or q8_0"),
        {0, "chunk", OPTION_INT, &o.engine.chunk, "N", "tokens computed in one step", 1, 65536},
        TOOL_THREADS_ROW(o.engine),
        TOOL_EXPERTS_ROW(o.engine),
        {0, "json", OPTION_FLAG, &o.json, NULL, "print the best ones as JSON", 0, 0},
        {0},
    };
    const struct command_line line = {"dsr1 logits", "[-m MODEL] --tokens 1,2,3 [--step] [--all] [-o OUT.f32]",
                                      "Evaluates token ids and writes the raw logits of the last position, or of all.",
                                      rows, 0};
    dsr1_engine_options ignored = {0};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go == OPTIONS_GO && o.tokens.n == 0)
        go = options_wrong(&line, "--tokens is missing");
    if (go == OPTIONS_GO && !tool_engine_options(&o.engine, &ignored))
        go = options_wrong(&line, "--kv %s: must be f32, bf16, f16 or q8_0", o.engine.kv);
    if (go == OPTIONS_GO) {
        dsr1_error err = {0};
        if (!o.output && !o.top)
            o.top = 10;
        go = run(&o, &err) == DSR1_OK ? 0 : tool_fail("logits", &err);
    }
    int_list_free(&o.tokens);
    return go;
}
