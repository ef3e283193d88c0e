/*
 * digest.c - which model that is: its file's identity at once, its SHA-256 soon
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/digest.h"

#include "base/rng.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 20, NOTES = 16, LINE = 200 };

static struct digest_file file_of(const struct stat *about)
{
    return (struct digest_file){about->st_dev, about->st_ino, about->st_size, about->st_mtim};
}

struct digest_file digest_look(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 ? file_of(&about) : (struct digest_file){0};
}

static bool same_file(const struct digest_file *a, const struct digest_file *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

uint64_t digest_id(const struct digest_file *file)
{
    uint64_t parts[] = {(uint64_t) file->device, (uint64_t) file->inode, (uint64_t) file->size,
                        (uint64_t) file->changed.tv_sec, (uint64_t) file->changed.tv_nsec};
    uint64_t id = 1;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        id = rng_mix(id ^ rng_mix(parts[i] + i));
    return id ? id : 1;
}

/* ------------------------------------------------------------------ */
/* Notes: a line per file, the newest first                            */
/* ------------------------------------------------------------------ */

static int print_file(char *line, const struct digest_file *f)
{
    return snprintf(line, LINE, "%ju %ju %jd %jd %ld ", (uintmax_t) f->device, (uintmax_t) f->inode,
                    (intmax_t) f->size, (intmax_t) f->changed.tv_sec, f->changed.tv_nsec);
}

static bool is_digest(const char *text)
{
    return strspn(text, "0123456789abcdef") == SHA256_DIGITS && text[SHA256_DIGITS] == '\n';
}

static bool find_note(struct digest *d)
{
    char wanted[LINE], line[LINE];
    size_t size = (size_t) print_file(wanted, &d->file);
    FILE *notes = d->notes ? fopen(d->notes, "re") : NULL;
    bool found = false;
    while (notes && !found && fgets(line, sizeof line, notes)) {
        found = strncmp(line, wanted, size) == 0 && is_digest(line + size);
        if (found)
            memcpy(d->digits, line + size, SHA256_DIGITS);
    }
    if (notes)
        fclose(notes);
    return found;
}

/* Two engines may do so at once; one of the notes is then lost, and made again some day. */
static void write_note(const struct digest *d)
{
    char temporary[4096], line[LINE];
    if (!d->notes || snprintf(temporary, sizeof temporary, "%s.%d", d->notes, (int) getpid()) >= (int) sizeof temporary)
        return;
    FILE *old = fopen(d->notes, "re"), *new = fopen(temporary, "we");
    bool good = new != NULL;
    if (good) {
        print_file(line, &d->file);
        good = fprintf(new, "%s%s\n", line, d->digits) > 0;
    }
    for (int i = 1; old && good && i < NOTES && fgets(line, sizeof line, old); i++)
        good = fputs(line, new) >= 0;
    if (old)
        fclose(old);
    if (new && fclose(new) != 0)
        good = false;
    if (!good || rename(temporary, d->notes) < 0)
        unlink(temporary);
}

/* ------------------------------------------------------------------ */
/* Reading                                                             */
/* ------------------------------------------------------------------ */

static bool still_the_same(int fd, const struct digest_file *file)
{
    struct stat about;
    struct digest_file now;
    if (fstat(fd, &about) < 0)
        return false;
    now = file_of(&about);
    return same_file(&now, file);
}

static bool read_all(struct digest *d, int fd, unsigned char *piece)
{
    struct sha256 sha;
    ssize_t n;
    sha256_begin(&sha);
    while ((n = read(fd, piece, PIECE)) > 0 && !atomic_load(&d->stop))
        sha256_add(&sha, piece, (size_t) n);
    if (n != 0)
        return false;
    sha256_end(&sha, d->digits);
    return true;
}

static void *compute(void *argument)
{
    struct digest *d = argument;
    unsigned char *piece = malloc(PIECE);
    int fd = open(d->path, O_RDONLY | O_CLOEXEC);
    setpriority(PRIO_PROCESS, (id_t) gettid(), 10);
    /* A file that was replaced or written to meanwhile is not what is being served. */
    if (piece && fd >= 0 && still_the_same(fd, &d->file) && read_all(d, fd, piece) && still_the_same(fd, &d->file)) {
        write_note(d);
        atomic_store(&d->known, true);
    }
    if (fd >= 0)
        close(fd);
    free(piece);
    return NULL;
}

void digest_start(struct digest *d, const char *path, const struct digest_file *file, const char *notes)
{
    sigset_t all, before;
    *d = (struct digest){.file = *file, .path = strdup(path), .notes = notes ? strdup(notes) : NULL};
    if (find_note(d)) {
        atomic_store(&d->known, true);
        return;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    d->started = d->path && pthread_create(&d->thread, NULL, compute, d) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

const char *digest_digits(struct digest *d)
{
    return atomic_load(&d->known) ? d->digits : "";
}

const char *digest_wait(struct digest *d)
{
    if (d->started)
        pthread_join(d->thread, NULL);
    d->started = false;
    return digest_digits(d);
}

void digest_stop(struct digest *d)
{
    atomic_store(&d->stop, true);
    if (d->started)
        pthread_join(d->thread, NULL);
    free(d->path);
    free(d->notes);
    *d = (struct digest){0};
}
