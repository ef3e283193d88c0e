/*
 * tool_perplexity.c - dsr1 perplexity: how well a model predicts a text
 *
 * The usual way: the text is cut into windows of CTX tokens that do not
 * overlap, each begins with BOS where the model has one, and the second half
 * of each is scored, so that every scored token has seen at least CTX/2 before
 * it. The standard error treats tokens as independent.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct perplexity {
    const char *model, *file;
    int context, n_windows;
    bool json, load;
    struct engine_flags engine;
    dsr1_adapter *adapter;
    int n_layers, n_experts, n_used;
    int64_t *counts;            /* n_layers x n_experts: tokens sent to each; NULL unless `load` */
    /* Of the window that is being evaluated. */
    const int32_t *window;
    int n_vocab;
    dsr1_error *err;
    /* Of all windows. */
    double sum, sum_squares;
    size_t n_scored;
};

static void count_experts(struct perplexity *o, const uint16_t *experts)
{
    for (int l = 0; l < o->n_layers; l++)
        for (int i = 0; i < o->n_used; i++) {
            int expert = experts[l * o->n_used + i];
            if (expert < o->n_experts)
                o->counts[l * o->n_experts + expert]++;
        }
}

static void on_event(const dsr1_event *event, void *user)
{
    struct perplexity *o = user;
    if (event->type == DSR1_EVENT_EXPERTS)
        count_experts(o, event->experts);
    if (event->type == DSR1_EVENT_DONE && event->finish == DSR1_FINISH_ERROR)
        error_set(o->err, event->error->status, "%s", event->error->message);
    if (event->type != DSR1_EVENT_LOGITS || event->position < o->context / 2 || event->position + 1 >= o->context)
        return;
    double nll = tool_log_sum(event->logits, o->n_vocab) -
                 (double) event->logits[o->window[event->position + 1]];
    o->sum += nll;
    o->sum_squares += nll * nll;
    o->n_scored++;
}

static double mean_error(const struct perplexity *o)
{
    double n = (double) o->n_scored, mean = o->sum / n, variance = o->sum_squares / n - mean * mean;
    return n > 1 && variance > 0 ? sqrt(variance / (n - 1)) : 0;
}

static dsr1_status score(struct perplexity *o, dsr1_engine *engine, struct int_list *tokens, int32_t bos,
                         dsr1_error *err)
{
    double start = clock_seconds();
    for (int w = 0; w < o->n_windows; w++) {
        int32_t *window = tokens->items + (size_t) w * (size_t) o->context;
        int32_t saved = window[0];
        if (bos >= 0)
            window[0] = bos;
        o->window = window;
        dsr1_request request = {.tokens = window, .n_tokens = (size_t) o->context, .want_logits = DSR1_LOGITS_ALL,
                                .want_experts = o->load, .on_event = on_event, .user = o, .adapter = o->adapter};
        uint64_t id;
        dsr1_status status = dsr1_engine_submit(engine, &request, &id, err);
        if (status == DSR1_OK)
            status = tool_engine_drain(engine, err);
        if (status == DSR1_OK)
            status = err->status;
        window[0] = saved;
        if (status != DSR1_OK)
            return status;
        double left = (clock_seconds() - start) / (w + 1) * (o->n_windows - w - 1);
        tool_progress("%d of %d windows, perplexity %.4f, %.0f s left", w + 1, o->n_windows,
                      exp(o->sum / (double) o->n_scored), left);
    }
    tool_progress_end();
    if (o->n_scored == 0)
        return error_set(err, DSR1_ERR_INTERNAL, "the engine sent no logits");
    return DSR1_OK;
}

/* How many times its equal share each expert of each layer gets: 1 everywhere is perfect balance. */
static json_t *json_load(const struct perplexity *o)
{
    json_t *layers = json_array();
    for (int l = 0; l < o->n_layers; l++) {
        const int64_t *counts = o->counts + l * o->n_experts;
        double sum = 0;
        for (int e = 0; e < o->n_experts; e++)
            sum += (double) counts[e];
        json_t *layer = json_array();
        for (int e = 0; e < o->n_experts; e++)
            json_array_append_new(layer, json_real(sum > 0 ? (double) counts[e] * o->n_experts / sum : 0));
        json_array_append_new(layers, layer);
    }
    return layers;
}

static dsr1_status open_load(struct perplexity *o, const dsr1_model_info *info, dsr1_error *err)
{
    if (info->n_experts == 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "--expert-load: the model has no experts");
    o->n_layers = info->n_layers;
    o->n_experts = info->n_experts;
    o->n_used = o->engine.experts ? o->engine.experts : info->n_experts_used;
    o->counts = memory_array((size_t) o->n_layers * (size_t) o->n_experts, sizeof *o->counts);
    if (!o->counts)
        return error_nomem(err, "counts of experts");
    memset(o->counts, 0, (size_t) o->n_layers * (size_t) o->n_experts * sizeof *o->counts);
    return DSR1_OK;
}

