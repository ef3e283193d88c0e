/*
 * tool_quantize.c - dsr1 quantize: a model file with smaller weights
 *
 * Matrices are encoded, vectors and routers stay as they are. With calibration text
 * the layers' matrices come from train/requantize.h; else each weight goes to the nearest. A recipe gives most
 * matrices one type and those that matter more a better one; a matrix whose rows
 * are no whole blocks of its type gets the next larger one with blocks of 32.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/thread_pool.h"
#include "gguf/gguf_write.h"
#include "kernel/encode.h"
#include "kernel/kernel.h"
#include "train/requantize.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CHUNK_VALUES = 4 << 20 };

/* file_type as in general.file_type. */
static const struct recipe {
    const char *name;
    enum tensor_type type, output, important;
    int file_type;
} recipes[] = {
    {"f32", TENSOR_F32, TENSOR_F32, TENSOR_F32, 0},
    {"f16", TENSOR_F16, TENSOR_F16, TENSOR_F16, 1},
    {"bf16", TENSOR_BF16, TENSOR_BF16, TENSOR_BF16, 32},
    {"q8_0", TENSOR_Q8_0, TENSOR_Q8_0, TENSOR_Q8_0, 7},
    {"q6_k", TENSOR_Q6_K, TENSOR_Q6_K, TENSOR_Q6_K, 18},
    {"q4_k_m", TENSOR_Q4_K, TENSOR_Q6_K, TENSOR_Q6_K, 15},
    {"q4_k", TENSOR_Q4_K, TENSOR_Q6_K, TENSOR_Q4_K, 14},
    {"q5_1", TENSOR_Q5_1, TENSOR_Q6_K, TENSOR_Q5_1, 9},
    {"q5_0", TENSOR_Q5_0, TENSOR_Q6_K, TENSOR_Q5_0, 8},
    {"q4_1", TENSOR_Q4_1, TENSOR_Q6_K, TENSOR_Q4_1, 3},
    {"q4_0", TENSOR_Q4_0, TENSOR_Q6_K, TENSOR_Q4_0, 2},
};

struct job {
    const char *from, *to;
    const struct recipe *recipe;
    struct string_list tensors; /* "PATTERN=TYPE" */
    struct string_list keys;    /* "KEY=VALUE" */
    struct string_list data;    /* calibration text; none: every weight to the nearest */
    struct requantize_options calibration;
    struct requantized rounded;
    bool again, json;
    int threads, n_layers;
    bool tied;                  /* the embedding is the output matrix, too */
    struct gguf *gguf;
    struct gguf_writer *writer;
    struct thread_pool *pool;
    /* the rows at hand */
    const struct gguf_tensor *tensor;
    enum tensor_type type;
    const uint8_t *source;
    uint8_t *target;
    int n_rows;
    float *values;              /* one row for each thread */
    _Atomic bool broken;
    size_t size_before, size_after;
};

