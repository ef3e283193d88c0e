/*
 * mkmodel.c - write a model file with random weights
 *
 *     mkmodel dsv2-lite dsv2-lite.gguf                    10.4 GB, the mix of Q4_K_M
 *     mkmodel qwen3-30b-a3b --layers 12 q.gguf
 *     mkmodel tiny-dsv3 --type F32 --heads 6 --set expert_gating_func=i32:2 t.gguf
 *
 * A preset, changed by options. Memory stays constant however large the file.
 * The same arguments and seed give the same bytes.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "mkmodel.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/thread_pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_SIZE = 8 << 20 };

struct chunk {
    const struct mkmodel_tensor *tensor;
    uint64_t seed, first;       /* block */
    size_t n;
    uint8_t *out;
};

static void fill_share(void *context, int thread, int n_threads)
{
    const struct chunk *c = context;
    size_t from = c->n * (size_t) thread / (size_t) n_threads, to = c->n * (size_t) (thread + 1) / (size_t) n_threads;
    size_t size = tensor_type_size((uint32_t) c->tensor->type);
    mkmodel_fill_blocks(c->tensor, c->seed, c->first + from, to - from, c->out + from * size);
}

static uint64_t tensor_blocks(const struct mkmodel_tensor *t)
{
    uint64_t n = (uint64_t) t->ne[0] / (uint64_t) tensor_type_block((uint32_t) t->type);
    for (int i = 1; i < 4; i++)
        n *= (uint64_t) t->ne[i];
    return n;
}

static void show(size_t i, size_t n, uint64_t written)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%zu of %zu tensors, %.2f GB%s", i, n, (double) written / 1e9, i == n ? "\n" : "");
}

static dsr1_status write_data(const struct mkmodel_plan *plan, uint64_t seed, struct thread_pool *pool,
                              struct gguf_writer *writer, dsr1_error *err)
{
    struct chunk c = {.out = malloc(CHUNK_SIZE)};
    uint64_t written = 0;
    if (!c.out)
        return error_nomem(err, "a piece of a tensor");
    for (size_t i = 0; i < plan->n; i++) {
        c.tensor = &plan->tensors[i];
        c.seed = rng_at(seed, i);
        size_t size = tensor_type_size((uint32_t) c.tensor->type), room = CHUNK_SIZE / size;
        uint64_t n = tensor_blocks(c.tensor);
        show(i, plan->n, written);
        for (c.first = 0; c.first < n; c.first += c.n) {
            c.n = n - c.first < room ? (size_t) (n - c.first) : room;
            thread_pool_run(pool, fill_share, &c);
            gguf_write_data(writer, c.out, c.n * size);
        }
        written += n * size;
    }
    show(plan->n, plan->n, written);
    free(c.out);
    return DSR1_OK;
}

static dsr1_status write_model(struct mkmodel_shape *shape, const struct mkmodel_wishes *wishes, uint64_t seed,
                               const char *path, dsr1_error *err)
{
    struct gguf_writer *writer = NULL;
    struct thread_pool *pool = NULL;
    struct mkmodel_plan plan = {0};
    dsr1_status status = gguf_write_open(path, &writer, err);
    if (status == DSR1_OK)
        status = mkmodel_vocab_write(shape, wishes, writer, err);
    if (status == DSR1_OK)
        status = mkmodel_keys_write(shape, wishes, writer, err);
    if (status == DSR1_OK)
        status = mkmodel_plan_make(shape, wishes, &plan, err);
    for (size_t i = 0; status == DSR1_OK && i < plan.n; i++)
        gguf_write_tensor(writer, plan.tensors[i].name, plan.tensors[i].type, plan.tensors[i].n_dims,
                          plan.tensors[i].ne);
    if (status == DSR1_OK)
        status = thread_pool_open(cpu_count(), &pool, err);
    if (status == DSR1_OK)
        status = write_data(&plan, seed, pool, writer, err);
    if (status == DSR1_OK)
        status = gguf_write_commit(writer, err);
    else
        gguf_write_abort(writer);
    thread_pool_close(pool);
    if (plan.tensors)
        free(plan.tensors);
    return status;
}

