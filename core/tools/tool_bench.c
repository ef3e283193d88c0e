/*
 * tool_bench.c - dsr1 bench: prompt and generation speed
 *
 * Prompts are random tokens, different each time, so that no cache helps.
 * Prefill is the time from submit to the end of a request that only evaluates.
 * Decode is counted from the moment when every request of the batch has its
 * first token. Each figure is the median of the repetitions.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "kv/kv_cache.h"

#include <stdio.h>
#include <stdlib.h>

enum { DECODE_PROMPT = 16, WARM_UP = 512, MAX_REPETITIONS = 100 };

struct bench {
    const char *model;
    struct int_list prompts, batches;
    int n_decode, repetitions;
    bool json;
    struct engine_flags engine;
    dsr1_adapter *adapter;
    int n_vocab;
    uint64_t draws;             /* of random tokens so far */
    int *seen;                  /* tokens of each request of the batch */
    dsr1_error *err;
};

struct seen {
    struct bench *bench;
    int index;
};

static void on_event(const dsr1_event *event, void *user)
{
    struct seen *seen = user;
    if (event->type == DSR1_EVENT_TOKEN)
        seen->bench->seen[seen->index]++;
    if (event->type == DSR1_EVENT_DONE && event->finish == DSR1_FINISH_ERROR)
        error_set(seen->bench->err, event->error->status, "%s", event->error->message);
}

static dsr1_status submit(struct bench *o, dsr1_engine *engine, int n_prompt, int n_answer, struct seen *seen,
                          dsr1_error *err)
{
    int32_t *tokens = memory_array((size_t) n_prompt, sizeof *tokens);
    if (!tokens)
        return error_nomem(err, "a prompt");
    for (int i = 0; i < n_prompt; i++)
        tokens[i] = (int32_t) (rng_uniform(1, o->draws++) * o->n_vocab);
    /* What is guessed right depends on what the model happens to say. */
    dsr1_request request = {.no_draft = true, .tokens = tokens, .n_tokens = (size_t) n_prompt, .max_tokens = n_answer,
                            .ignore_end = true, .on_event = on_event, .user = seen, .adapter = o->adapter};
    /* An evaluation without an answer is asked for its last row, else there would be nothing to compute. */
    if (n_answer == 0)
        request.want_logits = DSR1_LOGITS_LAST;
    uint64_t id;
    dsr1_status status = dsr1_engine_submit(engine, &request, &id, err);
    free(tokens);
    return status;
}

static dsr1_status time_prefill(struct bench *o, dsr1_engine *engine, int n_prompt, double *rate, dsr1_error *err)
{
    int count = 0;
    struct seen seen = {o, 0};
    o->seen = &count;
    o->err = err;
    double start = clock_seconds();
    dsr1_status status = submit(o, engine, n_prompt, 0, &seen, err);
    if (status == DSR1_OK)
        status = tool_engine_drain(engine, err);
    *rate = n_prompt / (clock_seconds() - start);
    return status == DSR1_OK ? err->status : status;
}

/* Pages in what is timed: nearly all experts of a layer, so as many tokens as find them. */
static dsr1_status warm_up(struct bench *o, dsr1_engine *engine, int most, dsr1_error *err)
{
    double rate;
    return time_prefill(o, engine, most < WARM_UP ? most : WARM_UP, &rate, err);
}

static int tokens_seen(const int *seen, int batch, int *least)
{
    int sum = 0;
    *least = seen[0];
    for (int i = 0; i < batch; i++) {
        sum += seen[i];
        if (seen[i] < *least)
            *least = seen[i];
    }
    return sum;
}

static dsr1_status run_batch(struct bench *o, dsr1_engine *engine, int batch, double *rate, dsr1_error *err)
{
    int left, least = 0, before = 0;
    double start = 0;
    do {
        left = dsr1_engine_step(engine, err);
        if (least == 0) {
            int sum = tokens_seen(o->seen, batch, &least);
            if (least > 0) {
                start = clock_seconds();
                before = sum;
            }
        }
    } while (left > 0);
    double end = clock_seconds();
    int sum = tokens_seen(o->seen, batch, &least);
    if (left < 0)
        return (dsr1_status) left;
    if (err->status != DSR1_OK)
        return err->status;
    if (start == 0 || sum == before)
        return error_set(err, DSR1_ERR_ARGUMENT, "too few tokens to time: raise -n");
    *rate = (sum - before) / (end - start);
    return DSR1_OK;
}

