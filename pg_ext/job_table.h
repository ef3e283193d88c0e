/*-------------------------------------------------------------------------
 *
 * job_table.h
 *	  the statements on a job's relation
 *
 * All of them run as the job's owner: with its rights on tables and columns,
 * and row-level security.  They are made anew for every transaction, so that a
 * table that was altered meanwhile is an error, and no surprise.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JOB_TABLE_H
#define JOB_TABLE_H

#include "job_options.h"
#include "job_template.h"
#include "utils/rel.h"

typedef struct JobTable
{
	Oid			relation;
	char	   *name;			/* qualified and quoted, with ONLY where there are no partitions */
	List	   *key;			/* names of columns */
	char	   *key_match;		/* SQL: t is the row of key k.key */
	char	   *key_of_row;		/* SQL: the key of row t, as jsonb */
	JobTemplate template;
	char	   *where;			/* SQL, "true" if there is none */
	char	   *target;			/* name of the column, quoted */
	Oid			target_type;
	char	   *target_type_name;
	char	   *into;			/* the other table, qualified and quoted; NULL: the relation itself */
} JobTable;

/*
 * relation must be open; into is a table that exists, or InvalidOid.  Raises a
 * clear error if this cannot be annotated.
 */
extern void job_table_read(JobTable *table, Relation relation, List *key,
						   const char *target, const char *prompt,
						   const char *where, Oid into);

/* The names of a key's columns: those given, which must be unique, or the primary key. */
extern List *job_table_key(Relation relation, List *given);

/* "SELECT key FROM relation WHERE where" */
extern char *job_table_select_keys(const JobTable *table);

/*
 * "SELECT ord, wanted, prompt, all_null FROM unnest($1) ..." for keys in $1;
 * locked: and the rows are locked, leaving out those that others have locked.
 */
extern char *job_table_select_prompts(const JobTable *table, bool locked);

/* Writes values $2 of keys $1. */
extern char *job_table_write(const JobTable *table);

/* "SELECT ord, prompt, value FROM unnest($1)": what stands there now, and whether it is $2 */
extern char *job_table_select_values(const JobTable *table);

/* Creates the side table of that name if it is not there yet. */
extern Oid	job_table_create_into(const JobTable *table, const char *name);

/* Creates the trigger that queues rows for a job. */
extern void job_table_create_trigger(const JobTable *table, Relation relation,
									 int64 job, bool all_columns);

#endif							/* JOB_TABLE_H */
