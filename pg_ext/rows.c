/*-------------------------------------------------------------------------
 *
 * rows.c
 *	  a function's result of many rows, all at once
 *
 * What InitMaterializedSRF() does, which PostgreSQL 14 does not have.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "rows.h"
#include "utils/tuplestore.h"

ReturnSetInfo *
rows_begin(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *rows = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext caller = CurrentMemoryContext;
	TupleDesc	descriptor;

	if (rows == NULL || !IsA(rows, ReturnSetInfo) || !(rows->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	MemoryContextSwitchTo(rows->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rows->returnMode = SFRM_Materialize;
	rows->setDesc = descriptor;
	rows->setResult = tuplestore_begin_heap((rows->allowedModes & SFRM_Materialize_Random) != 0,
											false, work_mem);
	MemoryContextSwitchTo(caller);
	return rows;
}

void
rows_put(ReturnSetInfo *rows, Datum *values, bool *nulls)
{
	tuplestore_putvalues(rows->setResult, rows->setDesc, values, nulls);
}
