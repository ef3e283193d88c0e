/*
 * pack_cache.c - where pack files lie, and how one comes into being by itself
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "base/log.h"
#include "model/pack_parts.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Below this a start packs in a fraction of a second, and a file would be litter. */
static const size_t WORTH_A_FILE = (size_t) 256 << 20;

static bool print_path(char *path, const char *a, const char *b, const char *c)
{
    int n = snprintf(path, PACK_PATH, "%s%s%s", a, b, c);
    return n > 0 && n < PACK_PATH;
}

bool pack_beside(const char *model, char *path)
{
    return *model && print_path(path, model, ".pack", "");
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

bool pack_cached_path(const struct weights *weights, char *path)
{
    char name[PACK_NAME + 8] = "/";
    const char *folder;
    pack_name(weights, name + 1);
    memcpy(name + PACK_NAME, ".pack", sizeof ".pack");
    if ((folder = variable("DSR1_PACK_DIR")))
        return print_path(path, folder, name, "");
    if ((folder = variable("XDG_CACHE_HOME")))
        return print_path(path, folder, "/dsr1/packs", name);
    return (folder = variable("HOME")) && print_path(path, folder, "/.cache/dsr1/packs", name);
}

dsr1_status pack_make_folders(const char *path, dsr1_error *err)
{
    char folder[PACK_PATH];
    if (!print_path(folder, path, "", ""))
        return error_set(err, DSR1_ERR_ARGUMENT, "the path of a pack file is too long");
    for (char *p = strchr(folder + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = 0;
        if (mkdir(folder, 0700) < 0 && errno != EEXIST)
            return error_errno(err, DSR1_ERR_IO, "cannot create %s", folder);
        *p = '/';
    }
    return DSR1_OK;
}

/* Others may have put a file there that we should not compute with. */
static bool is_trusted(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && (about.st_uid == geteuid() || about.st_uid == 0);
}

static bool try_map(struct weights *weights, const char *path)
{
    dsr1_error err = {0};
    if (access(path, R_OK) < 0)
        return false;
    if (!is_trusted(path))
        error_set(&err, DSR1_ERR_IO, "it belongs to another user");
    else if (pack_map(weights, path, &err) == DSR1_OK)
        return true;
    log_line(LOG_WARN, "%s is not used: %s", path, err.message);
    return false;
}

bool pack_find(struct weights *weights, const char *model)
{
    char path[PACK_PATH];
    return (pack_beside(model, path) && try_map(weights, path)) ||
           (pack_size(weights) >= WORTH_A_FILE && pack_cached_path(weights, path) && try_map(weights, path));
}

/* ------------------------------------------------------------------ */
/* A file in the background                                            */
/* ------------------------------------------------------------------ */

struct pack_writer {
    const struct weights *weights;
    pthread_t thread;
    atomic_bool stop;
    char path[PACK_PATH];
};

static void *write_file(void *argument)
{
    struct pack_writer *writer = argument;
    dsr1_error err = {0};
    if (pack_write(writer->weights, writer->path, &writer->stop, &err) == DSR1_OK)
        log_line(LOG_INFO, "packed weights are in %s", writer->path);
    else if (err.status != DSR1_ERR_CANCELLED)
        log_line(LOG_WARN, "no packed weights for the next start: %s", err.message);
    return NULL;
}

static bool has_room(const char *path, size_t size)
{
    char folder[PACK_PATH];
    struct statvfs about;
    memcpy(folder, path, strlen(path) + 1);
    *strrchr(folder, '/') = 0;
    return statvfs(folder, &about) == 0 && about.f_bavail / 3 > size / about.f_frsize;
}

struct pack_writer *pack_writer_start(const struct weights *weights)
{
    sigset_t all, before;
    size_t size = pack_size(weights);
    struct pack_writer *writer = size >= WORTH_A_FILE ? calloc(1, sizeof *writer) : NULL;
    if (!writer)
        return NULL;
    writer->weights = weights;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pack_cached_path(weights, writer->path) && pack_make_folders(writer->path, NULL) == DSR1_OK &&
                   has_room(writer->path, size) &&
                   pthread_create(&writer->thread, NULL, write_file, writer) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started)
        return writer;
    free(writer);
    return NULL;
}

void pack_writer_stop(struct pack_writer *writer)
{
    if (!writer)
        return;
    atomic_store(&writer->stop, true);
    pthread_join(writer->thread, NULL);
    free(writer);
}
