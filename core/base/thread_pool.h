/*
 * thread_pool.h - one piece of work, run by every thread at once
 *
 * The engine's step is written once and executed by all threads together (SPMD):
 * each takes its share of every phase, and a barrier separates phases. Waiting
 * threads spin for some microseconds, since the next phase is usually that
 * close, and then sleep in the kernel: a database server is a shared machine,
 * where endless spinning steals the very cores it waits for.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_THREAD_POOL_H
#define BASE_THREAD_POOL_H

#include "dsr1.h"

struct thread_pool;

typedef void (*thread_work)(void *context, int thread, int n_threads);

/* n_threads counts the caller of run, so n_threads - 1 are started, with every signal blocked. */
dsr1_status thread_pool_open(int n_threads, struct thread_pool **pool, dsr1_error *err);
void thread_pool_close(struct thread_pool *pool);       /* accepts NULL */

int thread_pool_size(const struct thread_pool *pool);

/* Runs work on all threads, the caller being thread 0, and returns when all have returned. */
void thread_pool_run(struct thread_pool *pool, thread_work work, void *context);

/* Inside work: waits until all threads are here. All must call it equally often. */
void thread_pool_barrier(struct thread_pool *pool);

/* The same; the thread that comes last runs `serial` before anyone goes on. It sees what all wrote, and all see it. */
void thread_pool_barrier_then(struct thread_pool *pool, void (*serial)(void *context), void *context);

#endif
