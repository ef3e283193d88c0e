/*-------------------------------------------------------------------------
 *
 * job_answers.c
 *	  what the engine says to a job's worker
 *
 * No transaction is open here: errors of rows are noted with them, and an engine
 * that is away is waited for.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "engine_error.h"
#include "job_board.h"
#include "job_process.h"
#include "job_worker_parts.h"
#include "utils/memutils.h"

#define DIGEST_PATIENCE		60000	/* ms that a worker waits for the model's digest */
#define ENGINE_TRIES	5		/* starts of the engine that are waited for */

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
void
job_answers_collect(Worker *worker)
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
bool
job_answers_pump(Worker *worker, long ms)
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
	job_worker_serve_signals(worker);
	if (error == NULL)
	{
		worker->engine_failures = 0;
		return true;
	}
	if (++worker->engine_failures >= ENGINE_TRIES)
		job_worker_give_up(worker, error);
	job_board_phase(JOB_WAITING_ENGINE, worker->n_in_hand);
	job_worker_rest(worker, 200);
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
		answered = job_answers_pump(worker, 1000);
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
bool
job_answers_ask_model(Worker *worker)
{
	if (worker->wait_for_digest == 0)
		worker->wait_for_digest = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), DIGEST_PATIENCE);
	while (ask_model(worker))
	{
		if (worker->digest[0] != '\0' || GetCurrentTimestamp() > worker->wait_for_digest)
			return true;
		job_worker_rest(worker, 50);
	}
	return false;
}

/* Answers of a model that has been replaced since: they are asked for again. */
void
job_answers_refuse_other_models(Worker *worker)
{
	dlist_iter	iter;

	dlist_foreach(iter, &worker->in_hand)
	{
		JobRow	   *row = dlist_container(JobRow, node, iter.cur);

		if (row->settled && row->category == NULL && row->model != 0 && row->model != worker->model)
			job_rows_set_error(row, "row_temporary", "55000", "another model was loaded meanwhile");
	}
}
