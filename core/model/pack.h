/*
 * pack.h - weights in the order in which they are computed with
 *
 * Panels (kernel.h) of all matrices lie one after the other, in the order of
 * weights_each(). Packed in memory they cost a copy at every start and a second
 * time the file's size. A pack file holds them ready: it is mapped, so that a start
 * takes no time and all processes share one copy.
 *
 * A pack file begins with a head of one huge page, most of it a hole, and is written
 * in whole huge pages: where the file system can keep those together (ext4 and XFS
 * of recent kernels do), a mapping reads as fast as memory on huge pages.
 *
 * It belongs to weights by their content: types, shapes and samples of the bytes.
 * When it is mapped, its size and head are checked, and one panel of each matrix is
 * packed anew and compared. A checksum of the rest is there for pack_check().
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef MODEL_PACK_H
#define MODEL_PACK_H

#include "base/thread_pool.h"
#include "model/weights.h"

#include <stdatomic.h>

/* Bytes of all panels. */
size_t pack_size(const struct weights *weights);

/*
 * Packs every matrix into memory with all threads. Without it the same results
 * come slower. DSR1_ERR_NOMEM leaves the weights as they were.
 */
dsr1_status pack_memory(struct weights *weights, struct thread_pool *pool, dsr1_error *err);

/* Which weights these are, as 32 hexadecimal digits. */
enum { PACK_NAME = 33 };
void pack_name(const struct weights *weights, char name[PACK_NAME]);

/*
 * Writes a pack file. It appears under path when it is whole and on disk, and not
 * at all after a failure: DSR1_ERR_IO, DSR1_ERR_NOMEM, or DSR1_ERR_CANCELLED once
 * *stop (which may be NULL) is true. Packs on the way what is not packed yet.
 */
dsr1_status pack_write(const struct weights *weights, const char *path, const atomic_bool *stop, dsr1_error *err);

/*
 * Maps the pack file at path. DSR1_ERR_IO when there is none, DSR1_ERR_FORMAT when
 * it is broken or belongs to other weights; the weights are then as before.
 */
dsr1_status pack_map(struct weights *weights, const char *path, dsr1_error *err);

/* Reads all of a pack file that pack_map() accepts and holds it against its checksum. */
dsr1_status pack_check(struct weights *weights, const char *path, dsr1_error *err);

/* ---- where pack files lie ---- */

/*
 * The pack file beside a model file: its path and ".pack"; or in the cache directory,
 * $DSR1_PACK_DIR, $XDG_CACHE_HOME/dsr1/packs or ~/.cache/dsr1/packs. pack_cached_path
 * returns false where there is no such directory to be named. Buffers of PACK_PATH.
 */
enum { PACK_PATH = 4096 };
bool pack_beside(const char *model, char *path);
bool pack_cached_path(const struct weights *weights, char *path);

/* Creates the directories above path that are missing. */
dsr1_status pack_make_folders(const char *path, dsr1_error *err);

/*
 * Maps the model's pack file from either place. True on success; a file that is there but of
 * no use is named in the log.
 */
bool pack_find(struct weights *weights, const char *model);

/*
 * Writes weights that are packed in memory into the cache directory, by a thread that is in
 * no hurry: the next start will be quick. Does nothing for small models, and where less than
 * two more of its size are free on the disk. NULL when nothing was started.
 */
struct pack_writer;
struct pack_writer *pack_writer_start(const struct weights *weights);
void pack_writer_stop(struct pack_writer *writer);      /* gives up an unfinished file; accepts NULL */

#endif
