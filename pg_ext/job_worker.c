/*-------------------------------------------------------------------------
 *
 * job_worker.c
 *	  the work on a job that fills a column
 *
 * Rows are claimed in one short transaction,
 * and written in another; while the model thinks, there is no transaction and
 * no snapshot, so that vacuum is not held up and no lock is held.  The worker
 * keeps the engine busy: as rows are answered, others are claimed.
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
#include "engine_error.h"
#include "job_access.h"
#include "job_board.h"
#include "job_process.h"
#include "job_rows.h"
#include "job_worker.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define WRITE_AFTER		250		/* ms that an answer waits for others */
#define IDLE_TIME		10000	/* ms that a watching worker stays without work */
#define DIGEST_PATIENCE		60000	/* ms that a worker waits for the model's digest */
#define ENGINE_TRIES	5		/* starts of the engine that are waited for */

typedef struct Worker
{
	int64		job_id;
	MemoryContext context;
	dlist_head	in_hand;		/* of JobRow */
	int			n_in_hand;
	int			n_settled;
	TimestampTz settled_since;
	int64		last;			/* the place in the queue */
	int			batch;
	int			singly;			/* so many rows are claimed one by one */
	bool		suspect_in_hand;
	bool		watch;
	int			engine_failures;
	double		rows_per_s;
	TimestampTz wrote_at;
	/* of the last transaction: */
	bool		stop;			/* the job is not to run any more */
	int			looked_at;		/* rows that were claimed, wanted or not */
	JobRest		rest;
	JobRow	  **write_rows;
	int			n_write;
	char		digest[80];
	uint64		model;			/* whose digest that is */
	TimestampTz wait_for_digest;	/* no longer than until then; 0: not begun */
} Worker;

typedef void (*Work) (Worker *worker, Job *job, JobTable *table);

static struct wire_complete question;

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
static ErrorData *
attempt(Worker *worker, Work work)
{
	Attempt		what = {worker, work};

	return job_process_attempt(worker->context, run_attempt, &what);
}

static void
pg_attribute_noreturn()
give_up(Worker *worker, const ErrorData *error)
{
	job_process_give_up(worker->job_id, error, job_process_is_permanent(error));
}

static void
serve_signals(Worker *worker)
{
	job_process_serve_signals();
	if (job_board_is_changed())
		run(worker, nothing, false);
}

static void
rest(Worker *worker, long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 compat_wait_event("Dsr1JobWait"));
	ResetLatch(MyLatch);
	serve_signals(worker);
}

/* ------------------------------------------------------------------
 *	Claiming
 * ------------------------------------------------------------------
 */

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
take_row(Worker *worker, JobRow *row)
{
	dlist_push_tail(&worker->in_hand, &row->node);
	worker->n_in_hand++;
	worker->suspect_in_hand |= row->suspect;
	if (row->no_question)
	{
		row->settled = true;
		worker->n_settled++;
		worker->settled_since = GetCurrentTimestamp();
	}
}

static void
ask(JobRow *row, const Job *job)
{
	MemoryContext old = MemoryContextSwitchTo(row->context);

	row->request = engine_request_new();
	row->request->job = job->id;
	MemoryContextSwitchTo(old);
	job_put_question(row->request, &question, job, row->prompt);
}

static void
claim(Worker *worker, Job *job, JobTable *table)
{
	MemoryContext claimed = AllocSetContextCreate(CurrentMemoryContext, "dsr1 claim", ALLOCSET_SMALL_SIZES);
	JobRow	   *rows[JOB_BATCH_MAX];
	int64		held[JOB_BATCH_MAX];
	int			most = worker->singly > 0 ? 1 : worker->batch - worker->n_in_hand;
	int			n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &worker->in_hand)
		held[n++] = dlist_container(JobRow, node, iter.cur)->id;
	n = job_rows_claim(job, table, claimed, &worker->last, held, n, most, rows, &worker->looked_at);
	if (n > 0)
		job_prepare_question(job, table, &question);
	for (int i = 0; i < n; i++)
		if (!rows[i]->no_question)
			ask(rows[i], job);

	/* no error can come any more but the commit's, which is none of a row */
	for (int i = 0; i < n; i++)
	{
		MemoryContextSetParent(rows[i]->context, worker->context);
		take_row(worker, rows[i]);
	}
}

