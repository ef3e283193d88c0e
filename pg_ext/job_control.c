/*-------------------------------------------------------------------------
 *
 * job_control.c
 *	  pausing, resuming, changing, retrying and awaiting jobs
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/partition.h"
#include "commands/trigger.h"
#include "compat.h"
#include "fmgr.h"
#include "job.h"
#include "job_access.h"
#include "job_board.h"
#include "job_launch.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "wait_event.h"

#define WAIT_INTERVAL	100		/* ms between two looks at a job that is awaited */

/* SPI is connected when this returns; the job is the caller's, or it is an error. */
static void
open_job(Job *job, int64 id)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (!job_read(job, id))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("job " INT64_FORMAT " does not exist", id)));
	job_check_owner(job);
}

/* A statement about job $1, with $2 as text where it is given; returns the rows it changed. */
static uint64
change(const Job *job, const char *statement, const char *text)
{
	Datum		values[2] = {Int64GetDatum(job->id), text ? CStringGetTextDatum(text) : (Datum) 0};

	return job_execute_as_owner(statement, text ? "lt" : "l", values, NULL);
}

static void
pg_attribute_noreturn()
refuse_state(const Job *job, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("job " INT64_FORMAT " cannot be %s", job->id, what),
			 errdetail("Its state is \"%s\".", job->state)));
}

PG_FUNCTION_INFO_V1(sql_job_pause);

Datum
sql_job_pause(PG_FUNCTION_ARGS)
{
	Job			job;

	open_job(&job, PG_GETARG_INT64(0));
	if (change(&job, "UPDATE @.dsr1_job SET state = 'paused' WHERE id = $1 AND state IN ('running', 'paused')", NULL) == 0)
		refuse_state(&job, "paused");
	job_change_at_commit(job.id);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(sql_job_resume);

/* The model that serves now becomes the job's, if it is another one. */
Datum
sql_job_resume(PG_FUNCTION_ARGS)
{
	Job			job;

	open_job(&job, PG_GETARG_INT64(0));
	if (change(&job, "UPDATE @.dsr1_job SET state = 'running', finished = NULL, attempts = 0, next_attempt = NULL,"
			   " category = NULL, sqlstate = NULL, last_error = NULL,"
			   " model_digest = CASE WHEN sqlstate = '55000' THEN NULL ELSE model_digest END"
			   " WHERE id = $1 AND state IN ('running', 'paused', 'failed')", NULL) == 0)
		refuse_state(&job, "resumed");
	job_launch_at_commit(job.id, job.owner);
	SPI_finish();
	PG_RETURN_VOID();
}

/* What was asked for watching is taken back, as the owner, who asked. */
static void
drop_trigger(const Job *job)
{
	Oid			user;
	int			security;
	char	   *table = get_rel_name(job->relation);

	if (!job->watch || table == NULL)
		return;
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(job->owner, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	(void) job_execute(psprintf("DROP TRIGGER IF EXISTS dsr1_job_" INT64_FORMAT " ON %s", job->id,
								quote_qualified_identifier(get_namespace_name(get_rel_namespace(job->relation)), table)),
					   "", NULL, NULL);
	SetUserIdAndSecContext(user, security);
}

PG_FUNCTION_INFO_V1(sql_job_cancel);

Datum
sql_job_cancel(PG_FUNCTION_ARGS)
{
	Job			job;

	open_job(&job, PG_GETARG_INT64(0));
	if (change(&job, "UPDATE @.dsr1_job SET state = 'cancelled', finished = pg_catalog.now()"
			   " WHERE id = $1 AND state <> 'cancelled'", NULL) == 0)
		refuse_state(&job, "cancelled");
	(void) change(&job, "UPDATE @.dsr1_job_row SET pending = false WHERE job = $1 AND pending", NULL);
	(void) change(&job, "DELETE FROM @.dsr1_job_row WHERE job = $1 AND done_at IS NULL", NULL);
	drop_trigger(&job);
	job_change_at_commit(job.id);
	/* somebody has to take a run's files away */
	if (strcmp(job.kind, "grpo") == 0)
		job_launch_at_commit(job.id, job.owner);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(sql_job_alter);

Datum
sql_job_alter(PG_FUNCTION_ARGS)
{
	Job			job;
	Datum		values[2] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};

	job_options_check_change(PG_GETARG_JSONB_P(1));
	open_job(&job, PG_GETARG_INT64(0));
	job_check_rows(&job, "changed");
	(void) job_execute_as_owner("UPDATE @.dsr1_job SET options = options || $2 WHERE id = $1", "lj", values, NULL);
	job_change_at_commit(job.id);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(sql_job_retry);

Datum
sql_job_retry(PG_FUNCTION_ARGS)
{
	Job			job;
	int64		n;

	open_job(&job, PG_GETARG_INT64(0));
	job_check_rows(&job, "retried");
	if (strcmp(job.state, "cancelled") == 0)
		refuse_state(&job, "retried");
	n = (int64) change(&job, "UPDATE @.dsr1_job_row SET pending = true, attempts = 0, next_retry = NULL, version = version + 1"
					   " WHERE job = $1 AND category IS NOT NULL", NULL);
	if (n > 0)
	{
		(void) change(&job, "UPDATE @.dsr1_job SET state = 'running', finished = NULL, attempts = 0, next_attempt = NULL,"
					  " category = NULL, sqlstate = NULL, last_error = NULL"
					  " WHERE id = $1 AND state IN ('done', 'failed')", NULL);
		job_launch_at_commit(job.id, job.owner);
	}
	SPI_finish();
	PG_RETURN_INT64(n);
}

/* ------------------------------------------------------------------
 *	Waiting
 * ------------------------------------------------------------------
 */

/* Each look is a statement of its own and sees what others have committed. */
static bool
is_over(const Job *job)
{
	return change(job, "SELECT FROM @.dsr1_job WHERE id = $1 AND (state IN ('done', 'failed', 'cancelled')"
				  " OR (watch AND NOT EXISTS (SELECT FROM @.dsr1_job_row WHERE job = $1 AND pending)))", NULL) > 0;
}

static TimestampTz
end_of(FunctionCallInfo fcinfo)
{
	Datum		now = TimestampTzGetDatum(GetCurrentTimestamp());

	if (PG_ARGISNULL(1))
		return DT_NOEND;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, now, PG_GETARG_DATUM(1)));
}

PG_FUNCTION_INFO_V1(sql_job_wait);

Datum
sql_job_wait(PG_FUNCTION_ARGS)
{
	Job			job;
	TimestampTz end;
	bool		over;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("dsr1_job_wait() cannot see a job end in a transaction of this isolation level"),
				 errhint("Use READ COMMITTED.")));
	end = end_of(fcinfo);
	open_job(&job, PG_GETARG_INT64(0));
	while (!(over = is_over(&job)) && GetCurrentTimestamp() < end)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, WAIT_INTERVAL,
						 wait_event(WAIT_JOB));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_finish();
	PG_RETURN_BOOL(over);
}

