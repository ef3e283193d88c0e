/*-------------------------------------------------------------------------
 *
 * stream.c
 *	  dsr1_stream(): an answer piece by piece, as it is computed
 *
 * In a SELECT list a row is handed on as soon as it is there.  An engine that
 * is started again computes the same answer anew, so the rows that were
 * handed on already are passed over.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "adapter.h"
#include "complete.h"
#include "engine_text.h"
#include "funcapi.h"
#include "options.h"
#include "utils/builtins.h"

typedef struct Stream
{
	EngineRequest *request;
	int			n_sent;			/* of the request, when `seen` began */
	int			n_seen;			/* events since then */
	int			n_rows;			/* handed on */
	size_t		at;				/* inside the request's events */
	bool		over;
} Stream;

static Stream *
open_stream(FunctionCallInfo fcinfo)
{
	struct wire_complete *complete = complete_read_arguments(fcinfo);
	Stream	   *stream = palloc0(sizeof(*stream));
	bool		put;

	if (!PG_ARGISNULL(9))
		options_read_cursor(complete, PG_GETARG_JSONB_P(9), true);
	complete->stream = true;
	complete->want_logprobs = true;
	adapter_resolve(&complete->terms);
	stream->request = engine_request_new();
	put = wire_put_complete(&stream->request->frame, stream->request->id, complete);
	pfree(complete);
	if (!put)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("prompt is too long")));
	engine_request_send(stream->request);
	return stream;
}

/* One row's worth, or nothing: the piece may bring a part of a character only. */
static bool
make_row(Stream *stream, TupleDesc descriptor, const struct wire_piece *piece, Datum *row)
{
	struct wire_token token;
	size_t		at = 0;
	double		logprob = 0;
	Datum		values[3];
	bool		nulls[3] = {false};

	if (piece->text.size == 0 && piece->n_tokens == 0)
		return false;
	if (++stream->n_seen <= stream->n_rows)
		return false;
	while (wire_next_token(piece, &at, &token))
		logprob += token.logprob;
	stream->n_rows++;
	values[0] = Int32GetDatum(stream->n_rows);
	values[1] = PointerGetDatum(engine_text_back(piece->text));
	values[2] = Float8GetDatum(logprob);
	nulls[2] = piece->n_tokens == 0 || isnan(logprob);
	*row = HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
	return true;
}

/* The next event that was received already. */
static bool
take_event(Stream *stream, struct wire_piece *piece)
{
	struct buffer *events = &stream->request->events;
	struct wire_cursor cursor;
	struct wire_text payload;
	struct wire_frame frame = {.type = WIRE_TEXT};

	if (stream->n_sent != stream->request->n_sent)
	{
		stream->n_sent = stream->request->n_sent;
		stream->n_seen = 0;
	}
	buffer_drop(events, stream->at);
	stream->at = 0;
	if (events->size == 0)
		return false;
	cursor = wire_cursor(events->data, events->size);
	payload = wire_get_text(&cursor);
	frame.payload = payload.data;
	frame.size = payload.size;
	if (cursor.failed || wire_get_text_event(&frame, piece) < 0)
		engine_answer_broken();
	stream->at = events->size - cursor.left;
	return true;
}

static bool
next_row(Stream *stream, TupleDesc descriptor, Datum *row)
{
	struct wire_piece piece;
	struct wire_done done;
	struct wire_frame frame;

	while (!stream->over)
	{
		if (take_event(stream, &piece))
		{
			if (make_row(stream, descriptor, &piece, row))
				return true;
			continue;
		}
		engine_request_listen(stream->request);
		if (stream->request->state != REQUEST_ANSWERED || stream->request->events.size > 0)
			continue;
		frame = engine_request_answer(stream->request);
		if (frame.type != WIRE_DONE || wire_get_done(&frame, &done) < 0)
			engine_answer_broken();
		call_pin_model(done.model);
		stream->over = true;
		if (make_row(stream, descriptor, &done.piece, row))
			return true;
	}
	return false;
}

PG_FUNCTION_INFO_V1(sql_stream);

Datum
sql_stream(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	Datum		row;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;
		TupleDesc	descriptor;

		context = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		context->tuple_desc = BlessTupleDesc(descriptor);
		context->user_fctx = PG_ARGISNULL(0) ? NULL : open_stream(fcinfo);
		MemoryContextSwitchTo(caller);
	}
	context = SRF_PERCALL_SETUP();
	if (context->user_fctx && next_row(context->user_fctx, context->tuple_desc, &row))
		SRF_RETURN_NEXT(context, row);
	SRF_RETURN_DONE(context);
}
