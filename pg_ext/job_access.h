/*-------------------------------------------------------------------------
 *
 * job_access.h
 *	  reading and writing the extension's own tables
 *
 * Nobody but the extension's owner may touch the tables of jobs.  A role that
 * makes a job, and the worker that runs as that role, do so through here: in
 * between job_access_begin and _end the process acts as the owner of the
 * extension, on statements that we wrote, with a search_path that nobody can
 * turn against us.  An error in between undoes it all.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JOB_ACCESS_H
#define JOB_ACCESS_H

#include "executor/spi.h"

typedef struct JobAccess
{
	Oid			user;
	int			security;
	int			guc_level;
} JobAccess;

/* Is dsr1 there?  Its schema, quoted, and its owner; either may be NULL. */
extern bool job_extension(const char **schema, Oid *owner);

/* One of the extension's own tables or indexes, by name. */
extern Oid	job_extension_relation(const char *name);

/*
 * Settings that change how values look as text, and what names mean, are
 * brought to one state, until job_settings_end with that level: so that a
 * row's key and its prompt are the same whoever makes them.
 */
extern int	job_settings_begin(void);
extern void job_settings_end(int guc_level);

/* SPI must be connected. */
extern void job_access_begin(JobAccess *access);
extern void job_access_end(const JobAccess *access);

/*
 * Runs a statement with arguments; "@" in it stands for the extension's schema.
 * Returns the number of rows; what they are is in SPI_tuptable.  types is
 * "iltbL...": i int4, l int8, t text, b bool, j jsonb, n name, f float8,
 * z timestamptz, and capitals for arrays of them.  A NULL in nulls is none.
 */
extern uint64 job_execute(const char *statement, const char *types,
						  Datum *values, const char *nulls);

/* The same as the extension's owner, in its own SPI connection if there is none yet. */
extern uint64 job_execute_as_owner(const char *statement, const char *types,
								   Datum *values, const char *nulls);

/* A column of a row of SPI_tuptable; pointers live as long as the SPI connection. */
extern Datum job_datum(uint64 row, int column, bool *isnull);
extern int64 job_int64(uint64 row, int column);
extern char *job_string(uint64 row, int column);

/* An array datum of n values of a type as above. */
extern Datum job_array(char type, Datum *values, bool *nulls, int n);

#endif							/* JOB_ACCESS_H */
