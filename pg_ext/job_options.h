/*-------------------------------------------------------------------------
 *
 * job_options.h
 *	  the options of dsr1_annotate()
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JOB_OPTIONS_H
#define JOB_OPTIONS_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "wire/wire_message.h"

#define JOB_BATCH_MAX	256

typedef struct JobOptions
{
	List	   *key;			/* names of columns, NIL: the primary key */
	char	   *where;			/* NULL: every row */
	List	   *labels;			/* of strings */
	char	   *schema;			/* of JSON, as text */
	char	   *type;
	char	   *system;
	char	   *into;			/* name of a table */
	char	   *adapter;		/* NULL: the session's when the job was made */
	bool		watch;
	bool		raw;
	bool		audit;
	int			batch;			/* rows in the engine at once */
	int			max_errors;		/* -1: any number */
	int			retries;
	int			priority;
	int			max_tokens;
	double		temperature;
	int64		seed;
} JobOptions;

/* Raises 22023 for what is unknown or out of range. */
extern void job_options_read(JobOptions *options, Jsonb *given);

/* Only what dsr1_job_alter() may change is among them. */
extern void job_options_check_change(Jsonb *given);

/* What answers may be, for a column of that type: labels, schema or a type's own form. */
extern void job_options_constrain(const JobOptions *options, Oid column_type,
								  struct wire_complete *complete);

#endif							/* JOB_OPTIONS_H */
