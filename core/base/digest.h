/*
 * digest.h - which model that is: its file's identity at once, its SHA-256 soon
 *
 * Reading ten gigabytes takes longer than mapping them, so the digest is computed
 * by a thread in no hurry, while the model is used, and noted in a file for the
 * next start: by device, inode, size and time of change. Until it is known it is "".
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include "base/sha256.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/* A file, as far as the file system tells it from others. */
struct digest_file {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct digest {
    struct digest_file file;
    pthread_t thread;
    bool started;
    atomic_bool stop, known;
    char *path, *notes;         /* notes may be NULL */
    char digits[SHA256_DIGITS + 1];
};

/* What the path names now; all zero if nothing. Call it before the model is opened. */
struct digest_file digest_look(const char *path);

/* A number for it that is another for another file, and never 0. */
uint64_t digest_id(const struct digest_file *file);

/*
 * Begins, or finds it in the notes. A path that names another file by now gets
 * no digest. A failure is no error: then it stays unknown.
 */
void digest_start(struct digest *digest, const char *path, const struct digest_file *file, const char *notes);

/* "" until it is known. */
const char *digest_digits(struct digest *digest);

/* The same, once it is known; "" if it never will be. */
const char *digest_wait(struct digest *digest);

/* Gives up what is unfinished. Accepts one that was never started, all zero. */
void digest_stop(struct digest *digest);

#endif
