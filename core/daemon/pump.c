/*
 * pump.c - the thread that computes, so that sockets never wait for a step
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/pump.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Seconds: a step that lasts longer hangs; a step is waited for at the end. */
enum { STEP_DEADLINE = 60, LAST_STEP = 1 };

void pump_lock(struct pump *pump)
{
    pthread_mutex_lock(&pump->lock);
}

void pump_unlock(struct pump *pump)
{
    pthread_mutex_unlock(&pump->lock);
}

void pump_call_main(struct pump *pump)
{
    uint64_t one = 1;
    if (write(pump->wake_fd, &one, sizeof one) < 0) {
        /* Full: then it is readable already. */
    }
}

static void one_step(struct pump *pump, struct served *served)
{
    dsr1_error err = {0};
    pump->step_began = clock_seconds();
    served->poked = false;
    pump_unlock(pump);
    int left = dsr1_engine_step(served->engine, &err);
    pump_lock(pump);
    served->n_left = left;
    pump->step_began = 0;
    if (served == pump->served)
        dsr1_engine_get_stats(served->engine, &pump->stats);
    if (left < 0) {
        pump->err = err;
        pump->failed = pump->stop = pump->news = true;
    }
    if (pump->news)
        pump_call_main(pump);
    pump->news = false;
}

/* Closes models that were replaced and have answered everything. */
static void close_idle(struct pump *pump)
{
    struct served **link = &pump->served->next;
    while (*link) {
        struct served *old = *link;
        if (old->n_works > 0) {
            link = &old->next;
            continue;
        }
        *link = old->next;
        pump_unlock(pump);
        served_close(old);
        pump_lock(pump);
        link = &pump->served->next;
    }
}

static void *turn(void *user)
{
    struct pump *pump = user;
    pump_lock(pump);
    while (!pump->stop) {
        bool busy = false;
        for (struct served *served = pump->served; served && !pump->stop; served = served->next)
            if (served->poked || served->n_left > 0) {
                busy = true;
                one_step(pump, served);
            }
        close_idle(pump);
        if (!busy && !pump->stop)
            pthread_cond_wait(&pump->more, &pump->lock);
    }
    pump_unlock(pump);
    return NULL;
}

static int start(struct pump *pump)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&pump->thread, NULL, turn, pump);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure;
}

dsr1_status pump_open(struct pump *pump, struct served *served, dsr1_error *err)
{
    *pump = (struct pump){.served = served};
    dsr1_engine_get_stats(served->engine, &pump->stats);
    pump->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pump->wake_fd < 0) {
        served_close(served);
        return error_errno(err, DSR1_ERR_IO, "eventfd");
    }
    pthread_mutex_init(&pump->lock, NULL);
    pthread_cond_init(&pump->more, NULL);
    errno = start(pump);
    if (errno == 0) {
        pump->started = true;
        return DSR1_OK;
    }
    dsr1_status status = error_errno(err, DSR1_ERR_IO, "cannot start a thread");
    pthread_mutex_destroy(&pump->lock);
    pthread_cond_destroy(&pump->more);
    close(pump->wake_fd);
    served_close(served);
    return status;
}

void pump_wake(struct pump *pump, struct served *served)
{
    served->poked = true;
    pthread_cond_signal(&pump->more);
}

void pump_serve(struct pump *pump, struct served *served)
{
    served->next = pump->served;
    pump->served = served;
    dsr1_engine_get_stats(served->engine, &pump->stats);
    /* So that it looks whether the old one can be closed. */
    pump_wake(pump, served);
}

void pump_woken(struct pump *pump)
{
    uint64_t count;
    if (read(pump->wake_fd, &count, sizeof count) < 0) {
        /* Nothing there: woken already. */
    }
}

bool pump_hangs(const struct pump *pump)
{
    return pump->step_began > 0 && clock_seconds() - pump->step_began > STEP_DEADLINE;
}

dsr1_engine_stats pump_stats(const struct pump *pump)
{
    dsr1_engine_stats stats = pump->stats;
    int n_works = pump->served->n_works;
    /* What came since then waits. */
    stats.n_queued = n_works > stats.n_running ? n_works - stats.n_running : 0;
    return stats;
}

bool pump_close(struct pump *pump)
{
    struct timespec until;
    if (!pump->started)
        return true;
    pump_lock(pump);
    pump->stop = true;
    pthread_cond_signal(&pump->more);
    pump_unlock(pump);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LAST_STEP;
    if (pthread_timedjoin_np(pump->thread, NULL, &until) != 0)
        return false;
    pump->started = false;
    while (pump->served) {
        struct served *served = pump->served;
        pump->served = served->next;
        served_close(served);
    }
    pthread_mutex_destroy(&pump->lock);
    pthread_cond_destroy(&pump->more);
    close(pump->wake_fd);
    return true;
}