/* Of the error of a row that was claimed alone. */
typedef struct Culprit
{
	const char *sqlstate;
	const char *message;
} Culprit;

static Culprit culprit;

static void
note_culprit(Worker *worker, Job *job, JobTable *table)
{
	Datum		values[2] = {Int64GetDatum(job->id), Int64GetDatum(worker->last)};
	JobRow		row = {.context = CurrentMemoryContext, .id = worker->last};
	JobRow	   *rows[1] = {&row};
	bool		isnull;
	int			done;
	int			failed;

	if (job_execute_as_owner("SELECT version, attempts FROM @.dsr1_job_row WHERE job = $1 AND id = $2",
							 "ll", values, NULL) == 0)
		return;
	row.version = DatumGetInt32(job_datum(0, 1, &isnull));
	row.attempts = DatumGetInt32(job_datum(0, 2, &isnull));
	job_rows_set_error(&row, "row_permanent", culprit.sqlstate, culprit.message);
	worker->stop = !job_rows_write(job, table, rows, 1, worker->digest, 0, &done, &failed);
	job_board_count(0, failed);
}

/* Claims as many rows as there is room for; false if there was none to be had. */
static bool
claim_rows(Worker *worker)
{
	ErrorData  *error;

	job_board_phase(JOB_CLAIMING, worker->n_in_hand);
	worker->looked_at = 0;
	error = attempt(worker, claim);
	if (error == NULL)
	{
		worker->singly = Max(worker->singly - 1, 0);
		return worker->looked_at > 0;
	}
	if (!job_process_is_of_row(error) || error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE || worker->looked_at == 0)
		give_up(worker, error);
	if (worker->singly == 0)
	{
		/* which one is it? */
		worker->singly = worker->batch;
		worker->last = 0;
		return true;
	}
	culprit.message = error->message;
	culprit.sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode));
	error = attempt(worker, note_culprit);
	if (error)
		give_up(worker, error);
	return true;
}

/* ------------------------------------------------------------------
 *	Answers
 * ------------------------------------------------------------------
 */

static void
take_engine_error(JobRow *row, const struct wire_frame *frame)
{
	struct wire_error error;
	bool		permanent;

	if (wire_get_error(frame, &error) < 0)
	{
		job_rows_set_error(row, "row_temporary", "08P01", "inference engine sent a broken message");
		return;
	}
	permanent = error.status == DSR1_ERR_LIMIT || error.status == DSR1_ERR_ARGUMENT ||
		error.status == DSR1_ERR_UNSUPPORTED || error.status == DSR1_ERR_FORMAT;
	job_rows_set_error(row, permanent ? "row_permanent" : "row_temporary",
					   unpack_sql_state(engine_error_sqlstate(error.status)),
					   engine_error_clean(error.message));
}

static void
take_done(JobRow *row, const struct wire_frame *frame)
{
	struct wire_done done;
	char	   *copy;

	if (frame->type != WIRE_DONE || wire_get_done(frame, &done) < 0)
		job_rows_set_error(row, "row_temporary", "08P01", "inference engine sent a broken message");
	else if (done.finish != DSR1_FINISH_END && done.finish != DSR1_FINISH_STOP && done.finish != DSR1_FINISH_LENGTH)
		job_rows_set_error(row, "row_temporary", "57014", "request to the inference engine was canceled");
	else
	{
		copy = MemoryContextAlloc(row->context, done.piece.text.size + 1);
		memcpy(copy, done.piece.text.data, done.piece.text.size);
		row->answer = (struct wire_text) {.data = copy, .size = done.piece.text.size};
		row->usage = done.usage;
		row->model = done.model;
		row->settled = true;
	}
}

/* Looks what has come for the rows in hand. */
static void
collect(Worker *worker)
{
	dlist_iter	iter;

	dlist_foreach(iter, &worker->in_hand)
	{
		JobRow	   *row = dlist_container(JobRow, node, iter.cur);

		if (row->request == NULL)
			continue;
		if (row->request->state == REQUEST_LOST)
			job_rows_set_error(row, row->suspect ? "row_permanent" : "row_temporary", "58030",
							   "inference engine ended while it ran this request");
		else if (row->request->state == REQUEST_ANSWERED)
		{
			struct wire_frame frame = engine_request_answer(row->request);

			if (frame.type == WIRE_ERROR)
				take_engine_error(row, &frame);
			else
				take_done(row, &frame);
		}
		else
			continue;
		engine_request_free(row->request);
		row->request = NULL;
		if (worker->n_settled++ == 0)
			worker->settled_since = GetCurrentTimestamp();
	}
}

