/*-------------------------------------------------------------------------
 *
 * call.c
 *	  one call of an SQL function: what it asks the engine, and the answers
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter.h"
#include "call.h"
#include "catalog/pg_proc.h"
#include "engine_error.h"
#include "engine_text.h"
#include "settings.h"
#include "statement.h"
#include "utils/lsyscache.h"

#define ADAPTER_TRIES	5		/* its file may go again before the engine has read it */

static Prefetch *prefetching = NULL;
static int64 n_errors = 0;		/* that became NULL, in this transaction */

/* ------------------------------------------------------------------
 *	Asking
 * ------------------------------------------------------------------
 */

bool
call_open(Call *call, FunctionCallInfo fcinfo)
{
	memset(call, 0, sizeof(*call));
	call->function = fcinfo->flinfo->fn_oid;
	return !statement_is_planned() || func_volatile(call->function) == PROVOLATILE_IMMUTABLE;
}

EngineRequest *
call_request(Call *call)
{
	call->request = memo_request();
	return call->request;
}

static void
add_entry(MemoEntry ***entries, int *n, int *capacity, MemoEntry *entry, MemoryContext context)
{
	if (*n == *capacity)
	{
		*capacity = *capacity ? 2 * *capacity : 4;
		*entries = *entries ? repalloc(*entries, *capacity * sizeof(MemoEntry *)) :
			MemoryContextAlloc(context, *capacity * sizeof(MemoEntry *));
	}
	(*entries)[(*n)++] = entry;
}

void
call_ask(Call *call, bool put)
{
	EngineRequest *request = call->request;
	MemoEntry  *entry;
	bool		found;

	call->request = NULL;
	if (!put)
	{
		engine_request_free(request);
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("prompt is too long"),
				 errdetail("A request to the inference engine holds at most %d bytes.", WIRE_FRAME_MAX)));
	}
	entry = memo_ask(request, call->function, &found);
	if (prefetching)
	{
		add_entry(&prefetching->entries, &prefetching->n_entries, &prefetching->capacity, entry,
				  prefetching->context);
		prefetching->n_new += !found;
		prefetching->n_hits += found && !call->common;
		return;
	}
	add_entry(&call->entries, &call->n_entries, &call->capacity, entry, CurrentMemoryContext);
}

/* What needs no answer is not left behind to be computed. */
static void
unpin_all(Call *call)
{
	for (int i = 0; i < call->n_entries; i++)
		memo_unpin(call->entries[i]);
	call->n_entries = 0;
}

bool
call_send(Call *call)
{
	if (prefetching)
		return false;
	PG_TRY();
	{
		engine_send_requests();
	}
	PG_CATCH();
	{
		unpin_all(call);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return true;
}

/* ------------------------------------------------------------------
 *	Answers
 * ------------------------------------------------------------------
 */

/* Is the error one of this request, rather than of the moment? */
static bool
is_forgiven(const EngineRequest *request)
{
	struct wire_frame frame = engine_request_answer(request);
	struct wire_error error;

	if (setting_on_error != ON_ERROR_NULL || wire_get_error(&frame, &error) < 0)
		return false;
	if (error.status == DSR1_ERR_CANCELLED || error.status == DSR1_ERR_BUSY || error.status == DSR1_ERR_NOMEM)
		return false;
	if (n_errors++ == 0)
		ereport(WARNING,
				(errmsg("a request to the inference engine failed, and gives NULL: %s",
						pnstrdup(error.message.data, error.message.size)),
				 errdetail("Others like it in this transaction are not mentioned.")));
	return true;
}

/*
 * Asked ahead, it found the queue full, or its adapter had gone meanwhile: ask
 * once more, for now it is wanted.
 */
static MemoEntry *
ask_again(Call *call, MemoEntry *entry)
{
	EngineRequest *request = memo_request();
	bool		found;

	buffer_append(&request->frame, entry->request->frame.data, entry->request->frame.size);
	for (int byte = 0; byte < 8; byte++)
		request->frame.data[8 + byte] = (char) (request->id >> 8 * byte);
	memo_forget(entry);
	memo_unpin(entry);
	entry = memo_ask(request, call->function, &found);
	engine_send_requests();
	return entry;
}

static bool
is_busy(const EngineRequest *request)
{
	struct wire_frame frame = engine_request_answer(request);
	struct wire_error error;

	return frame.type == WIRE_ERROR && wire_get_error(&frame, &error) == DSR1_OK && error.status == DSR1_ERR_BUSY;
}

void
call_pin_model(uint64 model)
{
	if (!memo_pin_model(model))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("another model was loaded while the statement ran"),
				 errhint("Run it again, and all answers will be of the new one.")));
}

