/*
 * load.c - many requests to a dsr1-engine, and how long each took
 *
 *     load --model FILE --rate 2 --requests 100 --prompt 128,512 --answer 32,64 --prefix 100
 *     load --model FILE --concurrency 16 --requests 64
 *     load --socket PATH ...                              an engine that runs already
 *     load --texts FILE --system TEXT --label A --label B the questions of dsr1_classify about a file's lines
 *
 * An open loop (Poisson arrivals) with --rate, else a closed one. Prompts are
 * random words, so long that they have about the wished number of tokens; the
 * first --prefix tokens are shared by all prompts. Prints one JSON object:
 * throughput, latencies, and what the engine counted meanwhile. --dump writes
 * the requests down, for other servers to be asked the same.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "load_client.h"
#include "load_engine.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "tools/options.h"

#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SAMPLE_WORDS = 2000, MAX_TOKENS = 1 << 20 };

struct wishes {
    const char *model, *socket, *engine, *dump, *texts, *system;
    struct string_list engine_options, labels;
    struct int_list prompt, answer;
    int n_requests, n_connections, prefix, n_prefixes, concurrency;
    float rate, temperature;
    uint64_t seed;
};

/* ------------------------------------------------------------------ */
/* Requests                                                            */
/* ------------------------------------------------------------------ */

/* Words of two to four letters: random, but the same for the same (seed, stream). */
static void add_words(struct buffer *out, uint64_t seed, uint64_t stream, int n)
{
    for (int i = 0; i < n; i++) {
        uint64_t bits = rng_at(seed + 0x5851f42du * stream, (uint64_t) i);
        int letters = 2 + (int) (bits % 3);
        char word[6] = " ";
        for (int j = 0; j < letters; j++, bits /= 26)
            word[1 + j] = (char) ('a' + (bits >> 8) % 26);
        buffer_append(out, word, 1 + (size_t) letters);
    }
}

static dsr1_status words_per_token(struct load *load, uint64_t seed, double *ratio, dsr1_error *err)
{
    struct buffer text = {0};
    add_words(&text, seed, UINT64_MAX, SAMPLE_WORDS);
    dsr1_status status = text.failed ? error_nomem(err, "a text")
                                     : load_client_tokens(load, text.data, text.size, err);
    if (status == DSR1_OK && load->n_tokens == 0)
        status = error_set(err, DSR1_ERR_FORMAT, "the engine finds no tokens in a text");
    if (status == DSR1_OK)
        *ratio = (double) SAMPLE_WORDS / (double) load->n_tokens;
    buffer_free(&text);
    return status;
}

/* One number, or one of a range. */
static int draw(const struct int_list *range, uint64_t seed, uint64_t i)
{
    int low = range->items[0], high = range->items[range->n - 1];
    return low + (int) (rng_uniform(seed, i) * (high - low + 1));
}

static dsr1_status make_requests(struct load *load, const struct wishes *w, dsr1_error *err)
{
    double ratio, due = 0;
    dsr1_status status = words_per_token(load, w->seed, &ratio, err);
    if (status != DSR1_OK)
        return status;
    load->requests = memory_array((size_t) w->n_requests, sizeof *load->requests);
    if (!load->requests)
        return error_nomem(err, "requests");
    load->n_requests = w->n_requests;
    for (int i = 0; i < w->n_requests; i++) {
        struct load_request *r = &load->requests[i];
        uint64_t index = (uint64_t) i;
        r->n_prompt = draw(&w->prompt, w->seed + 1, index);
        r->n_answer = draw(&w->answer, w->seed + 2, index);
        int prefix = w->prefix < r->n_prompt ? w->prefix : r->n_prompt;
        if (w->rate > 0)
            due -= log(1 - rng_uniform(w->seed + 3, index)) / (double) w->rate;
        r->due = due;
        r->prompt = load->prompts.size;
        add_words(&load->prompts, w->seed, index % (uint64_t) w->n_prefixes, (int) lround(prefix * ratio));
        add_words(&load->prompts, w->seed, index + (uint64_t) w->n_prefixes,
                  (int) lround((r->n_prompt - prefix) * ratio));
        r->prompt_size = load->prompts.size - r->prompt;
    }
    return load->prompts.failed ? error_nomem(err, "prompts") : DSR1_OK;
}

