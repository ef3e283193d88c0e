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

#include "daemon/served.h"

#include <pthread.h>

struct pump {
    pthread_t thread;
    bool started;
    int wake_fd;                /* readable: there is something for the main thread to do */
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* Under the lock: */
    struct served *served;      /* the first takes new requests; the pump closes others once they have none */
    bool news;                  /* this step had something to send, which wakes the main thread at its end */
    bool stop;
    bool failed;                /* the engine can only be closed; the reason is in err */
    double step_began;          /* clock_seconds(), 0 between steps */
    dsr1_engine_stats stats;    /* of the first, as after its last step */
    dsr1_error err;
};

/* Takes `served` over. The thread starts with every signal blocked. */
dsr1_status pump_open(struct pump *pump, struct served *served, dsr1_error *err);

void pump_lock(struct pump *pump);
void pump_unlock(struct pump *pump);

/* A request was submitted to this one; under the lock. */
void pump_wake(struct pump *pump, struct served *served);

/* Under the lock: puts another model in front, and takes it over. */
void pump_serve(struct pump *pump, struct served *served);

/* Makes wake_fd readable. */
void pump_call_main(struct pump *pump);

/* After wake_fd became readable. */
void pump_woken(struct pump *pump);

/* Has one step lasted longer than any should? Under the lock. */
bool pump_hangs(const struct pump *pump);

/* Under the lock; counts of a step that is being computed come with its end. */
dsr1_engine_stats pump_stats(const struct pump *pump);

/*
 * Ends the thread after its step and closes all that is served, without the
 * lock. False: the step takes too long to wait for; the engine is still in use,
 * and only _exit() can follow.
 */
bool pump_close(struct pump *pump);

#endif
