/*
 * test_base_thread_pool.c - claims about base/thread_pool.c
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/thread_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

enum { MAX_THREADS = 5, PHASES = 200 };

struct counter {
    _Atomic int runs[MAX_THREADS];
    int n_threads;
};

static void count_run(void *context, int thread, int n_threads)
{
    struct counter *counter = context;
    atomic_fetch_add(&counter->runs[thread], 1);
    if (thread == 0)
        counter->n_threads = n_threads;
}

static void every_thread_runs_the_work_once(void **state)
{
    for (int n = 1; n <= MAX_THREADS; n++) {
        struct thread_pool *pool;
        assert_int_equal(thread_pool_open(n, &pool, NULL), DSR1_OK);
        assert_int_equal(thread_pool_size(pool), n);
        struct counter counter = {0};
        for (int run = 1; run <= 500; run++) {
            thread_pool_run(pool, count_run, &counter);
            for (int t = 0; t < n; t++)
                assert_int_equal(counter.runs[t], run);
        }
        assert_int_equal(counter.n_threads, n);
        thread_pool_close(pool);
    }
}

struct phases {
    struct thread_pool *pool;
    int slots[MAX_THREADS];     /* plain: the barrier alone must order them */
    _Atomic int wrong;
};

static void run_phases(void *context, int thread, int n_threads)
{
    struct phases *phases = context;
    for (int p = 1; p <= PHASES; p++) {
        phases->slots[thread] = p;
        thread_pool_barrier(phases->pool);
        for (int t = 0; t < n_threads; t++)
            if (phases->slots[t] != p)
                atomic_fetch_add(&phases->wrong, 1);
        thread_pool_barrier(phases->pool);
    }
}

static void a_barrier_shows_what_all_wrote_before_it(void **state)
{
    for (int n = 1; n <= MAX_THREADS; n++) {
        struct phases phases = {0};
        assert_int_equal(thread_pool_open(n, &phases.pool, NULL), DSR1_OK);
        for (int run = 0; run < 5; run++)
            thread_pool_run(phases.pool, run_phases, &phases);
        assert_int_equal(phases.wrong, 0);
        thread_pool_close(phases.pool);
    }
}

struct serials {
    struct thread_pool *pool;
    int slots[MAX_THREADS], runs;   /* plain, as above */
    _Atomic int wrong;
};

struct serial {
    struct serials *all;
    int phase, n_threads;
};

static void check_slots(void *context)
{
    const struct serial *s = context;
    for (int t = 0; t < s->n_threads; t++)
        if (s->all->slots[t] != s->phase)
            atomic_fetch_add(&s->all->wrong, 1);
    s->all->runs++;
}

static void run_serials(void *context, int thread, int n_threads)
{
    struct serials *all = context;
    for (int p = 1; p <= PHASES; p++) {
        struct serial s = {all, p, n_threads};
        all->slots[thread] = p;
        thread_pool_barrier_then(all->pool, check_slots, &s);
        if (all->runs != p)
            atomic_fetch_add(&all->wrong, 1);
        thread_pool_barrier(all->pool);
    }
}

/* It sees what all wrote before, and all see what it wrote. */
static void one_thread_runs_what_a_barrier_holds(void **state)
{
    for (int n = 1; n <= MAX_THREADS; n++) {
        struct serials all = {0};
        assert_int_equal(thread_pool_open(n, &all.pool, NULL), DSR1_OK);
        thread_pool_run(all.pool, run_serials, &all);
        assert_int_equal(all.runs, PHASES);
        assert_int_equal(all.wrong, 0);
        thread_pool_close(all.pool);
    }
}

static void sleepers_wake_up_after_a_long_pause(void **state)
{
    struct thread_pool *pool;
    struct counter counter = {0};
    assert_int_equal(thread_pool_open(3, &pool, NULL), DSR1_OK);
    for (int run = 1; run <= 5; run++) {
        nanosleep(&(struct timespec){0, 20000000}, NULL);
        thread_pool_run(pool, count_run, &counter);
        assert_int_equal(counter.runs[2], run);
    }
    thread_pool_close(pool);
}

static void read_mask(void *context, int thread, int n_threads)
{
    sigset_t *masks = context;
    pthread_sigmask(SIG_SETMASK, NULL, &masks[thread]);
}

/* The signals of a database server belong to its own threads. */
static void started_threads_block_every_signal(void **state)
{
    struct thread_pool *pool;
    sigset_t masks[3], mine;
    assert_int_equal(thread_pool_open(3, &pool, NULL), DSR1_OK);
    thread_pool_run(pool, read_mask, masks);
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD, SIGPIPE};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        assert_int_equal(sigismember(&mine, signals[i]), 0);
        assert_int_equal(sigismember(&masks[0], signals[i]), 0);
        assert_int_equal(sigismember(&masks[1], signals[i]), 1);
        assert_int_equal(sigismember(&masks[2], signals[i]), 1);
    }
    thread_pool_close(pool);
}

static void impossible_counts_are_refused(void **state)
{
    const int counts[] = {0, -1, 1025};
    for (size_t i = 0; i < 3; i++) {
        struct thread_pool *pool = (struct thread_pool *) 1;
        dsr1_error err = {0};
        assert_int_equal(thread_pool_open(counts[i], &pool, &err), DSR1_ERR_ARGUMENT);
        assert_null(pool);
        assert_non_null(strstr(err.message, "1 to 1024"));
    }
    thread_pool_close(NULL);
}

static void an_idle_pool_closes(void **state)
{
    for (int i = 0; i < 100; i++) {
        struct thread_pool *pool;
        assert_int_equal(thread_pool_open(1 + i % 4, &pool, NULL), DSR1_OK);
        thread_pool_close(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_thread_runs_the_work_once),
        cmocka_unit_test(a_barrier_shows_what_all_wrote_before_it),
        cmocka_unit_test(one_thread_runs_what_a_barrier_holds),
        cmocka_unit_test(sleepers_wake_up_after_a_long_pause),
        cmocka_unit_test(started_threads_block_every_signal),
        cmocka_unit_test(impossible_counts_are_refused),
        cmocka_unit_test(an_idle_pool_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
