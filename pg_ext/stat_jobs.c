/*-------------------------------------------------------------------------
 *
 * stat_jobs.c
 *	  what the workers of jobs are doing
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "shared.h"
#include "stat_rows.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define N_COLUMNS	8

static const char *const phases[] = {
	[JOB_STARTING] = "starting",
	[JOB_CLAIMING] = "claiming rows",
	[JOB_GENERATING] = "generating",
	[JOB_WRITING] = "writing rows",
	[JOB_WAITING_ENGINE] = "waiting for the engine",
	[JOB_IDLE] = "waiting for rows",
	[JOB_TRAINING] = "training",
	[JOB_REWARDING] = "rewarding"
};

PG_FUNCTION_INFO_V1(sql_stat_progress_job);

Datum
sql_stat_progress_job(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = stat_rows_begin(fcinfo, N_COLUMNS);
	SharedJob  *jobs = palloc(sizeof(SharedJob) * SHARED_JOBS);
	Shared	   *board = shared();

	LWLockAcquire(&board->lock, LW_SHARED);
	memcpy(jobs, board->jobs, sizeof(SharedJob) * SHARED_JOBS);
	LWLockRelease(&board->lock);
	for (int i = 0; i < SHARED_JOBS; i++)
	{
		SharedJob  *job = &jobs[i];
		bool		nulls[N_COLUMNS] = {false};
		Datum		values[N_COLUMNS];

		if (job->pid == 0)
			continue;
		values[0] = Int32GetDatum(job->pid);
		values[1] = ObjectIdGetDatum(job->database);
		values[2] = Int64GetDatum(job->job);
		values[3] = CStringGetTextDatum(phases[job->phase]);
		values[4] = Int32GetDatum(job->in_flight);
		values[5] = Int64GetDatum(job->done);
		values[6] = Int64GetDatum(job->failed);
		values[7] = TimestampTzGetDatum(job->started);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