static dsr1_status report(const struct perplexity *o, const char *model, size_t n_tokens, dsr1_error *err)
{
    double mean = o->sum / (double) o->n_scored, perplexity = exp(mean), error = perplexity * mean_error(o);
    if (!o->json) {
        printf("perplexity %.4f +- %.4f (%zu tokens scored in %d windows of %d)\n", perplexity, error, o->n_scored,
               o->n_windows, o->context);
        return tool_flush(err);
    }
    json_t *json = json_pack("{s:s, s:f, s:f, s:f, s:I, s:I, s:i, s:i}", "model", model, "perplexity", perplexity,
                             "standard_error", error, "nll", mean, "tokens", (json_int_t) n_tokens, "scored",
                             (json_int_t) o->n_scored, "windows", o->n_windows, "context", o->context);
    if (json && o->load)
        json_object_set_new(json, "expert_load", json_load(o));
    return tool_print_json(json, err);
}

static dsr1_status run(struct perplexity *o, dsr1_error *err)
{
    dsr1_model *model;
    dsr1_engine *engine = NULL;
    dsr1_model_info info;
    struct buffer text = {0};
    struct int_list tokens = {0};
    dsr1_engine_options options = {0};
    dsr1_status status = tool_model_open(o->model, &model, err);
    if (status == DSR1_OK)
        status = tool_adapter_open(&o->engine, model, &o->adapter, err);
    if (status == DSR1_OK)
        status = tool_read(o->file, &text, err);
    if (status == DSR1_OK)
        status = tool_tokens(model, text.data, text.size, DSR1_ADD_BOS, &tokens, err);
    if (status != DSR1_OK)
        goto done;
    dsr1_model_get_info(model, &info);
    if (o->load && (status = open_load(o, &info, err)) != DSR1_OK)
        goto done;
    o->n_vocab = info.n_vocab;
    o->err = err;
    int most = (int) (tokens.n / (size_t) o->context);
    o->n_windows = o->n_windows && o->n_windows < most ? o->n_windows : most;
    if (o->n_windows == 0) {
        status = error_set(err, DSR1_ERR_ARGUMENT, "the text has %zu tokens, and one window takes %d", tokens.n,
                           o->context);
        goto done;
    }
    /* Only a model whose tokenizer puts BOS in front was trained to see one there. */
    int32_t bos = tokens.items[0] == info.bos ? info.bos : -1;
    tool_engine_options(&o->engine, &options);
    options.context_size = o->context;
    options.max_batch = 1;
    status = dsr1_engine_open(model, &options, &engine, err);
    if (status == DSR1_OK)
        status = score(o, engine, &tokens, bos, err);
    if (status == DSR1_OK)
        status = report(o, info.path, tokens.n, err);
done:
    dsr1_engine_close(engine);
    dsr1_adapter_close(o->adapter);
    int_list_free(&tokens);
    buffer_free(&text);
    free(o->counts);
    dsr1_model_close(model);
    return status;
}

int tool_perplexity(int argc, char **argv)
{
    struct perplexity o = {.context = 512};
    const struct option_row rows[] = {
        TOOL_MODEL_ROW(&o.model),
        TOOL_ADAPTER_ROW(o.engine),
        {'f', "file", OPTION_STRING, &o.file, "FILE", "the text (-: standard input)", 0, 0},
        {'c', "context", OPTION_INT, &o.context, "CTX", "tokens of a window (512)", 8, 1 << 20},
        {0, "windows", OPTION_INT, &o.n_windows, "N", "score the first N windows only", 1, INT32_MAX},
        TOOL_KV_ROW(o.engine, "bf16 (default), f16, f32 or q8_0"),
        TOOL_THREADS_ROW(o.engine),
        TOOL_EXPERTS_ROW(o.engine),
        {0, "expert-load", OPTION_FLAG, &o.load, NULL, "with --json: how often each expert was chosen, over its equal share",
         0, 0},
        {0, "json", OPTION_FLAG, &o.json, NULL, "print one JSON object", 0, 0},
        {0},
    };
    const struct command_line line = {
        "dsr1 perplexity", "[-m MODEL] -f FILE [-c CTX] [--json]",
        "Cuts a text into windows of CTX tokens that do not overlap and scores the second\n"
        "half of each. Prints the perplexity and its standard error.", rows, 0};
    dsr1_engine_options ignored = {0};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go != OPTIONS_GO)
        return go;
    if (!o.file)
        return options_wrong(&line, "-f is missing");
    if (o.load && !o.json)
        return options_wrong(&line, "--expert-load needs --json");
    if (!tool_engine_options(&o.engine, &ignored))
        return options_wrong(&line, "--kv %s: must be bf16, f16, f32 or q8_0", o.engine.kv);
    dsr1_error err = {0};
    return run(&o, &err) == DSR1_OK ? 0 : tool_fail("perplexity", &err);
}
