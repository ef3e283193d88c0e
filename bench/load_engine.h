/*
 * load_engine.h - a dsr1-engine of one's own, for as long as a benchmark runs
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LOAD_ENGINE_H
#define LOAD_ENGINE_H

#include "dsr1.h"

#include <sys/types.h>

struct load_engine {
    pid_t pid;                  /* 0: none */
    int parent_fd;
    char folder[64];
    char socket[96];
};

/*
 * Starts program on a model with further arguments (NULL at their end), in a
 * temporary folder, and waits until it is ready. DSR1_ERR_IO, or what the engine says.
 */
dsr1_status load_engine_start(struct load_engine *engine, const char *program, const char *model,
                              const char *const *arguments, dsr1_error *err);
void load_engine_stop(struct load_engine *engine);

#endif
