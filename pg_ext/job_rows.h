/*-------------------------------------------------------------------------
 *
 * job_rows.h
 *	  a job's two transactions: rows are claimed, rows are written
 *
 * Claiming changes nothing but what nobody wants: the only worker of a job
 * remembers itself what it has in hand, and what it forgets by dying is claimed
 * again.  Writing puts answers, their places in the queue and the job's figures
 * into one transaction.  So each row is done exactly once.
 *
 * Nothing here waits for another transaction's rows while it has locked some:
 * what is locked is left for later.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JOB_ROWS_H
#define JOB_ROWS_H

#include "job.h"

/* What is left when nothing more can be claimed. */
typedef struct JobRest
{
	bool		any;
	bool		now;			/* some of it can be claimed again now */
	TimestampTz next;			/* else when */
} JobRest;

/* Within a transaction and SPI, all of them. */

/*
 * Up to `most` rows with ids above *last that are not among `held`, as JobRows
 * in contexts of their own below `parent`, into `rows`.  Returns their number,
 * and moves *last.  *looked_at says how many there were, wanted or not.
 */
extern int	job_rows_claim(const Job *job, const JobTable *table, MemoryContext parent,
						   int64 *last, const int64 *held, int n_held, int most,
						   JobRow **rows, int *looked_at);

/*
 * Writes settled rows: answers and errors.  Those that are not as they were
 * are left as they are in the queue.  Returns false, with nothing done, if the
 * job is not to run any more.
 */
extern bool job_rows_write(const Job *job, const JobTable *table, JobRow **rows, int n,
						   const char *model_digest, double rows_per_s,
						   int *done, int *failed);

extern void job_rows_rest(const Job *job, JobRest *rest);

/* Notes an error of one row, or of the first one behind `last` where id is 0. */
extern void job_rows_set_error(JobRow *row, const char *category, const char *sqlstate,
							   const char *message);

#endif							/* JOB_ROWS_H */
