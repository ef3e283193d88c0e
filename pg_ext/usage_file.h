/*-------------------------------------------------------------------------
 *
 * usage_file.h
 *	  what roles have used, kept over restarts
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef USAGE_FILE_H
#define USAGE_FILE_H

/*
 * For the supervisor: takes the figures of an earlier server into shared
 * memory, if there are none yet; a file that is not ours is left alone.
 */
extern void usage_file_load(void);

/* Writes them, if they have changed since; a failure is logged. */
extern void usage_file_save(void);

#endif							/* USAGE_FILE_H */