/*
 * Sends, receives, and waits a little.  False if there is no engine now; there
 * will be another one.
 */
static bool
pump(Worker *worker, long ms)
{
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		engine_requests_pump(ms);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(worker->context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(worker->context);
	serve_signals(worker);
	if (error == NULL)
	{
		worker->engine_failures = 0;
		return true;
	}
	if (++worker->engine_failures >= ENGINE_TRIES)
		give_up(worker, error);
	job_board_phase(JOB_WAITING_ENGINE, worker->n_in_hand);
	rest(worker, 200);
	return false;
}

/* ------------------------------------------------------------------
 *	The model
 * ------------------------------------------------------------------
 */

/* Its digest, "" while the engine does not know it; false if there is no engine. */
static bool
ask_model(Worker *worker)
{
	EngineRequest *request = engine_request_new();
	struct wire_frame frame;
	struct wire_model model;
	bool		answered = wire_put_bare(&request->frame, WIRE_MODEL, request->id);

	while (answered && request->state != REQUEST_ANSWERED && request->state != REQUEST_LOST)
		answered = pump(worker, 1000);
	answered = answered && request->state == REQUEST_ANSWERED;
	if (answered)
	{
		frame = engine_request_answer(request);
		answered = frame.type == WIRE_MODEL_RESULT && wire_get_model_result(&frame, &model) >= 0;
	}
	if (answered)
	{
		snprintf(worker->digest, sizeof(worker->digest), "%.*s", (int) Min(model.digest.size, 79), model.digest.data);
		worker->model = model.id;
	}
	engine_request_free(request);
	return answered;
}

/*
 * A file that is new to the engine is read for its digest while it is served
 * already.  What is written without is not audited, so that is waited for, but
 * not for ever: a file that was replaced meanwhile has none.
 */
static bool
ask_digested_model(Worker *worker)
{
	if (worker->wait_for_digest == 0)
		worker->wait_for_digest = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), DIGEST_PATIENCE);
	while (ask_model(worker))
	{
		if (worker->digest[0] != '\0' || GetCurrentTimestamp() > worker->wait_for_digest)
			return true;
		rest(worker, 50);
	}
	return false;
}

/* Answers of a model that has been replaced since: they are asked for again. */
static void
refuse_other_models(Worker *worker)
{
	dlist_iter	iter;

	dlist_foreach(iter, &worker->in_hand)
	{
		JobRow	   *row = dlist_container(JobRow, node, iter.cur);

		if (row->settled && row->category == NULL && row->model != 0 && row->model != worker->model)
			job_rows_set_error(row, "row_temporary", "55000", "another model was loaded meanwhile");
	}
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
	error = attempt(worker, write_batch);
	if (error == NULL)
		return;
	if (!job_process_is_of_row(error))
		give_up(worker, error);
	if (n == 1 && rows[0]->category)
		give_up(worker, error);
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
write_settled(Worker *worker)
{
	JobRow	   *rows[JOB_BATCH_MAX];
	int			n = 0;
	dlist_iter	iter;

	job_board_phase(JOB_WRITING, worker->n_in_hand);
	if (!ask_digested_model(worker))
		return;					/* they are kept until there is an engine again */
	refuse_other_models(worker);
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
		rest(worker, 50);				/* locked by others a moment ago */
		return;
	}
	if (!worker->rest.any)
	{
		TimestampTz began = GetCurrentTimestamp();

		/* the latch is set by others than us, too */
		rest(worker, IDLE_TIME);
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
	rest(worker, Max(ms, 10));
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

	more = more && claim_rows(worker);
	if (worker->n_in_hand == 0)
	{
		if (!more)
			wait_for_work(worker);
		return;
	}
	if (worker->n_settled < worker->n_in_hand)
	{
		job_board_phase(JOB_GENERATING, worker->n_in_hand);
		(void) pump(worker, more ? 0 : 50);
		collect(worker);
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
	error = attempt(&worker, begin);
	if (error)
		give_up(&worker, error);
	for (;;)
		work(&worker);
}
