/*-------------------------------------------------------------------------
 *
 * grpo_folder.h
 *	  the files of a run of GRPO, below the data directory
 *
 * The trainer is a program of its own, so what it reads and writes are files:
 * prompts, checkpoint, adapter.  All of them can be made again from the tables;
 * the checkpoint only saves time.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef GRPO_FOLDER_H
#define GRPO_FOLDER_H

#include "postgres.h"

/* Its path, relative to the data directory, of this database's job with that token. */
extern char *grpo_folder_path(int64 job, const char *token);

/* A name for a folder that no other run has had; also after DROP and CREATE EXTENSION. */
extern char *grpo_folder_token(void);

extern void grpo_folder_create(const char *folder);

/* Writes a file into it, replacing it; raises an error if it cannot. */
extern void grpo_folder_write(const char *folder, const char *name, const char *bytes, size_t size);

/* What is in a file of it. */
extern bytea *grpo_folder_read(const char *folder, const char *name);

extern bool grpo_folder_has(const char *folder, const char *name);
extern void grpo_folder_unlink(const char *folder, const char *name);

/* Those of databases that do not exist any more.  In a transaction. */
extern void grpo_folder_clean(void);

/* All of it, if it is there; failures are logged.  Safe at exit. */
extern void grpo_folder_remove(const char *folder);

#endif							/* GRPO_FOLDER_H */
