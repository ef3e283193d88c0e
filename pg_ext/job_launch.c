/*-------------------------------------------------------------------------
 *
 * job_launch.c
 *	  workers for the jobs that have work
 *
 * A job's worker is started by the transaction that gave it work, at its
 * commit.  What has no worker all the same - after a restart, after an error,
 * when a row is to be tried again later - is found by looking: the supervisor
 * starts a "dsr1 job launcher" for a database that is due, which reads the
 * table of jobs, starts workers, says when to look again, and ends.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "grpo_folder.h"
#include "job_access.h"
#include "job_board.h"
#include "job_launch.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define LOOK_AGAIN	5000		/* ms, for what a prepared transaction brings */
#define LOOK_ANYWAY	60000		/* ms, for a worker that could not even log in */

PGDLLEXPORT void job_look_main(Datum arg);

static void
describe(BackgroundWorker *worker, const char *function, const char *type)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "dsr1", BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, function, BGW_MAXLEN);
	strlcpy(worker->bgw_name, type, BGW_MAXLEN);
	strlcpy(worker->bgw_type, type, BGW_MAXLEN);
}

bool
job_launch(Oid database, Oid owner, int64 job)
{
	BackgroundWorker worker;
	JobTicket	ticket = {.database = database, .owner = owner, .job = job};

	StaticAssertStmt(sizeof(ticket) <= BGW_EXTRALEN, "a ticket fits");
	describe(&worker, "job_worker_main", "dsr1 job worker");
	snprintf(worker.bgw_name, BGW_MAXLEN, "dsr1 job worker for job " INT64_FORMAT, job);
	memcpy(worker.bgw_extra, &ticket, sizeof(ticket));
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

bool
job_launch_look(Oid database)
{
	BackgroundWorker worker;

	describe(&worker, "job_look_main", "dsr1 job launcher");
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

/* ------------------------------------------------------------------
 *	At commit
 * ------------------------------------------------------------------
 */

typedef struct Waking
{
	struct Waking *next;
	int64		job;
	Oid			owner;			/* InvalidOid: its worker shall look, if there is one */
} Waking;

static Waking *wakings = NULL;	/* in TopTransactionContext */

/* Nothing here may raise an error: the transaction has happened. */
static void
wake(const Waking *waking)
{
	if (!OidIsValid(waking->owner))
	{
		job_board_change(MyDatabaseId, waking->job);
		return;
	}
	if (job_board_wake(MyDatabaseId, waking->job))
		return;
	job_board_look(MyDatabaseId,
				   TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_ANYWAY));
	if (!job_launch(MyDatabaseId, waking->owner, waking->job))
		job_board_want(MyDatabaseId, waking->owner, waking->job,
					   TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 1000));
}

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			for (Waking *waking = wakings; waking; waking = waking->next)
				wake(waking);
			wakings = NULL;
			break;
		case XACT_EVENT_PREPARE:
			/* it will be found by looking */
			if (wakings)
				job_board_look(MyDatabaseId,
							   TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_AGAIN));
			wakings = NULL;
			break;
		case XACT_EVENT_ABORT:
			wakings = NULL;
			break;
		default:
			break;
	}
}

void
job_launch_at_commit(int64 job, Oid owner)
{
	static bool registered = false;
	Waking	   *waking;

	for (waking = wakings; waking; waking = waking->next)
		if (waking->job == job && waking->owner == owner)
			return;
	(void) shared();			/* an error is raised now, if ever */
	if (!registered)
		RegisterXactCallback(at_end_of_transaction, NULL);
	registered = true;
	waking = MemoryContextAlloc(TopTransactionContext, sizeof(Waking));
	waking->job = job;
	waking->owner = owner;
	waking->next = wakings;
	wakings = waking;
}

void
job_change_at_commit(int64 job)
{
	job_launch_at_commit(job, InvalidOid);
}

/* ------------------------------------------------------------------
 *	Looking
 * ------------------------------------------------------------------
 */

static void
look_at_databases(void)
{
	Relation	databases;
	TableScanDesc scan;
	HeapTuple	tuple;

	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	databases = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(databases, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		/* A copy of a template shall find nobody in it. */
		if (form->datallowconn && !form->datistemplate)
			job_board_look(form->oid, GetCurrentTimestamp());
	}
	table_endscan(scan);
	table_close(databases, AccessShareLock);
	grpo_folder_clean();
	CommitTransactionCommand();
}

/* A job whose next attempt, or whose next row's, is later is not started yet. */
static const char *const runnable_jobs =
"SELECT j.id, j.owner::oid::int8,"
" GREATEST(j.next_attempt, (SELECT CASE WHEN bool_or(r.next_retry IS NULL) THEN NULL ELSE min(r.next_retry) END"
"   FROM (SELECT next_retry FROM @.dsr1_job_row WHERE job = j.id AND pending ORDER BY id LIMIT 1000) r))"
"  AS next"
" FROM @.dsr1_job j WHERE j.state = 'running'"
" AND (j.kind = 'grpo' OR EXISTS (SELECT FROM @.dsr1_job_row WHERE job = j.id AND pending)) ORDER BY j.id";

static const char *const fail_orphans =
"UPDATE @.dsr1_job SET state = 'failed', finished = pg_catalog.now(), category = 'job_permanent', sqlstate = '28000',"
" last_error = 'the owner of the job does not exist any more, or cannot log in'"
" WHERE state = 'running' AND NOT EXISTS (SELECT FROM pg_catalog.pg_authid a WHERE a.oid = owner AND a.rolcanlogin)";

static void
look_at_jobs(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = DT_NOEND;
	uint64		n;

	(void) job_execute_as_owner(fail_orphans, "", NULL, NULL);
	n = job_execute_as_owner(runnable_jobs, "", NULL, NULL);
	if (n > 0)
		next = TimestampTzPlusMilliseconds(now, LOOK_ANYWAY);

	for (uint64 i = 0; i < n; i++)
	{
		bool		at_once;
		TimestampTz at = DatumGetTimestampTz(job_datum(i, 3, &at_once));
		int64		job = job_int64(i, 1);

		if (!at_once && at > now)
			next = Min(next, at);
		else if (!job_board_has_worker(MyDatabaseId, job) &&
				 !job_launch(MyDatabaseId, (Oid) job_int64(i, 2), job))
			/* perhaps this process has the last slot */
			job_board_want(MyDatabaseId, (Oid) job_int64(i, 2), job,
						   TimestampTzPlusMilliseconds(now, 200));
	}
	if (next != DT_NOEND)
		job_board_look(MyDatabaseId, next);
}

void
job_look_main(Datum arg)
{
	Oid			database = DatumGetObjectId(arg);

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (!OidIsValid(database))
	{
		look_at_databases();
		proc_exit(0);
	}
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (job_extension(NULL, NULL))
		look_at_jobs();
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	proc_exit(0);
}
