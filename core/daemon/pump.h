/*
 * pump.h - the thread that computes, so that sockets never wait for a step
 *
 * A step over a long piece of prompt may take seconds on a large model. It runs
 * on a thread of its own, without the lock; all else that touches the server,
 * its sessions and its works holds the lock: the main thread but while it
 * waits, and this thread in the engine's callbacks. The engine takes its own
 * lock inside of ours, never the other way round.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_PUMP_H
#define DAEMON_PUMP_H

#include "dsr1.h"

#include <pthread.h>

struct pump {
    dsr1_engine *engine;
    pthread_t thread;
    bool started;
    int wake_fd;                /* readable: a step ended and there is something to send */
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* Under the lock: */
    int n_works;                /* requests without a last event: it sleeps while there are none */
    bool news;                  /* this step had something to send, which wakes the main thread at its end */
    bool stop;
    bool failed;                /* the engine can only be closed; the reason is in err */
    double step_began;          /* clock_seconds(), 0 between steps */
    dsr1_engine_stats stats;    /* as after the last step */
    dsr1_error err;
};

/* The thread starts with every signal blocked. */
dsr1_status pump_open(struct pump *pump, dsr1_engine *engine, dsr1_error *err);

void pump_lock(struct pump *pump);
void pump_unlock(struct pump *pump);

/* A request was submitted, under the lock; n_works counts it already. */
void pump_wake(struct pump *pump);

/* After wake_fd became readable. */
void pump_woken(struct pump *pump);

/* Has one step lasted longer than any should? Under the lock. */
bool pump_hangs(const struct pump *pump);

/* Under the lock; counts of a step that is being computed come with its end. */
dsr1_engine_stats pump_stats(const struct pump *pump);

/*
 * Ends the thread after its step, without the lock. False: the step takes too
 * long to wait for; the engine is still in use, and only _exit() can follow.
 */
bool pump_close(struct pump *pump);

#endif
