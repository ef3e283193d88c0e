/*-------------------------------------------------------------------------
 *
 * complete.c
 *	  dsr1_complete(), dsr1_fim()
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter.h"
#include "call.h"
#include "complete.h"
#include "engine_text.h"
#include "options.h"
#include "prompt.h"
#include "utils/builtins.h"

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
		prompt_turn(prompt, "system", engine_text(PG_GETARG_TEXT_PP(5)));
	prompt_turn(prompt, raw ? "" : "user", engine_text(PG_GETARG_TEXT_PP(0)));
	if (!PG_ARGISNULL(6))
		prompt->think = PG_GETARG_BOOL(6) ? WIRE_THINK_ON : WIRE_THINK_OFF;
}

struct wire_complete *
complete_read_arguments(FunctionCallInfo fcinfo)
{
	struct wire_complete *complete = options_new();

	complete->max_tokens = options_check_max_tokens(PG_ARGISNULL(1) ? complete->max_tokens : PG_GETARG_INT32(1));
	complete->temperature = PG_ARGISNULL(2) ? 0 : options_check_temperature(PG_GETARG_FLOAT8(2));
	complete->seed = PG_ARGISNULL(3) ? 0 : (uint64) PG_GETARG_INT64(3);
	if (!PG_ARGISNULL(4))
		options_read_stop(complete, PG_GETARG_ARRAYTYPE_P(4));
	read_prompt(fcinfo, &complete->prompt);
	if (!PG_ARGISNULL(8))
		options_set_adapter(complete, NameStr(*PG_GETARG_NAME(8)));
	return complete;
}

void
complete_ask(Call *call, struct wire_complete *complete)
{
	EngineRequest *request;

	adapter_resolve(&complete->terms);
	request = call_request(call);
	call_ask(call, wire_put_complete(&request->frame, request->id, complete));
	pfree(complete);
}

PG_FUNCTION_INFO_V1(sql_complete);

Datum
sql_complete(PG_FUNCTION_ARGS)
{
	Call		call;
	text	   *answer;

	if (PG_ARGISNULL(0) || !call_open(&call, fcinfo))
		PG_RETURN_NULL();
	complete_ask(&call, complete_read_arguments(fcinfo));
	answer = call_text(&call);
	if (answer == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(answer);
}

PG_FUNCTION_INFO_V1(sql_fim);

Datum
sql_fim(PG_FUNCTION_ARGS)
{
	struct wire_complete *complete;
	Call		call;
	text	   *answer;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	complete = options_new();
	options_read_cursor(complete, PG_GETARG_JSONB_P(2), false);
	complete->prompt.kind = WIRE_PROMPT_FIM;
	prompt_turn(&complete->prompt, "", engine_text(PG_GETARG_TEXT_PP(0)));
	prompt_turn(&complete->prompt, "", engine_text(PG_GETARG_TEXT_PP(1)));
	complete_ask(&call, complete);
	answer = call_text(&call);
	if (answer == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(answer);
}
