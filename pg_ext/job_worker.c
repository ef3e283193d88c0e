/*-------------------------------------------------------------------------
 *
 * job_worker.c
 *	  the work on a job that fills a column
 *
 * Rows are claimed in one short transaction, and written in another; while the
 * model thinks, there is no transaction and no snapshot, so that vacuum is not
 * held up and no lock is held.  The worker keeps the engine busy: as rows are
 * answered, others are claimed.
 *
 * It may be killed at any time.  Whatever it had in hand is in the queue still,
 * and another worker goes on.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "job_access.h"
#include "job_board.h"
#include "job_process.h"
#include "job_worker.h"
#include "job_worker_parts.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "wait_event.h"

#define WRITE_AFTER		250		/* ms that an answer waits for others */
#define IDLE_TIME		10000	/* ms that a watching worker stays without work */

/* ------------------------------------------------------------------
 *	Transactions
 * ------------------------------------------------------------------
 */

typedef struct Task
{
	Worker	   *worker;
	Work		work;
	bool		with_table;
} Task;

static void
do_task(Job *job, void *arg)
{
	const Task *task = arg;
	JobTable	table;

	task->worker->batch = job->options.batch;
	task->worker->watch = job->watch;
	if (task->with_table)
		job_open_table(&table, job);
	task->work(task->worker, job, &table);
}

/* The work with its job and table, in a transaction of its own; leaves if the job is not to run any more. */
static void
run(Worker *worker, Work work, bool with_table)
{
	Task		task = {worker, work, with_table};

	worker->stop = false;
	worker->stop |= !job_process_run(worker->job_id, do_task, &task);
	MemoryContextSwitchTo(worker->context);
	if (worker->stop)
		job_process_leave(-1);
}

/* job_process_run() itself looks whether the job is to go on. */
static void
nothing(Worker *worker, Job *job, JobTable *table)
{
}

typedef struct Attempt
{
	Worker	   *worker;
	Work		work;
} Attempt;

static void
run_attempt(void *arg)
{
	const Attempt *attempt = arg;

	run(attempt->worker, attempt->work, true);
}

/* NULL if it went well; else the error, and nothing has happened. */
ErrorData *
job_worker_attempt(Worker *worker, Work work)
{
	Attempt		what = {worker, work};

	return job_process_attempt(worker->context, run_attempt, &what);
}

void
job_worker_give_up(Worker *worker, const ErrorData *error)
{
	job_process_give_up(worker->job_id, error, job_process_is_permanent(error));
}

void
job_worker_serve_signals(Worker *worker)
{
	job_process_serve_signals();
	if (job_board_is_changed())
		run(worker, nothing, false);
}

void
job_worker_rest(Worker *worker, long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 wait_event(WAIT_JOB));
	ResetLatch(MyLatch);
	job_worker_serve_signals(worker);
}

/* ------------------------------------------------------------------
 *	Writing
 * ------------------------------------------------------------------
 */

/* Answers of different models in one column would be nobody's wish. */
static bool
pause_for_other_model(const Worker *worker, const Job *job)
{
	Datum		values[1] = {Int64GetDatum(job->id)};

	if (job->model_digest == NULL || worker->digest[0] == '\0' ||
		strcmp(job->model_digest, worker->digest) == 0)
		return false;
	(void) job_execute_as_owner("UPDATE @.dsr1_job SET state = 'paused', sqlstate = '55000',"
								" last_error = 'the engine serves another model than when the job began;"
								" dsr1_job_resume() goes on with this one' WHERE id = $1", "l", values, NULL);
	return true;
}

static void
write_batch(Worker *worker, Job *job, JobTable *table)
{
	int			done;
	int			failed;

	if (pause_for_other_model(worker, job))
		worker->stop = true;
	else if (!job_rows_write(job, table, worker->write_rows, worker->n_write, worker->digest,
							 worker->rows_per_s, &done, &failed))
		worker->stop = true;
	else
		job_board_count(done, failed);
}

/* If one of several rows is at fault, each is written alone. */
static void
write_some(Worker *worker, JobRow **rows, int n)
{
	ErrorData  *error;

	worker->write_rows = rows;
	worker->n_write = n;
	error = job_worker_attempt(worker, write_batch);
	if (error == NULL)
		return;
	if (!job_process_is_of_row(error))
		job_worker_give_up(worker, error);
	if (n == 1 && rows[0]->category)
		job_worker_give_up(worker, error);
	if (n == 1)
	{
		job_rows_set_error(rows[0], "row_permanent", unpack_sql_state(error->sqlerrcode), error->message);
		write_some(worker, rows, 1);
	}
	for (int i = 0; i < n && n > 1; i++)
		write_some(worker, &rows[i], 1);
}

static void
measure_rate(Worker *worker, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	double		seconds = (now - worker->wrote_at) / 1e6;

	if (worker->wrote_at && seconds > 0)
		worker->rows_per_s = worker->rows_per_s > 0 ?
			0.8 * worker->rows_per_s + 0.2 * n / seconds : n / seconds;
	worker->wrote_at = now;
}

