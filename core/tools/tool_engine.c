/*
 * tool_engine.c - an engine for a program that runs one thing and ends
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void) signal;
    interrupted = 1;
}

bool tool_interrupted(void)
{
    return interrupted;
}

void tool_die_of_interrupt(void)
{
    signal(SIGINT, SIG_DFL);
    raise(SIGINT);
    exit(1);
}

bool tool_engine_options(const struct engine_flags *flags, dsr1_engine_options *options)
{
    static const struct {
        const char *name;
        dsr1_kv_type type;
    } types[] = {{"bf16", DSR1_KV_BF16}, {"f32", DSR1_KV_F32}, {"q8_0", DSR1_KV_Q8_0}, {"f16", DSR1_KV_F16}};
    options->n_threads = flags->threads;
    options->context_size = flags->context;
    options->chunk_size = flags->chunk;
    options->n_experts_used = flags->experts;
    if (!flags->kv)
        return true;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, flags->kv) == 0) {
            options->kv_type = types[i].type;
            return true;
        }
    }
    return false;
}

dsr1_status tool_adapter_open(const struct engine_flags *flags, const dsr1_model *model, dsr1_adapter **adapter,
                              dsr1_error *err)
{
    *adapter = NULL;
    return flags->adapter ? dsr1_adapter_open(model, flags->adapter, adapter, err) : DSR1_OK;
}

dsr1_status tool_engine_drain(dsr1_engine *engine, dsr1_error *err)
{
    int left;
    do
        left = dsr1_engine_step(engine, err);
    while (left > 0);
    return (dsr1_status) left;
}

dsr1_status tool_engine_drain_one(dsr1_engine *engine, uint64_t request, dsr1_error *err)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESETHAND}, before;
    sigaction(SIGINT, &action, &before);
    bool cancelled = false;
    int left;
    do {
        if (interrupted && !cancelled) {
            dsr1_engine_cancel(engine, request);
            cancelled = true;
        }
        left = dsr1_engine_step(engine, err);
    } while (left > 0);
    sigaction(SIGINT, &before, NULL);
    return (dsr1_status) left;
}

const char *tool_finish_name(dsr1_finish finish)
{
    static const char *const names[] = {"none", "end", "stop", "length", "cancelled", "error", "timeout"};
    return names[finish];
}

double tool_resident_mib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file)
        return 0;
    if (fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    fclose(file);
    return (double) pages * (double) sysconf(_SC_PAGESIZE) / (1 << 20);
}
