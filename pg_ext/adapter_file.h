/*-------------------------------------------------------------------------
 *
 * adapter_file.h
 *	  adapters as files, where the engine reads them
 *
 * An adapter's bytes lie in a table, and the engine reads files.  So a file is
 * made of them when a request is about to name it, and kept.  Its name is the
 * SHA-256 of what it holds: it never changes, databases and roles share it
 * without knowing of each other, and another adapter of the same name is
 * another file.  Base backups leave the folder out, as pg_stat_tmp's contents
 * in general; it can be lost at any time.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef ADAPTER_FILE_H
#define ADAPTER_FILE_H

#include "pgstat.h"

/* Relative to the data directory, which engine and backends work in. */
#define ADAPTER_FOLDER	PG_STAT_TMP_DIR "/dsr1_adapters"

#define ADAPTER_DIGEST	64		/* hexadecimal digits */

/* Is it there, with that many bytes?  If so, it counts as used now; size < 0: any. */
extern bool adapter_file_ready(const char *digest, int64 size);

/* The same without counting as a use. */
extern bool adapter_file_there(const char *digest);

/*
 * Makes the file of these bytes, a bytea's, and tells their digest; stored ones
 * are read piece by piece.  An error if `expected` is another one, unless NULL.
 */
extern void adapter_file_write(Datum bytes, const char *expected, char digest[ADAPTER_DIGEST + 1]);

/* The number of bytes of a bytea that need not be read for it. */
extern int64 adapter_file_size_of(Datum bytes);

extern void adapter_file_remove(const char *digest);

/* For the supervisor: removes what nobody has used for a day. */
extern void adapter_file_prune(void);

/*
 * Puts a name, or the beginning of its digest, where a message of the engine
 * has the path of an adapter; NULL if it has none.
 */
extern char *adapter_file_unpath(const char *message, const char *name);

#endif							/* ADAPTER_FILE_H */