static dsr1_status time_decode(struct bench *o, dsr1_engine *engine, int batch, double *rate, dsr1_error *err)
{
    struct seen *seen = memory_array((size_t) batch, sizeof *seen);
    o->seen = memory_array((size_t) batch, sizeof *o->seen);
    o->err = err;
    dsr1_status status = seen && o->seen ? DSR1_OK : error_nomem(err, "a batch");
    for (int i = 0; i < batch && status == DSR1_OK; i++) {
        seen[i] = (struct seen){o, i};
        status = submit(o, engine, DECODE_PROMPT, o->n_decode, &seen[i], err);
    }
    if (status == DSR1_OK)
        status = run_batch(o, engine, batch, rate, err);
    free(o->seen);
    free(seen);
    o->seen = NULL;
    return status;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static double median(double *values, int n)
{
    qsort(values, (size_t) n, sizeof *values, compare_doubles);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* One figure for every entry of sizes, with the given timing function. */
static dsr1_status time_all(struct bench *o, dsr1_engine *engine, const struct int_list *sizes, const char *what,
                            dsr1_status (*time_one)(struct bench *, dsr1_engine *, int, double *, dsr1_error *),
                            double *rates, dsr1_error *err)
{
    double values[MAX_REPETITIONS];
    for (size_t i = 0; i < sizes->n; i++) {
        for (int r = 0; r < o->repetitions; r++) {
            tool_progress("%s %d, repetition %d of %d", what, sizes->items[i], r + 1, o->repetitions);
            dsr1_status status = time_one(o, engine, sizes->items[i], &values[r], err);
            if (status != DSR1_OK)
                return status;
        }
        rates[i] = median(values, o->repetitions);
    }
    tool_progress_end();
    return DSR1_OK;
}

static dsr1_status report(const struct bench *o, const char *model, int n_threads, const double *prefill,
                          const double *decode, double load_ms, dsr1_error *err)
{
    if (!o->json) {
        printf("%s on %s (%s), %d threads; loaded in %.0f ms, %.0f MiB resident\n", model, cpu_brand(),
               dsr1_cpu_name(), n_threads, load_ms, tool_resident_mib());
        for (size_t i = 0; i < o->prompts.n; i++)
            printf("prefill  %5d tokens      %10.2f tokens/s\n", o->prompts.items[i], prefill[i]);
        for (size_t i = 0; i < o->batches.n; i++)
            printf("decode   %5d at a time   %10.2f tokens/s\n", o->batches.items[i], decode[i]);
        return tool_flush(err);
    }
    json_t *prefills = json_array(), *decodes = json_array();
    for (size_t i = 0; i < o->prompts.n; i++)
        json_array_append_new(prefills, json_pack("{s:i, s:f}", "tokens", o->prompts.items[i], "tok_s", prefill[i]));
    for (size_t i = 0; i < o->batches.n; i++)
        json_array_append_new(decodes, json_pack("{s:i, s:i, s:f}", "batch", o->batches.items[i], "tokens",
                                                 o->n_decode, "tok_s", decode[i]));
    return tool_print_json(json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:f, s:f}", "model", model, "cpu", cpu_brand(),
                                     "isa", dsr1_cpu_name(), "threads", n_threads, "prefill", prefills, "decode",
                                     decodes, "rss_mib", tool_resident_mib(), "load_ms", load_ms), err);
}

static int largest(const struct int_list *list)
{
    int max = 0;
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i] > max)
            max = list->items[i];
    return max;
}

/* Room for the longest prompt and, with the default cache of max_batch / 4 contexts, for the pages of the largest batch. */
static void set_options(const struct bench *o, dsr1_engine_options *options)
{
    int prefill = largest(&o->prompts) + 1, decode = 4 * (DECODE_PROMPT + o->n_decode + KV_PAGE);
    tool_engine_options(&o->engine, options);
    options->max_batch = largest(&o->batches) > 4 ? largest(&o->batches) : 4;
    options->context_size = prefill > decode ? prefill : decode;
}