/* A line each, until there are enough. */
static dsr1_status read_requests(struct load *load, const struct wishes *w, dsr1_error *err)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    FILE *file = fopen(w->texts, "r");
    load->requests = memory_array((size_t) w->n_requests, sizeof *load->requests);
    if (file && load->requests)
        while (load->n_requests < w->n_requests && (size = getline(&line, &capacity, file)) > 0) {
            struct load_request *r = &load->requests[load->n_requests++];
            r->n_answer = w->answer.items[0];
            r->prompt = load->prompts.size;
            r->prompt_size = (size_t) size - (line[size - 1] == '\n');
            buffer_append(&load->prompts, line, r->prompt_size);
        }
    free(line);
    if (!file)
        return error_errno(err, DSR1_ERR_IO, "cannot read %s", w->texts);
    fclose(file);
    return load->requests && !load->prompts.failed ? DSR1_OK : error_nomem(err, "prompts");
}

/* One object a line; the words need no escapes. */
static dsr1_status dump_requests(const struct load *load, const char *path, dsr1_error *err)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return error_errno(err, DSR1_ERR_IO, "cannot write %s", path);
    for (int i = 0; i < load->n_requests; i++) {
        const struct load_request *r = &load->requests[i];
        fprintf(file, "{\"due\": %.6f, \"answer\": %d, \"prompt\": \"%.*s\"}\n", load->rate > 0 ? r->due : 0.0,
                r->n_answer, (int) r->prompt_size, load->prompts.data + r->prompt);
    }
    return fclose(file) == 0 ? DSR1_OK : error_errno(err, DSR1_ERR_IO, "cannot write %s", path);
}

/* ------------------------------------------------------------------ */
/* The report                                                          */
/* ------------------------------------------------------------------ */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

/* Nearest rank, in milliseconds. */
static void print_percentiles(const char *name, double *seconds, size_t n)
{
    static const struct {
        const char *name;
        double rank;
    } ranks[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1}};
    double sum = 0;
    qsort(seconds, n, sizeof *seconds, compare_doubles);
    for (size_t i = 0; i < n; i++)
        sum += seconds[i];
    printf("  \"%s\": {\"n\": %zu, \"mean\": %.3f", name, n, n ? 1e3 * sum / (double) n : 0);
    for (size_t i = 0; n > 0 && i < sizeof ranks / sizeof *ranks; i++) {
        size_t at = (size_t) ceil(ranks[i].rank * (double) n);
        printf(", \"%s\": %.3f", ranks[i].name, 1e3 * seconds[at > 0 ? at - 1 : 0]);
    }
    printf("},\n");
}

struct totals {
    int failed;
    double end, prompt, cached, answer;
    size_t n_first, n_token, n_whole;
};

/* Latencies count from when a request was due; n_token is the mean time of one token behind the first. */
static struct totals sum_up(const struct load *load, double *first, double *token, double *whole)
{
    struct totals t = {0};
    for (int i = 0; i < load->n_requests; i++) {
        const struct load_request *r = &load->requests[i];
        t.end = fmax(t.end, r->done);
        if (r->failure) {
            t.failed++;
            continue;
        }
        t.prompt += r->usage.prompt_tokens;
        t.cached += r->usage.cached_tokens;
        t.answer += r->usage.completion_tokens;
        first[t.n_first++] = r->first - r->due;
        whole[t.n_whole++] = r->done - r->due;
        if (r->usage.completion_tokens > 1)
            token[t.n_token++] = (r->done - r->first) / (r->usage.completion_tokens - 1);
    }
    return t;
}

