/*
 * loader.c - opens another model while the present one is being served
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/loader.h"

#include "base/error.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void *load(void *user)
{
    struct loader *l = user;
    struct served *served = NULL;
    dsr1_error err = {0};
    served_open(l->path, l->options, l->notes, &served, &err);
    pump_lock(l->pump);
    l->served = served;
    l->err = err;
    l->done = true;
    pump_call_main(l->pump);
    pump_unlock(l->pump);
    return NULL;
}

dsr1_status loader_start(struct loader *l, const char *path, dsr1_error *err)
{
    sigset_t all, before;
    if (l->busy)
        return error_set(err, DSR1_ERR_BUSY, "another model is being loaded");
    l->path = strdup(path);
    if (!l->path)
        return error_nomem(err, "a path");
    l->served = NULL;
    l->err = (dsr1_error){0};
    l->done = false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&l->thread, NULL, load, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errno) {
        free(l->path);
        return error_errno(err, DSR1_ERR_IO, "cannot start a thread");
    }
    l->busy = true;
    return DSR1_OK;
}

bool loader_take(struct loader *l)
{
    if (!l->busy || !l->done)
        return false;
    pthread_join(l->thread, NULL);
    free(l->path);
    l->busy = false;
    return true;
}