static void
forget_row(Worker *worker, JobRow *row)
{
	dlist_delete(&row->node);
	worker->n_in_hand--;
	worker->n_settled -= row->settled;
	worker->suspect_in_hand &= !row->suspect;
	MemoryContextDelete(row->context);
}

static void
write_settled(Worker *worker)
{
	JobRow	   *rows[JOB_BATCH_MAX];
	int			n = 0;
	dlist_iter	iter;

	job_board_phase(JOB_WRITING, worker->n_in_hand);
	if (!job_answers_ask_model(worker))
		return;					/* they are kept until there is an engine again */
	job_answers_refuse_other_models(worker);
	dlist_foreach(iter, &worker->in_hand)
	{
		JobRow	   *row = dlist_container(JobRow, node, iter.cur);

		if (row->settled)
			rows[n++] = row;
	}
	measure_rate(worker, n);
	write_some(worker, rows, n);
	for (int i = 0; i < n; i++)
		forget_row(worker, rows[i]);
}

static bool
time_to_write(const Worker *worker)
{
	return worker->n_settled > 0 &&
		(worker->n_settled * 4 >= Min(worker->n_in_hand, worker->batch) ||
		 TimestampDifferenceExceeds(worker->settled_since, GetCurrentTimestamp(), WRITE_AFTER));
}

/* ------------------------------------------------------------------
 *	The end of the queue
 * ------------------------------------------------------------------
 */

static void
look_at_rest(Worker *worker, Job *job, JobTable *table)
{
	Datum		values[1] = {Int64GetDatum(job->id)};

	job_rows_rest(job, &worker->rest);
	if (worker->rest.any || job->watch)
		return;
	if (job_execute_as_owner("UPDATE @.dsr1_job SET state = 'done', finished = pg_catalog.now(), last_error = NULL"
							 " WHERE id = $1 AND state = 'running' AND NOT EXISTS"
							 " (SELECT FROM @.dsr1_job_row WHERE job = $1 AND pending) RETURNING"
							 " pg_catalog.pg_notify('dsr1_job', id::text)", "l", values, NULL) > 0)
		worker->stop = true;
}

/*
 * Nothing is in hand, and nothing can be claimed.  Whoever wants this worker to
 * wake finds it on the board; once it has left that, it looks again, for
 * somebody may have come in between.
 */
static void
wait_for_work(Worker *worker)
{
	long		ms;

	job_board_phase(JOB_IDLE, 0);
	worker->last = 0;
	run(worker, look_at_rest, false);
	if (worker->rest.now)
	{
		job_worker_rest(worker, 50);				/* locked by others a moment ago */
		return;
	}
	if (!worker->rest.any)
	{
		TimestampTz began = GetCurrentTimestamp();

		/* the latch is set by others than us, too */
		job_worker_rest(worker, IDLE_TIME);
		if (!TimestampDifferenceExceeds(began, GetCurrentTimestamp(), IDLE_TIME - 100))
			return;
		job_board_leave(-1);
		run(worker, look_at_rest, false);
		if (!worker->rest.any || !job_board_enter(worker->job_id))
			proc_exit(0);
		return;
	}
	ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), worker->rest.next);
	if (ms > IDLE_TIME)
		job_process_leave((int) Min(ms, PG_INT32_MAX));
	job_worker_rest(worker, Max(ms, 10));
}

/* ------------------------------------------------------------------
 *	Main
 * ------------------------------------------------------------------
 */

static void
begin(Worker *worker, Job *job, JobTable *table)
{
	Datum		values[1] = {Int64GetDatum(job->id)};

	(void) job_execute_as_owner("UPDATE @.dsr1_job SET started = COALESCE(started, pg_catalog.now()) WHERE id = $1",
								"l", values, NULL);
}

static void
work(Worker *worker)
{
	/* not for every single answer */
	bool		more = worker->n_in_hand <= worker->batch * 3 / 4 && !worker->suspect_in_hand;

	more = more && job_claim_rows(worker);
	if (worker->n_in_hand == 0)
	{
		if (!more)
			wait_for_work(worker);
		return;
	}
	if (worker->n_settled < worker->n_in_hand)
	{
		job_board_phase(JOB_GENERATING, worker->n_in_hand);
		(void) job_answers_pump(worker, more ? 0 : 50);
		job_answers_collect(worker);
	}
	if (time_to_write(worker))
		write_settled(worker);
}

void
job_worker_annotate(int64 job)
{
	static Worker worker;
	ErrorData  *error;

	worker.job_id = job;
	worker.context = AllocSetContextCreate(TopMemoryContext, "dsr1 job worker", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(worker.context);
	dlist_init(&worker.in_hand);
	worker.batch = 1;
	error = job_worker_attempt(&worker, begin);
	if (error)
		job_worker_give_up(&worker, error);
	for (;;)
		work(&worker);
}