static void print_engine(const struct wire_stats *before, const struct wire_stats *after)
{
    const dsr1_engine_stats *a = &before->engine, *b = &after->engine;
    double steps = (double) (b->n_steps - a->n_steps), rows = (double) (b->n_step_rows - a->n_step_rows);
    double prompt = (double) (b->prompt_tokens - a->prompt_tokens);
    double cached = (double) (b->cached_tokens - a->cached_tokens);
    printf("  \"engine\": {\"threads\": %d, \"max_batch\": %d, \"steps\": %.0f, \"rows_per_step\": %.2f, "
           "\"prompt_tokens\": %.0f, \"cached_tokens\": %.0f, \"prefix_hits\": %.4f, \"prefill_s\": %.3f, "
           "\"decode_s\": %.3f, \"rss_mib\": %.1f}\n",
           b->n_threads, b->max_batch, steps, steps > 0 ? rows / steps : 0, prompt, cached,
           prompt > 0 ? cached / prompt : 0, b->prefill_s - a->prefill_s, b->decode_s - a->decode_s,
           (double) after->rss / 1048576);
}

static dsr1_status report(const struct load *load, const struct wire_stats *before, dsr1_error *err)
{
    size_t n = (size_t) load->n_requests;
    double *first = memory_array(3 * n, sizeof *first);
    if (!first)
        return error_nomem(err, "latencies");
    struct totals t = sum_up(load, first, first + n, first + 2 * n);
    double wall = t.end - load->start;
    printf("{\n  \"requests\": %d, \"failed\": %d, \"connections\": %d, \"rate\": %.3f, \"concurrency\": %d, "
           "\"wall_s\": %.3f,\n", load->n_requests, t.failed, load->n_connections, load->rate,
           load->rate > 0 ? 0 : load->concurrency, wall);
    printf("  \"requests_s\": %.3f, \"prompt_tok_s\": %.1f, \"completion_tok_s\": %.1f,\n",
           (load->n_requests - t.failed) / wall, t.prompt / wall, t.answer / wall);
    printf("  \"prompt_tokens\": %.0f, \"cached_tokens\": %.0f, \"completion_tokens\": %.0f,\n", t.prompt, t.cached,
           t.answer);
    print_percentiles("first_token_ms", first, t.n_first);
    print_percentiles("token_ms", first + n, t.n_token);
    print_percentiles("gap_ms", load->gaps, load->n_gaps);
    print_percentiles("whole_ms", first + 2 * n, t.n_whole);
    for (int i = 0; i < load->n_requests && t.failed > 0; i++)
        if (load->requests[i].failure) {
            fprintf(stderr, "load: %d requests failed; the first: %s\n", t.failed, load->requests[i].failure);
            break;
        }
    print_engine(before, &load->stats);
    printf("}\n");
    free(first);
    return DSR1_OK;
}

/* ------------------------------------------------------------------ */
/* The program                                                         */
/* ------------------------------------------------------------------ */

/* Beside this program. */
static const char *default_engine(void)
{
    static char path[4096 + 16];
    ssize_t n = readlink("/proc/self/exe", path, 4096);
    path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash : path, "/dsr1-engine");
    return path;
}

static dsr1_status run(const struct wishes *w, const char *socket, dsr1_error *err)
{
    struct load load = {.rate = w->rate, .concurrency = w->concurrency, .temperature = w->temperature, .seed = w->seed,
                        .labels = w->labels.items, .n_labels = w->labels.n, .system = w->system};
    dsr1_status status = load_client_open(&load, socket, w->n_connections, err);
    if (status == DSR1_OK)
        status = w->texts ? read_requests(&load, w, err) : make_requests(&load, w, err);
    if (status == DSR1_OK && w->dump)
        status = dump_requests(&load, w->dump, err);
    if (status == DSR1_OK)
        status = load_client_stats(&load, err);
    struct wire_stats before = load.stats;
    if (status == DSR1_OK)
        status = load_client_run(&load, err);
    if (status == DSR1_OK)
        status = load_client_stats(&load, err);
    if (status == DSR1_OK)
        status = report(&load, &before, err);
    load_client_close(&load);
    buffer_free(&load.prompts);
    free(load.requests);
    free(load.gaps);
    return status;
}

static bool is_range(const struct int_list *list)
{
    return list->n == 1 || (list->n == 2 && list->items[0] <= list->items[1]);
}