/* ------------------------------------------------------------------ */
/* Which tensor gets which type                                        */
/* ------------------------------------------------------------------ */

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* The first and last eighth of the layers, and every third between. */
static bool layer_matters(const struct job *job, const char *name)
{
    int layer = 0, n = job->n_layers;
    if (sscanf(name, "blk.%d.", &layer) != 1)
        return false;
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

static bool is_important(const struct job *job, const char *name)
{
    bool kind = strstr(name, ".attn_v.") || strstr(name, ".ffn_down.") || strstr(name, ".ffn_down_exps.") ||
                strstr(name, ".ffn_down_shexp.");
    return kind && layer_matters(job, name);
}

static enum tensor_type with_whole_blocks(enum tensor_type type, int64_t n)
{
    if (n % tensor_type_block(type) == 0)
        return type;
    type = type == TENSOR_Q4_K ? TENSOR_Q5_0 : TENSOR_Q8_0;
    return n % tensor_type_block(type) == 0 ? type : TENSOR_F16;
}

/* What the last --tensor whose pattern fits says, or -1. */
static int chosen_type(const struct job *job, const struct gguf_tensor *t)
{
    char pattern[128];
    for (size_t i = job->tensors.n; i-- > 0;) {
        const char *text = job->tensors.items[i], *type = strrchr(text, '=');
        snprintf(pattern, sizeof pattern, "%.*s", (int) (type - text), text);
        if (fnmatch(pattern, t->name, 0) == 0)
            return strcmp(type + 1, "keep") == 0 ? (int) t->type : tensor_type_parse(type + 1);
    }
    return -1;
}

static enum tensor_type type_for(const struct job *job, const struct gguf_tensor *t)
{
    bool is_matrix = t->n_dims >= 2 && ends_with(t->name, ".weight") && !strstr(t->name, "norm") &&
                     !strstr(t->name, "ffn_gate_inp");
    if (!is_matrix)
        return t->type;
    enum tensor_type type = job->recipe->type;
    int chosen = chosen_type(job, t);
    if (chosen >= 0)
        return with_whole_blocks((enum tensor_type) chosen, t->ne[0]);
    if (strcmp(t->name, "output.weight") == 0 || (job->tied && strcmp(t->name, "token_embd.weight") == 0))
        type = job->recipe->output;
    else if (is_important(job, t->name))
        type = job->recipe->important;
    return with_whole_blocks(type, t->ne[0]);
}

static enum tensor_type type_of(void *job, const struct gguf_tensor *t)
{
    return type_for(job, t);
}

static bool is_plain(enum tensor_type type)
{
    return type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16;
}

/* ------------------------------------------------------------------ */
/* Encoding                                                            */
/* ------------------------------------------------------------------ */

/* Rows of the chunk, dealt out to the threads. */
static void encode_rows(void *context, int thread, int n_threads)
{
    struct job *job = context;
    int n = (int) job->tensor->ne[0];
    size_t row_from = tensor_type_row(job->tensor->type, (size_t) n), row_to = tensor_type_row(job->type, (size_t) n);
    float *values = job->values + (size_t) thread * (size_t) n;
    for (int r = thread; r < job->n_rows; r += n_threads) {
        dequantize_row(job->tensor->type, job->source + (size_t) r * row_from, n, values);
        for (int i = 0; i < n; i++)
            if (!isfinite(values[i]))
                job->broken = true;
        if (!job->broken)
            encode_row(job->type, values, n, job->target + (size_t) r * row_to);
    }
}

static dsr1_status encode_tensor(struct job *job, dsr1_error *err)
{
    const struct gguf_tensor *t = job->tensor;
    size_t n = (size_t) t->ne[0], rows = (size_t) (t->ne[1] * t->ne[2] * t->ne[3]);
    size_t row_from = tensor_type_row(t->type, n), row_to = tensor_type_row(job->type, n);
    size_t step = n < CHUNK_VALUES ? CHUNK_VALUES / n : 1, bytes;
    dsr1_status status = DSR1_OK;
    job->values = memory_array(n * (size_t) thread_pool_size(job->pool), sizeof *job->values);
    job->target = size_mul(step, row_to, &bytes) ? malloc(bytes) : NULL;
    if (!job->values || !job->target)
        status = error_nomem(err, t->name);
    for (size_t r = 0; r < rows && status == DSR1_OK; r += step) {
        job->n_rows = (int) (rows - r < step ? rows - r : step);
        job->source = t->data + r * row_from;
        thread_pool_run(job->pool, encode_rows, job);
        if (job->broken)
            status = error_set(err, DSR1_ERR_FORMAT, "%s: tensor %s has weights that are no finite numbers", job->from,
                               t->name);
        else
            gguf_write_data(job->writer, job->target, (size_t) job->n_rows * row_to);
    }
    free(job->values);
    free(job->target);
    return status;
}

/* ------------------------------------------------------------------ */
/* The file                                                            */
/* ------------------------------------------------------------------ */

static bool is_key(struct gguf_string key, const char *name, size_t size)
{
    return key.size == size && memcmp(key.bytes, name, size) == 0;
}

static bool is_rewritten(struct gguf_string key, void *user)
{
    const struct job *job = user;
    static const char *const keys[] = {"general.file_type", "general.quantization_version"};
    for (int i = 0; i < 2; i++)
        if (is_key(key, keys[i], strlen(keys[i])))
            return true;
    for (size_t i = 0; i < job->keys.n; i++)
        if (is_key(key, job->keys.items[i], strcspn(job->keys.items[i], "=")))
            return true;
    return false;
}

/* --set: a text, or an integer where the file has one. */
static dsr1_status write_key(struct job *job, const char *text, dsr1_error *err)
{
    char key[128], *end;
    const char *value = strchr(text, '=') + 1;
    snprintf(key, sizeof key, "%.*s", (int) (value - 1 - text), text);
    for (size_t i = 0; i < gguf_n_keys(job->gguf); i++) {
        enum gguf_type type = gguf_key_type_at(job->gguf, i);
        if (!is_key(gguf_key_at(job->gguf, i), key, strlen(key)) || type == GGUF_STRING)
            continue;
        long long number = strtoll(value, &end, 10);
        bool whole = type != GGUF_F32 && type != GGUF_F64 && type != GGUF_BOOL && type != GGUF_ARRAY;
        if (!whole || *value == 0 || *end != 0 || number < 0 || number > INT32_MAX)
            return error_set(err, DSR1_ERR_ARGUMENT, "--set %s: only texts and integers can be set", text);
        gguf_write_int(job->writer, key, type, number);
        return DSR1_OK;
    }
    gguf_write_text(job->writer, key, value);
    return DSR1_OK;
}

static dsr1_status read_layout(struct job *job, dsr1_error *err)
{
    struct gguf_string architecture = {"", 0};
    char key[160];
    int64_t n = 0;
    dsr1_status status = gguf_get_string(job->gguf, "general.architecture", &architecture, err);
    if (status == DSR1_OK) {
        snprintf(key, sizeof key, "%.*s.block_count", architecture.size < 100 ? (int) architecture.size : 100,
                 architecture.bytes);
        status = gguf_get_int(job->gguf, key, &n, err);
    }
    job->n_layers = n > 0 && n < INT32_MAX / 8 ? (int) n : 0;
    job->tied = !gguf_find_tensor(job->gguf, "output.weight");
    for (size_t i = 0; i < gguf_n_tensors(job->gguf) && status == DSR1_OK; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(job->gguf, i);
        if (type_for(job, t) != t->type && !is_plain(t->type) && !job->again)
            status = error_set(err, DSR1_ERR_ARGUMENT, "tensor %s is %s already: that loses twice (--again does it)",
                               t->name, tensor_type_name(t->type));
    }
    return status;
}

static dsr1_status write_head(struct job *job, dsr1_error *err)
{
    dsr1_status status = DSR1_OK;
    gguf_write_copy_all(job->writer, job->gguf, is_rewritten, job);
    for (size_t i = 0; i < job->keys.n && status == DSR1_OK; i++)
        status = write_key(job, job->keys.items[i], err);
    gguf_write_int(job->writer, "general.file_type", GGUF_U32, job->recipe->file_type);
    gguf_write_int(job->writer, "general.quantization_version", GGUF_U32, 2);
    for (size_t i = 0; i < gguf_n_tensors(job->gguf); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(job->gguf, i);
        gguf_write_tensor(job->writer, t->name, type_for(job, t), t->n_dims, t->ne);
    }
    return status;
}

static dsr1_status write_tensors(struct job *job, dsr1_error *err)
{
    dsr1_status status = DSR1_OK;
    size_t n = gguf_n_tensors(job->gguf);
    for (size_t i = 0; i < n && status == DSR1_OK; i++) {
        const struct gguf_tensor *t = job->tensor = gguf_tensor_at(job->gguf, i);
        job->type = type_for(job, t);
        tool_progress("%zu of %zu tensors, %s", i + 1, n, t->name);
        const uint8_t *rounded = requantized_find(&job->rounded, t->name);
        size_t size = t->size / tensor_type_row(t->type, (size_t) t->ne[0]) *
                      tensor_type_row(job->type, (size_t) t->ne[0]);
        if (job->type == t->type)
            gguf_write_data(job->writer, t->data, t->size);
        else if (rounded)
            gguf_write_data(job->writer, rounded, size);
        else
            status = encode_tensor(job, err);
        job->size_before += t->size;
        job->size_after += size;
    }
    tool_progress_end();
    return status;
}

static json_t *perplexity_json(const struct job *job, double loss)
{
    return job->data.n ? json_real(exp(loss)) : json_null();
}

static dsr1_status report(const struct job *job, dsr1_error *err)
{
    double mib = 1 << 20;
    if (job->json)
        return tool_print_json(json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:o}", "from", job->from, "to", job->to, "type",
                                         job->recipe->name, "bytes_before", (json_int_t) job->size_before,
                                         "bytes_after", (json_int_t) job->size_after, "perplexity_before",
                                         perplexity_json(job, job->rounded.before), "perplexity_after",
                                         perplexity_json(job, job->rounded.after)), err);
    printf("%s: %s, %.1f MiB of weights (before %.1f)\n", job->to, job->recipe->name, (double) job->size_after / mib,
           (double) job->size_before / mib);
    if (job->data.n)
        printf("perplexity on the %d tokens of calibration: %.3f, before %.3f\n", job->rounded.n_tokens,
               exp(job->rounded.after), exp(job->rounded.before));
    return tool_flush(err);
}

