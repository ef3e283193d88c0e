/*-------------------------------------------------------------------------
 *
 * job_process.c
 *	  the process of a job, whatever it does: its transactions, and its end
 *
 * It logs in as the job's owner.  It may be killed at any time: what it had in
 * hand is to be done still, and another process goes on.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "compat.h"
#include "grpo_worker.h"
#include "job_access.h"
#include "job_board.h"
#include "job_launch.h"
#include "job_process.h"
#include "job_worker.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define NO_ROOM			5000	/* ms until somebody looks again */

PGDLLEXPORT void job_worker_main(Datum arg);

/* ------------------------------------------------------------------
 *	Leaving
 * ------------------------------------------------------------------
 */

void
job_process_leave(int look_ms)
{
	job_board_leave(look_ms);
	proc_exit(0);
}

/* Somebody who drops or copies this database waits for its last session to end. */
static void
leave_if_database_is_wanted(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
	if (LockAcquire(&tag, RowExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
	{
		ereport(LOG, (errmsg("dsr1 job worker leaves the database for a moment")));
		job_process_leave(2000);
	}
	LockRelease(&tag, RowExclusiveLock, true);
}

void
job_process_serve_signals(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	leave_if_database_is_wanted();
}

/* ------------------------------------------------------------------
 *	Transactions
 * ------------------------------------------------------------------
 */

bool
job_process_run_if(int64 id, const char *state, JobWork work, void *arg)
{
	Job			job;
	int			level;
	bool		runs;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!job_extension(NULL, NULL))
		job_process_leave(-1);	/* it was dropped, and the job with it */
	level = job_settings_begin();
	SPI_connect();
	runs = job_read(&job, id) && strcmp(job.state, state) == 0;
	if (runs)
		work(&job, arg);
	SPI_finish();
	job_settings_end(level);
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	return runs;
}

bool
job_process_run(int64 id, JobWork work, void *arg)
{
	return job_process_run_if(id, "running", work, arg);
}

ErrorData *
job_process_attempt(MemoryContext context, void (*function) (void *), void *arg)
{
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		function(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return error;
}

/* ------------------------------------------------------------------
 *	Errors
 * ------------------------------------------------------------------
 */

/* Is it the row's, as far as a SQLSTATE tells? */
bool
job_process_is_of_row(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_DATA_EXCEPTION ||
		category == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
		category == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		category == ERRCODE_WITH_CHECK_OPTION_VIOLATION ||
		category == MAKE_SQLSTATE('P', '0', '0', '0', '0') ||
		category == ERRCODE_TRIGGERED_ACTION_EXCEPTION ||
		error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE;
}

/* 42, a name or a right that is missing, does not come back by waiting. */
bool
job_process_is_permanent(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION ||
		category == ERRCODE_FEATURE_NOT_SUPPORTED ||
		category == ERRCODE_INVALID_SCHEMA_NAME ||
		job_process_is_of_row(error);
}

/* In an own transaction: the job cannot go on, now or ever. */
static void
note_job_error(int64 id, const ErrorData *error, bool permanent, int *pause)
{
	Datum		values[4] = {Int64GetDatum(id), BoolGetDatum(permanent), CStringGetTextDatum(error->message),
		CStringGetTextDatum(unpack_sql_state(error->sqlerrcode))};

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (job_extension(NULL, NULL))
	{
		SPI_connect();
		if (job_execute_as_owner("UPDATE @.dsr1_job SET state = CASE WHEN $2 THEN 'failed' ELSE state END,"
								 " finished = CASE WHEN $2 THEN pg_catalog.now() END,"
								 " category = CASE WHEN $2 THEN 'job_permanent' ELSE 'job_temporary' END,"
								 " last_error = $3, sqlstate = $4, attempts = attempts + 1,"
								 " next_attempt = pg_catalog.now() + LEAST(60, 2 ^ LEAST(attempts, 6)) * interval '1 s'"
								 " WHERE id = $1 AND state = 'running' RETURNING LEAST(60, 2 ^ LEAST(attempts, 6))::int8",
								 "lbtt", values, NULL) > 0)
			*pause = (int) job_int64(0, 1) * 1000;
		SPI_finish();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
}

void
job_process_give_up(int64 job, const ErrorData *error, bool permanent)
{
	int			pause = 1000;

	ereport(LOG,
			(errmsg("dsr1 job " INT64_FORMAT " %s: %s", job,
					permanent ? "failed" : "is interrupted", error->message)));
	note_job_error(job, error, permanent, &pause);
	job_process_leave(permanent ? -1 : pause);
}

/* ------------------------------------------------------------------
 *	Main
 * ------------------------------------------------------------------
 */

static void
set(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_SESSION);
}

/* What kind of work it is; leaves if there is none. */
static bool
is_training(int64 id)
{
	Job			job;
	bool		training;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!job_extension(NULL, NULL))
		job_process_leave(-1);
	SPI_connect();
	if (!job_read(&job, id))
		job_process_leave(-1);
	training = strcmp(job.kind, "grpo") == 0;
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	return training;
}

void
job_worker_main(Datum arg)
{
	JobTicket	ticket;

	memcpy(&ticket, MyBgworkerEntry->bgw_extra, sizeof(ticket));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(ticket.database, ticket.owner, 0);
	if (!job_board_enter(ticket.job))
	{
		if (!job_board_has_worker(MyDatabaseId, ticket.job))
			job_board_look(MyDatabaseId, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), NO_ROOM));
		proc_exit(0);
	}
	set("statement_timeout", "0");
	set("idle_in_transaction_session_timeout", "0");
	set("lock_timeout", "10s");
	set("default_transaction_isolation", "read committed");
	set("default_transaction_read_only", "off");
	set("dsr1.start_timeout", "2s");
	pgstat_report_activity(STATE_RUNNING, psprintf("dsr1 job " INT64_FORMAT, ticket.job));
	if (is_training(ticket.job))
		grpo_worker_train(ticket.job);
	job_worker_annotate(ticket.job);
}
