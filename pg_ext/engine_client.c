/*-------------------------------------------------------------------------
 *
 * engine_client.c
 *	  a backend's requests to the inference engine
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "admission.h"
#include "engine_client.h"
#include "engine_connection.h"
#include "engine_error.h"
#include "miscadmin.h"
#include "settings.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define TRY_MS	2000			/* an engine that has not answered a question then hangs */
#define LIVES	2				/* in flight at so many deaths, a request has failed */

static dlist_head requests = DLIST_STATIC_INIT(requests);
static uint64 last_id = 0;

/* ------------------------------------------------------------------
 *	A request's life
 * ------------------------------------------------------------------
 */

/*
 * Closes the connection.  What was in flight has not failed: it is sent again
 * by whoever waits for it.
 */
static void
hang_up(void)
{
	dlist_iter	iter;

	connection_close();
	dlist_foreach(iter, &requests)
	{
		EngineRequest *request = dlist_container(EngineRequest, node, iter.cur);

		if (request->state == REQUEST_SENT)
		{
			request->state = REQUEST_NEW;
			admission_sent(request, false);
		}
	}
}

/* Nobody wants the answer any more.  Raises no error. */
static void
cancel(EngineRequest *request)
{
	struct buffer frame = {0};

	if (!connection_is_open())
		return;
	if (!wire_put_bare(&frame, WIRE_CANCEL, request->id) ||
		!connection_put(frame.data, frame.size) ||
		!connection_flush())
		hang_up();				/* cancels, too */
	buffer_free(&frame);
}

static void
unlist(EngineRequest *request)
{
	if (request->listed)
		dlist_delete(&request->node);
	request->listed = false;
}

static void
forget(void *arg)
{
	EngineRequest *request = arg;

	unlist(request);
	if (request->state == REQUEST_SENT)
		cancel(request);
	admission_leave(request);
	buffer_free(&request->frame);
	buffer_free(&request->events);
	buffer_free(&request->answer);
}

EngineRequest *
engine_request_new(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "dsr1 request",
												  ALLOCSET_SMALL_SIZES);
	EngineRequest *request = MemoryContextAllocZero(context, sizeof(EngineRequest));

	request->id = ++last_id;
	request->state = REQUEST_NEW;
	request->lives = LIVES;
	request->place = -1;
	request->listed = true;
	dlist_push_tail(&requests, &request->node);
	request->callback.func = forget;
	request->callback.arg = request;
	MemoryContextRegisterResetCallback(context, &request->callback);
	return request;
}

/* As core/wire/wire_frame.h has it: little-endian, behind the size. */
int
engine_request_kind(const EngineRequest *request)
{
	const unsigned char *header = (const unsigned char *) request->frame.data;

	return request->frame.size < WIRE_FRAME_HEADER ? 0 : header[4] | header[5] << 8;
}

void
engine_request_free(EngineRequest *request)
{
	MemoryContextDelete(GetMemoryChunkContext(request));
}

struct wire_frame
engine_request_answer(const EngineRequest *request)
{
	return (struct wire_frame)
	{
		.type = request->answer_type,
		.request = request->id,
		.payload = request->answer.data ? request->answer.data : "",
		.size = request->answer.size
	};
}

/* ------------------------------------------------------------------
 *	Sending
 * ------------------------------------------------------------------
 */

static void
raise_no_memory(void)
{
	hang_up();
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("Failed on a request to the inference engine.")));
}

int
engine_requests_in_flight(void)
{
	dlist_iter	iter;
	int			n = 0;

	dlist_foreach(iter, &requests)
	{
		if (dlist_container(EngineRequest, node, iter.cur)->state == REQUEST_SENT)
			n++;
	}
	return n;
}

/*
 * Everything that has not been sent on this connection, oldest first, as far as
 * the role's limits allow.
 */
static void
send_new(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &requests)
	{
		EngineRequest *request = dlist_container(EngineRequest, node, iter.cur);

		/* one that is still being put together has no frame */
		if (request->state != REQUEST_NEW || request->frame.size == 0)
			continue;
		if (!admission_enter(request, engine_requests_in_flight() > 0))
			continue;
		if (!connection_put(request->frame.data, request->frame.size))
			raise_no_memory();
		request->state = REQUEST_SENT;
		request->n_sent++;
		request->phase = DSR1_PHASE_QUEUED;
		buffer_drop(&request->events, request->events.size);
		admission_sent(request, true);
	}
	(void) connection_flush();
}