static void show_layer(void *user, int layer, int n_layers)
{
    (void) user;
    tool_progress("rounding layer %d of %d", layer + 1, n_layers);
}

static dsr1_status round_by_data(struct job *job, dsr1_error *err)
{
    job->calibration.text.data = job->data.items;
    job->calibration.text.n_data = job->data.n;
    job->calibration.threads = job->threads;
    job->calibration.type_of = type_of;
    job->calibration.progress = show_layer;
    job->calibration.user = job;
    return requantize(job->from, job->gguf, &job->calibration, &job->rounded, err);
}

static dsr1_status run(struct job *job, dsr1_error *err)
{
    dsr1_status status = gguf_open(job->from, &job->gguf, err);
    if (status == DSR1_OK)
        status = read_layout(job, err);
    if (status == DSR1_OK)
        status = thread_pool_open(job->threads ? job->threads : cpu_count(), &job->pool, err);
    if (status == DSR1_OK && job->data.n > 0)
        status = round_by_data(job, err);
    if (status == DSR1_OK)
        status = gguf_write_open(job->to, &job->writer, err);
    if (status == DSR1_OK) {
        status = write_head(job, err);
        if (status == DSR1_OK)
            status = write_tensors(job, err);
        if (status == DSR1_OK)
            status = gguf_write_commit(job->writer, err);
        else
            gguf_write_abort(job->writer);
    }
    if (status == DSR1_OK)
        status = report(job, err);
    requantized_free(&job->rounded);
    thread_pool_close(job->pool);
    gguf_close(job->gguf);
    return status;
}