static int list_presets(void)
{
    printf("usage: mkmodel PRESET [OPTIONS] OUT.gguf      (mkmodel PRESET --help lists the options)\n\n");
    for (size_t i = 0; mkmodel_preset_at(i); i++)
        printf("  %-18s %s\n", mkmodel_preset_at(i)->name, mkmodel_preset_at(i)->about);
    return 0;
}

/* A shape that the plan can be made of; whether a model loads it is another question. */
static bool is_possible(const struct mkmodel_shape *s)
{
    bool heads = s->heads > 0 && (s->head_k > 0 || s->embd >= s->heads);
    bool mla = s->kv_lora == 0 || (s->head_k > s->rot && s->head_v > 0 && s->rot > 0);
    bool experts = s->experts == 0 || (s->used > 0 && (s->ff_expert > 0 || s->ff >= s->used));
    bool dense = s->ff > 0 || (s->experts > 0 && s->dense == 0);
    return s->layers > 0 && s->layers + s->nextn <= 512 && s->embd > 0 && heads && mla && experts && dense;
}

int main(int argc, char **argv)
{
    struct mkmodel_wishes wishes = {.type = "Q4_K_M"};
    const struct mkmodel_shape *preset = argc > 1 ? mkmodel_preset_find(argv[1]) : NULL;
    const char *wrong;
    uint64_t seed = 1;
    int first;
    if (!preset && argc == 2 && strcmp(argv[1], "--help") == 0)
        return list_presets();
    if (!preset) {
        fprintf(stderr, "mkmodel: the first word is a preset (mkmodel --help lists them)\n");
        return 2;
    }
    struct mkmodel_shape shape = *preset;
    const struct option_row rows[] = {
        {'t', "type", OPTION_STRING, &wishes.type, "TYPE", "Q4_K_M, MXFP4_MOE, MIXED (all types) or one type", 0, 0},
        {0, "seed", OPTION_SEED, &seed, "N", "of the weights", 0, 0},
        {0, "tokenizer", OPTION_STRING, &wishes.tokenizer, "FILE", "take the tokenizer of this GGUF file", 0, 0},
        {0, "set", OPTION_STRINGS, &wishes.set, "KEY=TYPE:VALUE", "write a key so; TYPE u32, i32[], f32, str ..", 0, 0},
        {0, "unset", OPTION_STRINGS, &wishes.unset, "KEY", "leave a key out", 0, 0},
        {0, "without", OPTION_STRINGS, &wishes.without, "TENSOR", "leave a tensor out (name without blk.N.)", 0, 0},
        {0, "tensor-type", OPTION_STRINGS, &wishes.tensor_types, "TENSOR=TYPE", "the type of one tensor", 0, 0},
        {0}};
    const struct command_line line = {.command = "mkmodel PRESET", .synopsis = "[OPTIONS] OUT.gguf", .rows = rows,
                                      .about = "Writes a model file with random weights of a preset's shape.",
                                      .max_arguments = 1};
    int n = mkmodel_field_take(&shape, argc - 1, argv + 1, &wrong);
    int status = wrong ? options_wrong(&line, "%s needs a number", wrong) : options_parse(&line, n, argv + 1, &first);
    if (status == 0)
        mkmodel_field_help();
    if (status == OPTIONS_GO && first >= n)
        status = options_wrong(&line, "where to?");
    if (status == OPTIONS_GO && !is_possible(&shape))
        status = options_wrong(&line, "these sizes make no model");
    if (status != OPTIONS_GO)
        return status;
    dsr1_error err = {0};
    if (write_model(&shape, &wishes, seed, argv[1 + first], &err) == DSR1_OK)
        return 0;
    fprintf(stderr, "mkmodel: %s\n", err.message);
    return 1;
}