/* ------------------------------------------------------------------
 *	Watching
 * ------------------------------------------------------------------
 */

static HeapTuple
row_of(const TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
}

/* The row's key as the job writes keys, in the settings that it writes them in. */
static Datum
key_of(const Job *job, const TriggerData *trigger)
{
	TupleDesc	descriptor = RelationGetDescr(trigger->tg_relation);
	StringInfoData select;
	Oid			types[INDEX_MAX_KEYS];
	Datum		values[INDEX_MAX_KEYS];
	ListCell   *cell;
	int			n = 0;
	bool		isnull;

	initStringInfo(&select);
	foreach(cell, job->key)
	{
		int			number = SPI_fnumber(descriptor, lfirst(cell));

		if (number <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of the key of job " INT64_FORMAT " does not exist any more",
							(char *) lfirst(cell), job->id)));
		types[n] = SPI_gettypeid(descriptor, number);
		values[n] = SPI_getbinval(row_of(trigger), descriptor, number, &isnull);
		appendStringInfo(&select, "%s$%d", n ? ", " : "SELECT pg_catalog.jsonb_build_array(", n + 1);
		n++;
	}
	appendStringInfoString(&select, ")");
	if (SPI_execute_with_args(select.data, n, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not make the key of a row");
	return job_datum(0, 1, &isnull);
}

static bool
belongs_to(const TriggerData *trigger, const Job *job)
{
	Oid			relation = RelationGetRelid(trigger->tg_relation);

	/* a partition's rows are its parent's */
	while (OidIsValid(relation) && relation != job->relation)
		relation = get_rel_relispartition(relation) ? get_partition_parent(relation, false) : InvalidOid;
	return OidIsValid(relation);
}

static void
enqueue(const TriggerData *trigger, int64 id)
{
	Job			job;
	Datum		values[2];
	int			level;

	if (!job_read(&job, id) || !belongs_to(trigger, &job) ||
		strcmp(job.state, "cancelled") == 0)
		return;
	level = job_settings_begin();
	values[0] = Int64GetDatum(id);
	values[1] = key_of(&job, trigger);
	(void) job_execute_as_owner("INSERT INTO @.dsr1_job_row AS r (job, key) VALUES ($1, $2)"
								" ON CONFLICT (job, key) DO UPDATE SET pending = true, version = r.version + 1,"
								" attempts = 0, next_retry = NULL", "lj", values, NULL);
	job_settings_end(level);
	if (strcmp(job.state, "running") == 0)
		job_launch_at_commit(id, job.owner);
}

PG_FUNCTION_INFO_V1(sql_job_enqueue);

Datum
sql_job_enqueue(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ||
		trigger->tg_trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("dsr1_job_enqueue() is for the triggers of jobs only")));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	enqueue(trigger, strtoll(trigger->tg_trigger->tgargs[0], NULL, 10));
	SPI_finish();
	return PointerGetDatum(NULL);
}
