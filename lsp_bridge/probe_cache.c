/*
 * probe_cache.c - how a model wants to be asked, remembered by what is in its file
 *
 * The key is a hash of the file's size, its beginning (the metadata) and pages from
 * all over it: 2 MiB that are read in a millisecond, not the gigabytes that a
 * model may have. A change that misses every page would have to leave the metadata
 * and the time of the last change as they were.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "probe_cache.h"

#include "base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION 2               /* of the holes in probe.c: another one asks all models again */
#define HEAD_PAGES 256
#define SAMPLE_PAGES 256
enum { PAGE = 4096 };

static const char *const names[] = {[PROMPT_FIM] = "fim", [PROMPT_HOLE] = "hole", [PROMPT_PREFIX_ONLY] = "prefixOnly"};
#define N_NAMES (sizeof names / sizeof *names)

/* ------------------------------------------------------------------ */
/* Where                                                               */
/* ------------------------------------------------------------------ */

static uint64_t hash_page(int fd, off_t at, uint64_t hash)
{
    uint64_t words[PAGE / sizeof(uint64_t)] = {0};
    ssize_t n = pread(fd, words, sizeof words, at);
    for (size_t i = 0; n > 0 && i < sizeof words / sizeof *words; i++)
        hash = rng_mix(hash ^ words[i]) + i;
    return hash;
}

/* 0: the file cannot be read. */
static uint64_t hash_file(const char *path)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    uint64_t hash = 0;
    if (fstat(fd, &about) == 0) {
        hash = rng_mix((uint64_t) about.st_size + VERSION);
        hash = rng_mix(hash ^ (uint64_t) about.st_mtim.tv_sec ^ (uint64_t) about.st_mtim.tv_nsec << 32);
        for (off_t i = 0; i < HEAD_PAGES; i++)
            hash = hash_page(fd, i * PAGE, hash);
        for (off_t i = 0; i < SAMPLE_PAGES; i++)
            hash = hash_page(fd, about.st_size / SAMPLE_PAGES * i, hash);
    }
    close(fd);
    return hash;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool cache_path(const char *model, char *path, size_t size)
{
    uint64_t hash = hash_file(model);
    const char *folder, *below = "";
    if (!(folder = variable("DSR1_PROBE_DIR"))) {
        below = "/dsr1/probes";
        if (!(folder = variable("XDG_CACHE_HOME"))) {
            folder = variable("HOME");
            below = "/.cache/dsr1/probes";
        }
    }
    int n = folder ? snprintf(path, size, "%s%s/%016llx", folder, below, (unsigned long long) hash) : -1;
    return hash != 0 && n > 0 && (size_t) n < size;
}

/* ------------------------------------------------------------------ */

bool probe_cache_find(const char *model, enum prompt_mode *mode)
{
    char path[4096], word[20] = "";
    if (!cache_path(model, path, sizeof path))
        return false;
    FILE *in = fopen(path, "re");
    if (!in)
        return false;
    bool read = fscanf(in, "%19s", word) == 1;
    fclose(in);
    for (size_t i = 0; read && i < N_NAMES; i++) {
        if (strcmp(word, names[i]) == 0) {
            *mode = (enum prompt_mode) i;
            return true;
        }
    }
    return false;
}

static bool make_folders(char *path)
{
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = 0;
        bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
        *p = '/';
        if (!made)
            return false;
    }
    return true;
}

void probe_cache_store(const char *model, enum prompt_mode mode)
{
    char path[4096], fresh[4096 + 20];
    if (mode >= N_NAMES || !cache_path(model, path, sizeof path) || !make_folders(path))
        return;
    /* Another server may be reading, or writing the same. */
    snprintf(fresh, sizeof fresh, "%s.%ld", path, (long) getpid());
    FILE *out = fopen(fresh, "wxe");
    if (!out)
        return;
    bool good = fprintf(out, "%s\n", names[mode]) > 0;
    good = fclose(out) == 0 && good;
    if (!good || rename(fresh, path) < 0)
        unlink(fresh);
}