static dsr1_status start_and_run(const struct wishes *w, dsr1_error *err)
{
    struct load_engine engine = {.parent_fd = -1};
    if (w->socket)
        return run(w, w->socket, err);
    const char **arguments = memory_array(w->engine_options.n + 1, sizeof *arguments);
    if (!arguments)
        return error_nomem(err, "arguments");
    for (size_t i = 0; i < w->engine_options.n; i++)
        arguments[i] = w->engine_options.items[i];
    dsr1_status status = load_engine_start(&engine, w->engine ? w->engine : default_engine(), w->model, arguments, err);
    if (status == DSR1_OK)
        status = run(w, engine.socket, err);
    load_engine_stop(&engine);
    free(arguments);
    return status;
}

int main(int argc, char **argv)
{
    struct wishes w = {.n_requests = 32, .n_connections = 4, .n_prefixes = 1, .concurrency = 16, .seed = 1};
    int first;
    const struct option_row rows[] = {
        {'m', "model", OPTION_STRING, &w.model, "FILE", "start an engine on this model", 0, 0},
        {0, "engine", OPTION_STRING, &w.engine, "FILE", "the engine's program (default: the one beside this)", 0, 0},
        {0, "engine-option", OPTION_STRINGS, &w.engine_options, "WORD", "one more word of its command line", 0, 0},
        {0, "socket", OPTION_STRING, &w.socket, "PATH", "ask an engine that runs already", 0, 0},
        {'n', "requests", OPTION_INT, &w.n_requests, "N", "requests in all", 1, 1 << 20},
        {0, "rate", OPTION_FLOAT, &w.rate, "X", "requests a second on average, at random times", 0, 1e6},
        {0, "concurrency", OPTION_INT, &w.concurrency, "N", "without --rate: requests at once", 1, 1 << 16},
        {0, "connections", OPTION_INT, &w.n_connections, "N", "connections that share the requests", 1, 256},
        {0, "prompt", OPTION_INTS, &w.prompt, "N[,MAX]", "tokens of a prompt, about", 1, MAX_TOKENS},
        {0, "answer", OPTION_INTS, &w.answer, "N[,MAX]", "tokens of an answer", 1, MAX_TOKENS},
        {0, "prefix", OPTION_INT, &w.prefix, "N", "tokens that all prompts begin with", 0, MAX_TOKENS},
        {0, "prefixes", OPTION_INT, &w.n_prefixes, "N", "that many different beginnings instead of one", 1, 1 << 16},
        {0, "texts", OPTION_STRING, &w.texts, "FILE", "ask about its lines instead of random words", 0, 0},
        {0, "system", OPTION_STRING, &w.system, "TEXT", "prompts are turns of a user behind this one", 0, 0},
        {0, "label", OPTION_STRINGS, &w.labels, "TEXT", "instead of answers, score this (and other labels)", 0, 0},
        {0, "temperature", OPTION_FLOAT, &w.temperature, "X", "0 (default): greedy", 0, 100},
        {0, "seed", OPTION_SEED, &w.seed, "N", "of words, lengths and arrivals", 0, 0},
        {0, "dump", OPTION_STRING, &w.dump, "FILE", "write the requests down", 0, 0},
        {0}};
    const struct command_line line = {.command = "load", .rows = rows, .max_arguments = 0,
                                      .synopsis = "(--model FILE | --socket PATH) [OPTIONS]",
                                      .about = "Asks an engine many things at once and prints how long it took as JSON."};
    options_read_ints("128", 1, MAX_TOKENS, &w.prompt);
    options_read_ints("32", 1, MAX_TOKENS, &w.answer);
    int status = options_parse(&line, argc, argv, &first);
    if (status == OPTIONS_GO && !w.model == !w.socket)
        status = options_wrong(&line, "needs --model or --socket");
    if (status == OPTIONS_GO && (!is_range(&w.prompt) || !is_range(&w.answer)))
        status = options_wrong(&line, "--prompt and --answer are one number, or two in order");
    if (status != OPTIONS_GO)
        return status;
    dsr1_error err = {0};
    dsr1_status result = start_and_run(&w, &err);
    if (result != DSR1_OK)
        fprintf(stderr, "load: %s\n", err.message);
    int_list_free(&w.prompt);
    int_list_free(&w.answer);
    string_list_free(&w.engine_options);
    string_list_free(&w.labels);
    return result != DSR1_OK;
}
