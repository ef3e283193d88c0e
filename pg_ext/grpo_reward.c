/*-------------------------------------------------------------------------
 *
 * grpo_reward.c
 *	  the function that says what an answer is worth
 *
 * Whatever it does is the run's owner's doing: it is called as that role, as
 * in a session of its own, and what it has changed is committed.  It may fail,
 * loop, or return nothing; that is noted, and the run goes on.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "grpo_reward.h"
#include "job_access.h"
#include "job_process.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

/* ------------------------------------------------------------------
 *	Which function
 * ------------------------------------------------------------------
 */

/* By name, for pg_upgrade and pg_dump know nothing of its number. */
char *
grpo_reward_name(Oid function)
{
	Datum		values[1] = {ObjectIdGetDatum(function)};
	bool		isnull;

	if (job_execute("SELECT pg_catalog.format('%I.%I', n.nspname, p.proname),"
					" p.prokind = 'f' AND NOT p.proretset"
					"  AND p.pronargs = 3 AND p.proargtypes[0] = 'text'::pg_catalog.regtype"
					"  AND p.proargtypes[1] = 'text'::pg_catalog.regtype AND p.proargtypes[2] = 'jsonb'::pg_catalog.regtype"
					"  AND p.prorettype IN ('bool'::pg_catalog.regtype, 'int2'::pg_catalog.regtype, 'int4'::pg_catalog.regtype,"
					"   'int8'::pg_catalog.regtype, 'float4'::pg_catalog.regtype, 'float8'::pg_catalog.regtype,"
					"   'numeric'::pg_catalog.regtype),"
					" pg_catalog.has_function_privilege(p.oid, 'EXECUTE')"
					" AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
					" FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = $1",
					"o", values, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("reward function with OID %u does not exist", function)));
	if (!DatumGetBool(job_datum(0, 3, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", job_string(0, 1))));
	if (!DatumGetBool(job_datum(0, 2, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s cannot give rewards", job_string(0, 1)),
				 errdetail("Its arguments must be text, text and jsonb: prompt, completion and meta."
						   "  It must return one number, or a boolean.")));
	return job_string(0, 1);
}

/* ------------------------------------------------------------------
 *	Calling it
 * ------------------------------------------------------------------
 */

typedef struct Call
{
	const char *name;
	const char *line;			/* UTF-8 */
	char	   *question;		/* the line in the database's encoding, once that has worked */
	int			timeout;
	double		reward;
	MemoryContext context;
} Call;

static double
number_of(Datum value, Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return DatumGetBool(value) ? 1 : 0;
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT8OID:
			return (double) DatumGetInt64(value);
		case FLOAT4OID:
			return DatumGetFloat4(value);
		case FLOAT8OID:
			return DatumGetFloat8(value);
		case NUMERICOID:
			return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
			 errmsg("reward function returns no number any more")));
	return NAN;
}

static void
ask_function(Call *call)
{
	Oid			types[1] = {JSONOID};
	Datum		values[1] = {DirectFunctionCall1(json_in, CStringGetDatum(call->question))};
	bool		isnull;
	Datum		value;
	int			rc;

	rc = SPI_execute_with_args(psprintf("SELECT %s(pg_catalog.json_object_field_text($1, 'prompt'),"
										" pg_catalog.json_object_field_text($1, 'completion'),"
										" pg_catalog.json_object_field($1, 'meta')::pg_catalog.jsonb)", call->name),
							   1, types, values, NULL, false, 2);
	if (rc != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not call the reward function: %s", SPI_result_code_string(rc));
	value = job_datum(0, 1, &isnull);
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("reward is null")));
	call->reward = number_of(value, SPI_gettypeid(SPI_tuptable->tupdesc, 1));
	if (!isfinite(call->reward))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("reward is not a finite number")));
}

static void
call_function(void *arg)
{
	Call	   *call = arg;
	char	   *question;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	question = pg_any_to_server(call->line, (int) strlen(call->line), PG_UTF8);
	call->question = MemoryContextStrdup(call->context, question);
	enable_timeout_after(STATEMENT_TIMEOUT, call->timeout);
	ask_function(call);
	disable_timeout(STATEMENT_TIMEOUT, false);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
}

GrpoError *
grpo_reward_call(const char *name, const char *line, int timeout, double *reward)
{
	Call		call = {.name = name, .line = line, .timeout = timeout, .context = CurrentMemoryContext};
	ErrorData  *error = job_process_attempt(call.context, call_function, &call);
	GrpoError  *noted;

	/* It may have run out while the function returned or failed. */
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
	*reward = call.reward;
	if (error == NULL)
		return NULL;
	noted = palloc(sizeof(*noted));
	noted->question = call.question;
	noted->sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode));
	noted->message = pstrdup(error->message);
	FreeErrorData(error);
	return noted;
}
