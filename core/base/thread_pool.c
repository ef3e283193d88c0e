/*
 * thread_pool.c - one piece of work, run by every thread at once
 *
 * A barrier is two words: how many threads have arrived, and a phase number
 * that the last one increments. The same barrier starts and ends a piece of
 * work, so there is one place that waits.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/thread_pool.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 2000 };  /* about 25 us of pauses */

struct thread_pool {
    int n_threads;
    int spins;              /* none where threads outnumber cores: the one waited for may need this very core */
    _Alignas(64) _Atomic int arrived;
    _Alignas(64) _Atomic uint32_t phase;
    _Alignas(64) _Atomic int sleepers;
    /* Written by the caller of run between two phases; read by all after the barrier. */
    _Alignas(64) thread_work work;
    void *context;
    bool quit;
    int n_started;
    pthread_t *threads;
};

struct start {
    struct thread_pool *pool;
    int thread;
};

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void wait_phase_change(struct thread_pool *pool, uint32_t phase)
{
    for (int i = 0; i < pool->spins; i++) {
        if (atomic_load_explicit(&pool->phase, memory_order_acquire) != phase)
            return;
        pause_cpu();
    }
    /* Sequentially consistent on both sides: either the waker sees a sleeper, or the sleeper sees the new phase. */
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->phase) == phase)
        syscall(SYS_futex, &pool->phase, FUTEX_WAIT_PRIVATE, phase, NULL, NULL, 0);
    atomic_fetch_sub(&pool->sleepers, 1);
}

void thread_pool_barrier_then(struct thread_pool *pool, void (*serial)(void *context), void *context)
{
    if (pool->n_threads == 1) {
        if (serial)
            serial(context);
        return;
    }
    uint32_t phase = atomic_load_explicit(&pool->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) + 1 < pool->n_threads) {
        wait_phase_change(pool, phase);
        return;
    }
    if (serial)
        serial(context);
    atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
    atomic_store(&pool->phase, phase + 1);
    if (atomic_load(&pool->sleepers) > 0)
        syscall(SYS_futex, &pool->phase, FUTEX_WAKE_PRIVATE, pool->n_threads, NULL, NULL, 0);
}

void thread_pool_barrier(struct thread_pool *pool)
{
    thread_pool_barrier_then(pool, NULL, NULL);
}

static void *thread_main(void *argument)
{
    struct start start = *(struct start *) argument;
    free(argument);
    for (;;) {
        thread_pool_barrier(start.pool);
        if (start.pool->quit)
            return NULL;
        start.pool->work(start.pool->context, start.thread, start.pool->n_threads);
        thread_pool_barrier(start.pool);
    }
}

void thread_pool_run(struct thread_pool *pool, thread_work work, void *context)
{
    pool->work = work;
    pool->context = context;
    thread_pool_barrier(pool);
    work(context, 0, pool->n_threads);
    thread_pool_barrier(pool);
}

static dsr1_status start_thread(struct thread_pool *pool, int thread, dsr1_error *err)
{
    struct start *start = malloc(sizeof *start);
    if (!start)
        return error_nomem(err, "a thread");
    *start = (struct start){pool, thread};
    int code = pthread_create(&pool->threads[thread], NULL, thread_main, start);
    if (code != 0) {
        free(start);
        errno = code;
        return error_errno(err, DSR1_ERR_IO, "cannot start thread %d", thread);
    }
    pool->n_started++;
    return DSR1_OK;
}

/* A pool that failed to start completely is shrunk to what runs, so that the common close can end it. */
dsr1_status thread_pool_open(int n_threads, struct thread_pool **out, dsr1_error *err)
{
    *out = NULL;
    if (n_threads < 1 || n_threads > 1024)
        return error_set(err, DSR1_ERR_ARGUMENT, "%d threads: must be 1 to 1024", n_threads);
    struct thread_pool *pool = aligned_alloc(64, sizeof *pool);
    if (!pool)
        return error_nomem(err, "the thread pool");
    *pool = (struct thread_pool){.n_threads = n_threads, .n_started = 1};
    pool->spins = n_threads <= cpu_count() ? SPINS : 0;
    pool->threads = memory_array((size_t) n_threads, sizeof *pool->threads);
    dsr1_status status = pool->threads ? DSR1_OK : error_nomem(err, "the thread pool");

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int t = 1; t < n_threads && status == DSR1_OK; t++)
        status = start_thread(pool, t, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);

    if (status != DSR1_OK) {
        pool->quit = true;
        /* The threads that did start wait for n_threads arrivals: stand in for the missing ones. */
        atomic_fetch_add(&pool->arrived, n_threads - pool->n_started);
        thread_pool_close(pool);
        return status;
    }
    *out = pool;
    return DSR1_OK;
}

void thread_pool_close(struct thread_pool *pool)
{
    if (!pool)
        return;
    pool->quit = true;
    if (pool->n_started > 1)
        thread_pool_barrier(pool);
    for (int t = 1; t < pool->n_started; t++)
        pthread_join(pool->threads[t], NULL);
    free(pool->threads);
    free(pool);
}

int thread_pool_size(const struct thread_pool *pool)
{
    return pool->n_threads;
}
