/*-------------------------------------------------------------------------
 *
 * job_claim.c
 *	  a job's worker takes rows in hand
 *
 * All that are wanted at once, in one transaction; where that fails, one by one,
 * so that the row at fault is found, noted and left.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "job_access.h"
#include "job_board.h"
#include "job_process.h"
#include "job_worker_parts.h"
#include "utils/memutils.h"

static struct wire_complete question;

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
bool
job_claim_rows(Worker *worker)
{
	ErrorData  *error;

	job_board_phase(JOB_CLAIMING, worker->n_in_hand);
	worker->looked_at = 0;
	error = job_worker_attempt(worker, claim);
	if (error == NULL)
	{
		worker->singly = Max(worker->singly - 1, 0);
		return worker->looked_at > 0;
	}
	if (!job_process_is_of_row(error) || error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE || worker->looked_at == 0)
		job_worker_give_up(worker, error);
	if (worker->singly == 0)
	{
		/* which one is it? */
		worker->singly = worker->batch;
		worker->last = 0;
		return true;
	}
	culprit.message = error->message;
	culprit.sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode));
	error = job_worker_attempt(worker, note_culprit);
	if (error)
		job_worker_give_up(worker, error);
	return true;
}