/* An engine that has ended while we were idle is nobody's death. */
static void
drop_stale_connection(void)
{
	if (connection_is_open() && engine_requests_in_flight() == 0 && connection_is_stale())
		connection_close();
}

void
engine_send_requests(void)
{
	drop_stale_connection();
	if (!connection_is_open())
		connection_open(GetCurrentTimestamp());
	send_new();
}

void
engine_request_send(EngineRequest *request)
{
	Assert(request->frame.size > 0);
	engine_send_requests();
}

/* ------------------------------------------------------------------
 *	Receiving
 * ------------------------------------------------------------------
 */

/* What the engine says about the connection itself. */
static void
take_connection_error(const struct wire_frame *frame)
{
	struct wire_error error;
	char	   *message;

	if (wire_get_error(frame, &error) < 0)
		engine_answer_broken();
	message = pnstrdup(error.message.data, error.message.size);
	hang_up();
	engine_error_answer(error.status, message);
}

static void
take_frame(const struct wire_frame *frame)
{
	dlist_iter	iter;

	if (frame->type == WIRE_HELLO)
		return;
	if (frame->type == WIRE_ERROR && frame->request == 0)
		take_connection_error(frame);
	dlist_foreach(iter, &requests)
	{
		EngineRequest *request = dlist_container(EngineRequest, node, iter.cur);

		if (request->id != frame->request || request->state != REQUEST_SENT)
			continue;
		if (frame->type == WIRE_TEXT)
		{
			wire_put_text(&request->events, (struct wire_text){frame->payload, frame->size});
			if (request->events.failed)
				raise_no_memory();
			return;
		}
		if (frame->type == WIRE_PHASE)
		{
			struct wire_phase phase;

			if (wire_get_phase(frame, &phase) < 0)
				engine_answer_broken();
			request->phase = phase.phase;
			return;
		}
		buffer_append(&request->answer, frame->payload, frame->size);
		if (request->answer.failed)
			raise_no_memory();
		request->answer_type = frame->type;
		request->state = REQUEST_ANSWERED;
		admission_answered(request);
		admission_leave(request);
		unlist(request);
		return;
	}
	/* else the answer to one that was cancelled meanwhile */
}

/* The connection is lost: what was in flight will be asked again. */
static void
take_end(ConnectionEnd end)
{
	dlist_iter	iter;

	dlist_foreach(iter, &requests)
	{
		EngineRequest *request = dlist_container(EngineRequest, node, iter.cur);

		if (end == CONNECTION_DIED && request->state == REQUEST_SENT &&
			--request->lives <= 0)
			request->state = REQUEST_LOST;
	}
	hang_up();
}

/* Somebody has called dsr1_cancel(): that is the answer, then. */
static void
take_cancelled(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &requests)
	{
		EngineRequest *request = dlist_container(EngineRequest, node, iter.cur);
		struct wire_error error = {
			.status = DSR1_ERR_CANCELLED,
			.message = wire_text("canceling request to the inference engine due to dsr1_cancel()")
		};
		struct buffer frame = {0};

		if (request->state > REQUEST_SENT || !admission_is_cancelled(request))
			continue;
		if (request->state == REQUEST_SENT)
			cancel(request);
		if (!wire_put_error(&frame, request->id, &error))
			raise_no_memory();
		buffer_append(&request->answer, frame.data + WIRE_FRAME_HEADER, frame.size - WIRE_FRAME_HEADER);
		buffer_free(&frame);
		request->answer_type = WIRE_ERROR;
		request->state = REQUEST_ANSWERED;
		admission_answered(request);
		admission_leave(request);
		unlist(request);
	}
}