static const struct recipe *find_recipe(const char *name)
{
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        if (strcasecmp(name, recipes[i].name) == 0)
            return &recipes[i];
    return NULL;
}

/* The first of --set that is no KEY=VALUE, or NULL. */
static const char *wrong_key(const struct job *job)
{
    for (size_t i = 0; i < job->keys.n; i++) {
        size_t size = strcspn(job->keys.items[i], "=");
        if (size == 0 || size > 100 || job->keys.items[i][size] == 0)
            return job->keys.items[i];
    }
    return NULL;
}

/* The first of --tensor that is no PATTERN=TYPE, or NULL. */
static const char *wrong_tensor(const struct job *job)
{
    for (size_t i = 0; i < job->tensors.n; i++) {
        const char *text = job->tensors.items[i], *type = strrchr(text, '=');
        int known = type ? tensor_type_parse(type + 1) : -1;
        bool good = type && (strcmp(type + 1, "keep") == 0 || (known >= 0 && encode_knows((enum tensor_type) known)));
        if (!good || type == text || type - text > 100)
            return text;
    }
    return NULL;
}

static int quantize(struct job *job, const struct command_line *line, int n, char **names)
{
    dsr1_error err = {0};
    if (n != 3)
        return options_wrong(line, "IN, OUT and TYPE are wanted");
    job->from = names[0];
    job->to = names[1];
    job->recipe = find_recipe(names[2]);
    if (!job->recipe)
        return options_wrong(line, "no type %s", names[2]);
    const char *wrong = wrong_tensor(job);
    if (wrong)
        return options_wrong(line, "--tensor %s: must be PATTERN=TYPE, where TYPE is keep or one that can be written", wrong);
    wrong = wrong_key(job);
    if (wrong)
        return options_wrong(line, "--set %s: must be KEY=VALUE", wrong);
    return run(job, &err) == DSR1_OK ? 0 : tool_fail("quantize", &err);
}

int tool_quantize(int argc, char **argv)
{
    struct job job = {.calibration = requantize_defaults()};
    const struct option_row rows[] = {
        {0, "tensor", OPTION_STRINGS, &job.tensors, "PATTERN=TYPE",
         "another type for matrices of these names (* and ? fit any), or keep; the last that fits counts", 0, 0},
        {0, "again", OPTION_FLAG, &job.again, NULL, "quantise weights that are quantised already", 0, 0},
        {0, "set", OPTION_STRINGS, &job.keys, "KEY=VALUE", "a key of the new file, as deepseek.expert_used_count=12; often",
         0, 0},
        {'d', "data", OPTION_STRINGS, &job.data, "FILE",
         "round by what this text needs (GPTQ): text, or .jsonl (docs/training.md); often", 0, 0},
        {0, "tokens", OPTION_INT, &job.calibration.text.n_tokens, "N", "tokens of it to look at (24576)", 1, 1 << 24},
        {0, "seq", OPTION_INT, &job.calibration.text.seq, "N", "tokens per window (256)", 8, 65536},
        {0, "ridge", OPTION_FLOAT, &job.calibration.ridge, "X", "with --data: towards the given weights (0.02)", 1e-6,
         1e6},
        {'t', "threads", OPTION_INT, &job.threads, "N", "threads (default: the cores of this process)", 1, 1024},
        {0, "json", OPTION_FLAG, &job.json, NULL, "print one JSON object", 0, 0},
        {0},
    };
    const struct command_line line = {
        "dsr1 quantize", "IN OUT TYPE",
        "Writes a model file with smaller weights. TYPE is f32, f16, bf16, q8_0, q6_k, q4_k_m\n"
        "(Q4_K, and Q6_K for what matters more), q4_k, q5_1, q5_0, q4_1 or q4_0. With --data, the\n"
        "blocks of 32 (q5_1 to q4_0) are rounded so that the model's answers to that text change least.", rows, 3};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go == OPTIONS_GO)
        go = quantize(&job, &line, argc - first, argv + first);
    string_list_free(&job.tensors);
    string_list_free(&job.keys);
    string_list_free(&job.data);
    return go;
}
