/*-------------------------------------------------------------------------
 *
 * stat_rows.c
 *	  what functions behind views share: asking the engine, and returning a set of rows as a whole
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "engine_error.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "stat_rows.h"

EngineRequest *
stat_ask(enum wire_type question, enum wire_type wanted, State *state)
{
	EngineRequest *request;

	state_read(state);
	if (state->phase != ENGINE_READY)
		return NULL;
	request = engine_request_new();
	if (!wire_put_bare(&request->frame, question, request->id) || !engine_request_try(request))
	{
		engine_request_free(request);
		return NULL;
	}
	if (engine_request_answer(request).type != wanted)
		engine_answer_broken();
	return request;
}

ReturnSetInfo *
stat_rows_begin(FunctionCallInfo fcinfo, int n_columns)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	TupleDesc	descriptor;

	if (result == NULL || !IsA(result, ReturnSetInfo) || (result->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE || descriptor->natts != n_columns)
		elog(ERROR, "return type must be a row type of %d columns", n_columns);
	old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	result->returnMode = SFRM_Materialize;
	result->setDesc = CreateTupleDescCopy(descriptor);
	result->setResult = tuplestore_begin_heap(true, false, work_mem);
	MemoryContextSwitchTo(old);
	return result;
}
