/*-------------------------------------------------------------------------
 *
 * job_template.h
 *	  a job's prompt, row by row
 *
 * "{column}" stands for a column's value as text, NULL as nothing; "{*}" for
 * all columns but the target, a line each: "column: value".  "{{" is a brace,
 * and so is one that does not open a name.  A prompt without any column is
 * followed by an empty line and {*}.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JOB_TEMPLATE_H
#define JOB_TEMPLATE_H

#include "nodes/pg_list.h"
#include "utils/rel.h"

typedef struct JobTemplate
{
	char	   *expression;		/* of SQL: the prompt of row t */
	char	   *all_null;		/* of SQL: true where every input is NULL */
	List	   *columns;		/* attribute numbers of the inputs */
} JobTemplate;

extern void job_template_read(JobTemplate *template, const char *prompt,
							  Relation relation, const char *target);

#endif							/* JOB_TEMPLATE_H */