static dsr1_status run(struct bench *o, dsr1_error *err)
{
    dsr1_model *model;
    dsr1_model_info info;
    dsr1_engine *engine = NULL;
    dsr1_engine_options options = {0};
    dsr1_engine_stats stats;
    double *prefill = memory_array(o->prompts.n, sizeof *prefill);
    double *decode = memory_array(o->batches.n, sizeof *decode);
    double start = clock_seconds();
    dsr1_status status = prefill && decode ? tool_model_open(o->model, &model, err) : error_nomem(err, "figures");
    if (status != DSR1_OK) {
        free(prefill);
        free(decode);
        return status;
    }
    dsr1_model_get_info(model, &info);
    o->n_vocab = info.n_vocab;
    set_options(o, &options);
    status = tool_adapter_open(&o->engine, model, &o->adapter, err);
    if (status == DSR1_OK)
        status = dsr1_engine_open(model, &options, &engine, err);
    double load_ms = (clock_seconds() - start) * 1000;
    if (status == DSR1_OK)
        status = warm_up(o, engine, options.context_size - 1, err);
    if (status == DSR1_OK)
        status = time_all(o, engine, &o->prompts, "prefill", time_prefill, prefill, err);
    if (status == DSR1_OK)
        status = time_all(o, engine, &o->batches, "decode, batch", time_decode, decode, err);
    if (status == DSR1_OK) {
        dsr1_engine_get_stats(engine, &stats);
        status = report(o, info.path, stats.n_threads, prefill, decode, load_ms, err);
    }
    dsr1_engine_close(engine);
    dsr1_adapter_close(o->adapter);
    dsr1_model_close(model);
    free(prefill);
    free(decode);
    return status;
}

int tool_bench(int argc, char **argv)
{
    struct bench o = {.n_decode = 64, .repetitions = 3};
    const struct option_row rows[] = {
        TOOL_MODEL_ROW(&o.model),
        TOOL_ADAPTER_ROW(o.engine),
        {'p', "prompt", OPTION_INTS, &o.prompts, "N,..", "lengths of the prompts (512)", 1, 1 << 20},
        {'n', "tokens", OPTION_INT, &o.n_decode, "N", "tokens that each request generates (64)", 2, 1 << 20},
        {'b', "batch", OPTION_INTS, &o.batches, "N,..", "requests at the same time (1,4,16)", 1, 1024},
        {'r', "repeat", OPTION_INT, &o.repetitions, "N", "repetitions, of which the median counts (3)", 1,
         MAX_REPETITIONS},
        TOOL_KV_ROW(o.engine, "bf16 (default), f16, f32 or q8_0"),
        TOOL_THREADS_ROW(o.engine),
        TOOL_EXPERTS_ROW(o.engine),
        {0, "json", OPTION_FLAG, &o.json, NULL, "print one JSON object", 0, 0},
        {0},
    };
    const struct command_line line = {"dsr1 bench", "[-m MODEL] [-p 512] [-n 64] [-b 1,4,16] [-t N] [--json]",
                                      "Times prompts and generation at several batch sizes.", rows, 0};
    dsr1_engine_options ignored = {0};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go == OPTIONS_GO && !tool_engine_options(&o.engine, &ignored))
        go = options_wrong(&line, "--kv %s: must be bf16, f16, f32 or q8_0", o.engine.kv);
    if (go == OPTIONS_GO) {
        dsr1_error err = {0};
        bool enough = (o.prompts.n || options_read_ints("512", 0, 0, &o.prompts)) &&
                      (o.batches.n || options_read_ints("1,4,16", 0, 0, &o.batches));
        if (!enough)
            error_nomem(&err, "options");
        go = enough && run(&o, &err) == DSR1_OK ? 0 : tool_fail("bench", &err);
    }
    int_list_free(&o.prompts);
    int_list_free(&o.batches);
    return go;
}
