/*-------------------------------------------------------------------------
 *
 * complete.c
 *	  dsr1_complete(): one answer to one prompt
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "engine_client.h"
#include "engine_text.h"
#include "fmgr.h"
#include "settings.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* ------------------------------------------------------------------
 *	Arguments
 * ------------------------------------------------------------------
 */

static int32
check_max_tokens(int32 max_tokens)
{
	if (max_tokens < -1 || max_tokens == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_tokens must be positive, or -1 for no limit but the context"),
				 errdetail("It is %d.", max_tokens)));
	return max_tokens;
}

static float
check_temperature(float8 temperature)
{
	if (isnan(temperature) || temperature < 0 || temperature > 100)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("temperature must be between 0 and 100"),
				 errdetail("It is %g.", temperature)));
	return (float) temperature;
}

static void
read_stop(struct wire_complete *complete, ArrayType *array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	if (n > WIRE_STOP_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there may be at most %d stop strings", WIRE_STOP_MAX),
				 errdetail("There are %d.", n)));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("stop strings must not be null")));
		complete->stop[i] = engine_text(DatumGetTextPP(elements[i]));
		if (complete->stop[i].size == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("stop strings must not be empty")));
	}
	complete->n_stop = n;
}

static void
refuse_adapter(FunctionCallInfo fcinfo)
{
	if (!PG_ARGISNULL(8))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("adapter \"%s\" does not exist", NameStr(*PG_GETARG_NAME(8)))));
}

static void
add_turn(struct wire_prompt *prompt, const char *role, text *content)
{
	struct wire_turn *turn = &prompt->turns[prompt->n_turns++];

	turn->role = wire_text(role);
	turn->content = engine_text(content);
}

static void
read_prompt(FunctionCallInfo fcinfo, struct wire_prompt *prompt)
{
	bool		raw = !PG_ARGISNULL(7) && PG_GETARG_BOOL(7);

	if (raw && !PG_ARGISNULL(5))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a raw prompt has no system text"),
				 errhint("Put it in front of the prompt.")));
	prompt->kind = raw ? WIRE_PROMPT_RAW : WIRE_PROMPT_CHAT;
	if (!PG_ARGISNULL(5))
		add_turn(prompt, "system", PG_GETARG_TEXT_PP(5));
	add_turn(prompt, raw ? "" : "user", PG_GETARG_TEXT_PP(0));
	if (!PG_ARGISNULL(6))
		prompt->think = PG_GETARG_BOOL(6) ? WIRE_THINK_ON : WIRE_THINK_OFF;
}

static void
read_arguments(FunctionCallInfo fcinfo, struct wire_complete *complete)
{
	memset(complete, 0, sizeof(*complete));
	complete->terms.priority = setting_priority;
	complete->max_tokens = check_max_tokens(PG_ARGISNULL(1) ? setting_max_tokens : PG_GETARG_INT32(1));
	complete->temperature = PG_ARGISNULL(2) ? 0 : check_temperature(PG_GETARG_FLOAT8(2));
	complete->seed = PG_ARGISNULL(3) ? 0 : (uint64) PG_GETARG_INT64(3);
	if (!PG_ARGISNULL(4))
		read_stop(complete, PG_GETARG_ARRAYTYPE_P(4));
	read_prompt(fcinfo, &complete->prompt);
	refuse_adapter(fcinfo);
}

/* ------------------------------------------------------------------
 *	The answer
 * ------------------------------------------------------------------
 */

static text *
read_answer(const EngineRequest *request)
{
	struct wire_frame frame = engine_request_answer(request);
	struct wire_done done;

	if (frame.type != WIRE_DONE || wire_get_done(&frame, &done) < 0)
		engine_answer_broken();
	if (done.finish == DSR1_FINISH_CANCELLED)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("request to the inference engine was canceled")));
	return engine_text_back(done.piece.text);
}

static void
raise_too_long(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("prompt is too long"),
			 errdetail("A request to the inference engine holds at most %d bytes.", WIRE_FRAME_MAX)));
}

PG_FUNCTION_INFO_V1(sql_complete);

Datum
sql_complete(PG_FUNCTION_ARGS)
{
	struct wire_complete complete;
	EngineRequest *request;
	text	   *answer;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	read_arguments(fcinfo, &complete);
	request = engine_request_new();
	if (!wire_put_complete(&request->frame, request->id, &complete))
		raise_too_long();
	engine_request_send(request);
	engine_request_wait(request);
	answer = read_answer(request);
	engine_request_free(request);
	PG_RETURN_TEXT_P(answer);
}

/* ------------------------------------------------------------------
 *	dsr1_count_tokens()
 * ------------------------------------------------------------------
 */

PG_FUNCTION_INFO_V1(sql_count_tokens);

Datum
sql_count_tokens(PG_FUNCTION_ARGS)
{
	EngineRequest *request = engine_request_new();
	struct wire_tokens tokens = {.text = engine_text(PG_GETARG_TEXT_PP(0))};
	struct wire_frame frame;
	struct wire_ids ids;
	uint64		n_tokens;

	if (!wire_put_tokens(&request->frame, request->id, &tokens))
		raise_too_long();
	engine_request_send(request);
	engine_request_wait(request);
	frame = engine_request_answer(request);
	if (frame.type != WIRE_TOKENS_RESULT || wire_get_tokens_result(&frame, &n_tokens, &ids) < 0 ||
		n_tokens > PG_INT32_MAX)
		engine_answer_broken();
	engine_request_free(request);
	PG_RETURN_INT32((int32) n_tokens);
}