static const EngineRequest *
wait_for(Call *call, int i)
{
	const EngineRequest *request;

	request = memo_wait(call->entries[i]);
	for (int n = 0; is_busy(request) ? n < 1 : n < ADAPTER_TRIES && adapter_came_back(request); n++)
	{
		call->entries[i] = ask_again(call, call->entries[i]);
		request = memo_wait(call->entries[i]);
	}
	call_pin_model(call->entries[i]->model);
	return request;
}

/* Errors of the moment are not kept. */
static void
raise_error(Call *call, int i)
{
	char	   *message;
	struct wire_frame frame = engine_request_answer(call->entries[i]->request);
	struct wire_error error;

	if (wire_get_error(&frame, &error) < 0)
		engine_answer_broken();
	message = pnstrdup(error.message.data, error.message.size);
	memo_forget(call->entries[i]);
	engine_error_answer(error.status, message);
}

bool
call_answer(Call *call, int i, struct wire_frame *frame)
{
	volatile bool answered = true;

	PG_TRY();
	{
		const EngineRequest *request = wait_for(call, i);

		*frame = engine_request_answer(request);
		if (frame->type == WIRE_ERROR)
		{
			if (!is_forgiven(request))
				raise_error(call, i);
			answered = false;
		}
	}
	PG_CATCH();
	{
		unpin_all(call);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!answered)
		unpin_all(call);
	return answered;
}

static void
check(Call *call, bool whole)
{
	if (whole)
		return;
	unpin_all(call);
	engine_answer_broken();
}

bool
call_done(Call *call, int i, struct wire_done *done)
{
	struct wire_frame frame;

	if (!call_answer(call, i, &frame))
		return false;
	check(call, frame.type == WIRE_DONE && wire_get_done(&frame, done) == DSR1_OK);
	if (done->finish != DSR1_FINISH_CANCELLED && done->finish != DSR1_FINISH_TIMEOUT)
		return true;
	memo_forget(call->entries[i]);
	unpin_all(call);
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 errmsg("request to the inference engine was canceled")));
}

bool
call_scores(Call *call, int i, struct wire_score_result *result)
{
	struct wire_frame frame;

	if (!call_answer(call, i, &frame))
		return false;
	check(call, frame.type == WIRE_SCORE_RESULT && wire_get_score_result(&frame, result) == DSR1_OK);
	return true;
}

void
call_close(Call *call)
{
	unpin_all(call);
}

text *
call_text(Call *call)
{
	struct wire_done done;
	text	   *answer = NULL;

	if (call_send(call) && call_done(call, 0, &done))
	{
		answer = engine_text_back(done.piece.text);
		call_close(call);
	}
	return answer;
}

/* ------------------------------------------------------------------
 *	Asking ahead
 * ------------------------------------------------------------------
 */

void
call_prefetch_begin(Prefetch *prefetch)
{
	Assert(prefetching == NULL);
	prefetching = prefetch;
}

void
call_prefetch_end(void)
{
	prefetching = NULL;
}

void
call_reset(void)
{
	prefetching = NULL;
	n_errors = 0;
}
