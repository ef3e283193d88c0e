/*-------------------------------------------------------------------------
 *
 * populate.c
 *	  dsr1_populate(): a value of any type, out of a text
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "complete.h"
#include "engine_text.h"
#include "json_answer.h"
#include "options.h"
#include "prompt.h"
#include "type_schema.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

/*
 * JSON's outermost value is an object here, whatever the type: models are used
 * to that.
 */
static char *
schema_of(Oid type, int32 typmod)
{
	StringInfoData schema;

	initStringInfo(&schema);
	if (type_is_rowtype(getBaseType(type)))
	{
		type_schema_append(&schema, type, typmod);
		return schema.data;
	}
	appendStringInfoString(&schema, "{\"type\": \"object\", \"properties\": {\"value\": ");
	type_schema_append(&schema, type, typmod);
	appendStringInfoString(&schema, "}, \"required\": [\"value\"], \"additionalProperties\": false}");
	return schema.data;
}

static Datum
value_of(FunctionCallInfo fcinfo, Jsonb *answer, Oid type, int32 typmod)
{
	JsonbValue	whole = {.type = jbvBinary};
	JsonbValue *json = &whole;

	whole.val.binary.data = &answer->root;
	whole.val.binary.len = VARSIZE(answer) - VARHDRSZ;
	if (!type_is_rowtype(getBaseType(type)))
		json = options_find(answer, "value");
	if (json == NULL)
		PG_RETURN_NULL();
	return type_schema_value(json, type, typmod, &fcinfo->isnull);
}

/* An anonymous row's columns are known from the value alone. */
static void
type_of(FunctionCallInfo fcinfo, Oid *type, int32 *typmod)
{
	*type = get_fn_expr_argtype(fcinfo->flinfo, 0);
	*typmod = -1;
	if (*type == RECORDOID && !PG_ARGISNULL(0))
		*typmod = HeapTupleHeaderGetTypMod(PG_GETARG_HEAPTUPLEHEADER(0));
	else if (*type == RECORDOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("could not determine the row type of the result"),
				 errhint("Give a value of a named type, such as NULL::my_type.")));
}

PG_FUNCTION_INFO_V1(sql_populate);

Datum
sql_populate(PG_FUNCTION_ARGS)
{
	struct wire_complete *complete;
	StringInfoData task;
	Jsonb	   *answer;
	int32		typmod;
	Call		call;
	char	   *schema;
	Oid			type;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || !call_open(&call, fcinfo))
		PG_RETURN_NULL();
	type_of(fcinfo, &type, &typmod);
	schema = schema_of(type, typmod);
	complete = options_new();
	initStringInfo(&task);
	appendStringInfoString(&task, "Read the text and answer with a JSON object of this schema: ");
	prompt_append(&task, engine_text(cstring_to_text(schema)));
	prompt_append_more(&task, PG_GETARG_TEXT_PP(2));
	prompt_about(&complete->prompt, &task, engine_text(PG_GETARG_TEXT_PP(1)));
	json_answer_constrain(complete, schema);
	complete_ask(&call, complete);
	answer = json_answer(&call);
	if (answer == NULL)
		PG_RETURN_NULL();
	return value_of(fcinfo, answer, type, typmod);
}