/* What the server is told that we wait for: what becomes of the oldest request. */
static WaitEventName
wait_name(void)
{
	EngineRequest *request = dlist_is_empty(&requests) ? NULL :
		dlist_head_element(EngineRequest, node, &requests);
	int			kind = request ? engine_request_kind(request) : 0;

	if (kind != WIRE_COMPLETE && kind != WIRE_SCORE && kind != WIRE_EMBED)
		return WAIT_ENGINE_ANSWER;
	switch (request->phase)
	{
		case DSR1_PHASE_PREFILL:
			return WAIT_PREFILL;
		case DSR1_PHASE_DECODE:
			return WAIT_DECODE;
		case DSR1_PHASE_QUEUED:
			break;
	}
	return WAIT_QUEUE;
}

static void
pump(long timeout_ms)
{
	ConnectionEnd end = connection_wait(timeout_ms, wait_name());
	struct wire_frame frame;

	while (connection_next_frame(&frame, &end))
		take_frame(&frame);
	if (end != CONNECTION_LIVES)
		take_end(end);
	take_cancelled();
}

/* ------------------------------------------------------------------
 *	Waiting
 * ------------------------------------------------------------------
 */

static void
raise_lost(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_IO_ERROR),
			 errmsg("inference engine ended while it ran this request"),
			 errhint("The server log tells why.")));
}

static void
raise_too_long(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 errmsg("canceling request to the inference engine due to dsr1.request_timeout")));
}

/* Milliseconds left of dsr1.request_timeout; -1 for ever. */
static long
time_left(TimestampTz began)
{
	long		left;

	if (setting_request_timeout <= 0)
		return -1;
	left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
										   TimestampTzPlusMilliseconds(began, setting_request_timeout));
	if (left <= 0)
		raise_too_long();
	return left;
}

/* Until it is answered, or has events if they are wanted. */
static void
wait_for(EngineRequest *request, bool events)
{
	TimestampTz began = GetCurrentTimestamp();
	TimestampTz lost = 0;		/* since when there is no engine; 0: there is */

	while (request->state != REQUEST_ANSWERED && !(events && request->events.size > 0))
	{
		if (connection_is_greeted())
			lost = 0;
		else if (lost == 0)
			lost = GetCurrentTimestamp();
		if (request->state == REQUEST_LOST)
			raise_lost();
		if (request->state == REQUEST_NEW)
		{
			if (!connection_is_open())
				connection_open(lost);
			send_new();
		}
		pump(time_left(began));
	}
}

void
engine_request_finish(EngineRequest *request)
{
	wait_for(request, false);
}

void
engine_request_listen(EngineRequest *request)
{
	wait_for(request, true);
	if (request->state == REQUEST_ANSWERED && request->answer_type == WIRE_ERROR)
		engine_request_raise(request);
}

void
engine_request_raise(const EngineRequest *request)
{
	struct wire_frame frame = engine_request_answer(request);
	struct wire_error error;

	if (wire_get_error(&frame, &error) < 0)
		engine_answer_broken();
	engine_error_answer(error.status, pnstrdup(error.message.data, error.message.size));
}

void
engine_request_wait(EngineRequest *request)
{
	PG_TRY();
	{
		engine_request_finish(request);
		if (request->answer_type == WIRE_ERROR)
			engine_request_raise(request);
	}
	PG_CATCH();
	{
		/* The memory context may live on for long, the work shall not. */
		engine_request_free(request);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static bool
any_new(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &requests)
	{
		EngineRequest *request = dlist_container(EngineRequest, node, iter.cur);

		if (request->state == REQUEST_NEW && request->frame.size > 0)
			return true;
	}
	return false;
}

void
engine_requests_pump(long timeout_ms)
{
	if (any_new())
	{
		drop_stale_connection();
		if (!connection_is_open())
			connection_open(GetCurrentTimestamp());
		send_new();
	}
	if (connection_is_open())
		pump(timeout_ms);
}

bool
engine_request_try(EngineRequest *request)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TRY_MS);

	request->lives = 1;
	drop_stale_connection();
	if (!connection_is_open() && !connection_try_open())
		return false;
	send_new();
	while (request->state == REQUEST_SENT)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		if (left <= 0)
			return false;
		pump(left);
	}
	return request->state == REQUEST_ANSWERED && request->answer_type != WIRE_ERROR;
}

void
engine_answer_broken(void)
{
	hang_up();
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("inference engine sent a broken message")));
}
