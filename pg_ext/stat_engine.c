/*-------------------------------------------------------------------------
 *
 * stat_engine.c
 *	  dsr1_stat_engine: the state of the inference engine
 *
 * The state comes from the supervisor, the figures from the engine itself.
 * Looking starts nothing, and an engine that ends meanwhile leaves NULLs.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "engine_error.h"
#include "fmgr.h"
#include "funcapi.h"
#include "stat_rows.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

enum
{
	PID, STATE, UPTIME, RESTARTS, BATCH_NOW, QUEUE, KV_USED, KV_SIZE,
	PREFIX_HIT_RATIO, TOK_S_PREFILL, TOK_S_DECODE, RSS, LAST_ERROR, N_COLUMNS
};

typedef struct Row
{
	Datum		values[N_COLUMNS];
	bool		nulls[N_COLUMNS];
} Row;

static void
set(Row *row, int column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

/* NULL where there is nothing to divide by. */
static void
set_ratio(Row *row, int column, double dividend, double divisor)
{
	if (divisor > 0)
		set(row, column, Float8GetDatum(dividend / divisor));
}

static void
add_state(Row *row, const State *state)
{
	set(row, STATE, CStringGetTextDatum(state_phase_name(state->phase)));
	set(row, RESTARTS, Int64GetDatum(state->restarts));
	if (state->engine_pid != 0)
		set(row, PID, Int32GetDatum(state->engine_pid));
	if (state->phase == ENGINE_READY)
		set(row, UPTIME, DirectFunctionCall2(timestamp_mi,
											 TimestampTzGetDatum(GetCurrentTimestamp()),
											 TimestampTzGetDatum(state->ready_at)));
	if (state->last_error[0] && engine_error_shows_files())
		set(row, LAST_ERROR, CStringGetTextDatum(state->last_error));
}

static void
add_figures(Row *row, const struct wire_stats *stats)
{
	const dsr1_engine_stats *engine = &stats->engine;

	set(row, BATCH_NOW, Int32GetDatum(engine->n_running));
	set(row, QUEUE, Int32GetDatum(engine->n_queued));
	set(row, KV_USED, Int64GetDatum((int64) engine->kv_used));
	set(row, KV_SIZE, Int64GetDatum((int64) engine->kv_size));
	set(row, RSS, Int64GetDatum((int64) stats->rss));
	set_ratio(row, PREFIX_HIT_RATIO, engine->cached_tokens, engine->prompt_tokens);
	set_ratio(row, TOK_S_PREFILL, engine->prompt_tokens - engine->cached_tokens,
			  engine->prefill_s);
	set_ratio(row, TOK_S_DECODE, engine->completion_tokens, engine->decode_s);
}

static void
add_answer(Row *row, const EngineRequest *request)
{
	struct wire_frame frame = engine_request_answer(request);
	struct wire_stats stats;

	if (wire_get_stats_result(&frame, &stats) < 0)
		engine_answer_broken();
	add_figures(row, &stats);
}

PG_FUNCTION_INFO_V1(sql_stat_engine);

Datum
sql_stat_engine(PG_FUNCTION_ARGS)
{
	TupleDesc	descriptor;
	State		state;
	EngineRequest *request;
	Row			row;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE ||
		descriptor->natts != N_COLUMNS)
		elog(ERROR, "return type must be a row type of %d columns", N_COLUMNS);
	memset(row.nulls, true, sizeof(row.nulls));
	request = stat_ask(WIRE_STATS, WIRE_STATS_RESULT, &state);
	add_state(&row, &state);
	if (request)
	{
		add_answer(&row, request);
		engine_request_free(request);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, row.values, row.nulls)));
}
