/*-------------------------------------------------------------------------
 *
 * generate.c
 *	  dsr1_generate(), dsr1_extract(): answers that are JSON of a given shape
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "compat.h"
#include "complete.h"
#include "engine_text.h"
#include "json_answer.h"
#include "mb/pg_wchar.h"
#include "options.h"
#include "prompt.h"
#include "settings.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"

void
json_answer_constrain(struct wire_complete *complete, const char *schema)
{
	complete->constraint = DSR1_CONSTRAINT_JSON_SCHEMA;
	complete->constraint_texts[0] = engine_text(cstring_to_text(schema));
	complete->n_constraint = 1;
}

/* An answer that was cut off is no JSON. */
static void
raise_cut_off(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("the answer is longer than max_tokens allows, so it is no whole JSON"),
			 errhint("Raise max_tokens or dsr1.max_tokens, or ask for less.")));
}

Jsonb *
json_answer(Call *call)
{
	struct wire_done done;
	char	   *json;
	bool		cut_off;

	if (!call_send(call) || !call_done(call, 0, &done))
		return NULL;
	json = text_to_cstring(engine_text_back(done.piece.text));
	cut_off = done.finish == DSR1_FINISH_LENGTH;
	call_close(call);
	if (cut_off && setting_on_error == ON_ERROR_NULL)
		return NULL;
	if (cut_off)
		raise_cut_off();
	if (pg_parse_json(compat_json_lexer(json, (int) strlen(json)), &nullSemAction) != JSON_SUCCESS)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the answer of the inference engine is no JSON")));
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

static Datum
return_json(FunctionCallInfo fcinfo, Jsonb *json)
{
	if (json == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(json);
}

PG_FUNCTION_INFO_V1(sql_generate);

Datum
sql_generate(PG_FUNCTION_ARGS)
{
	static const char *const others[] = {"system", NULL};
	struct wire_complete *complete;
	Jsonb	   *schema;
	Jsonb	   *options;
	JsonbValue *system;
	Call		call;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	schema = PG_GETARG_JSONB_P(1);
	options = PG_GETARG_JSONB_P(2);
	complete = options_new();
	options_read(complete, options, others);
	complete->prompt.kind = WIRE_PROMPT_CHAT;
	system = options_find(options, "system");
	if (system && system->type == jbvString)
		prompt_turn(&complete->prompt, "system",
					engine_text(cstring_to_text_with_len(system->val.string.val, system->val.string.len)));
	prompt_turn(&complete->prompt, "user", engine_text(PG_GETARG_TEXT_PP(0)));
	json_answer_constrain(complete, JsonbToCString(NULL, &schema->root, VARSIZE(schema)));
	complete_ask(&call, complete);
	return return_json(fcinfo, json_answer(&call));
}

/* ------------------------------------------------------------------
 *	Fields out of a text
 * ------------------------------------------------------------------
 */

typedef struct Fields
{
	StringInfoData names;		/* quoted, with commas between */
	StringInfoData properties;
	StringInfoData described;	/* what the model is told, in the server's encoding */
} Fields;

static void
open_fields(Fields *fields)
{
	initStringInfo(&fields->names);
	initStringInfo(&fields->properties);
	initStringInfo(&fields->described);
}

static void
add_field(Fields *fields, const char *name, const char *description)
{
	if (fields->names.len > 0)
	{
		appendStringInfoString(&fields->names, ", ");
		appendStringInfoString(&fields->properties, ", ");
		appendStringInfoString(&fields->described, description ? "; " : ", ");
	}
	escape_json(&fields->names, name);
	escape_json(&fields->properties, name);
	appendStringInfoString(&fields->properties, ": {\"type\": [\"string\", \"null\"]}");
	appendStringInfoString(&fields->described, name);
	if (description)
		appendStringInfo(&fields->described, " (%s)", description);
}

static Datum
extract(FunctionCallInfo fcinfo, Call *call, const Fields *fields)
{
	struct wire_complete *complete = options_new();
	StringInfoData task;

	if (fields->names.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there must be at least one field")));
	initStringInfo(&task);
	appendStringInfoString(&task, "Extract these fields from the text: ");
	prompt_append(&task, engine_text(cstring_to_text(fields->described.data)));
	appendStringInfoString(&task, ". Answer with a JSON object. A field that the text does not tell is null.");
	prompt_about(&complete->prompt, &task, engine_text(PG_GETARG_TEXT_PP(0)));
	json_answer_constrain(complete,
						  psprintf("{\"type\": \"object\", \"properties\": {%s}, \"required\": [%s], \"additionalProperties\": false}",
								   fields->properties.data, fields->names.data));
	complete_ask(call, complete);
	return return_json(fcinfo, json_answer(call));
}

PG_FUNCTION_INFO_V1(sql_extract);

Datum
sql_extract(PG_FUNCTION_ARGS)
{
	Datum	   *elements;
	bool	   *nulls;
	Fields		fields;
	Call		call;
	int			n;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	open_fields(&fields);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("fields must not be null")));
		add_field(&fields, TextDatumGetCString(elements[i]), NULL);
	}
	return extract(fcinfo, &call, &fields);
}

PG_FUNCTION_INFO_V1(sql_extract_described);

Datum
sql_extract_described(PG_FUNCTION_ARGS)
{
	Jsonb	   *given = PG_GETARG_JSONB_P(1);
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;
	Fields		fields;
	Call		call;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	if (!JB_ROOT_IS_OBJECT(given))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("fields must be a JSON object of names and descriptions")));
	open_fields(&fields);
	it = JsonbIteratorInit(&given->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			add_field(&fields, name,
					  value.type == jbvString ? pnstrdup(value.val.string.val, value.val.string.len) : NULL);
	}
	return extract(fcinfo, &call, &fields);
}
