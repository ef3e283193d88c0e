/*-------------------------------------------------------------------------
 *
 * job_options.c
 *	  the options of dsr1_annotate()
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "engine_text.h"
#include "job_options.h"
#include "option_value.h"
#include "settings.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#define INTEGER		"-?(0|[1-9][0-9]{0,%d})"
#define NUMBER		"-?(0|[1-9][0-9]{0,14})(\\.[0-9]{1,9})?"
#define DATE		"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9])"

/* ------------------------------------------------------------------
 *	Reading
 * ------------------------------------------------------------------
 */

/* A string, or an array of strings. */
static List *
read_strings(const char *name, JsonbValue *value, bool one_will_do)
{
	List	   *strings = NIL;

	if (one_will_do && value->type == jbvString)
		return list_make1(option_string(name, value));
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		option_refuse(name, "an array of strings");
	for (uint32 i = 0; i < JsonContainerSize(value->val.binary.data); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(value->val.binary.data, i);

		if (element->type != jbvString || element->val.string.len == 0)
			option_refuse(name, "an array of strings that are not empty");
		strings = lappend(strings, option_string(name, element));
	}
	if (strings == NIL)
		option_refuse(name, "an array of at least one string");
	return strings;
}

static char *
read_object(const char *name, JsonbValue *value)
{
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		option_refuse(name, "an object");
	return JsonbToCString(NULL, value->val.binary.data, -1);
}

static void
read_one(void *to, const char *name, JsonbValue *value)
{
	JobOptions *options = to;

	if (strcmp(name, "key") == 0)
		options->key = read_strings(name, value, true);
	else if (strcmp(name, "where") == 0)
		options->where = option_string(name, value);
	else if (strcmp(name, "labels") == 0)
		options->labels = read_strings(name, value, false);
	else if (strcmp(name, "schema") == 0)
		options->schema = read_object(name, value);
	else if (strcmp(name, "type") == 0)
		options->type = option_string(name, value);
	else if (strcmp(name, "system") == 0)
		options->system = option_string(name, value);
	else if (strcmp(name, "into") == 0)
		options->into = option_string(name, value);
	else if (strcmp(name, "adapter") == 0)
		options->adapter = option_string(name, value);
	else if (strcmp(name, "watch") == 0)
		options->watch = option_bool(name, value);
	else if (strcmp(name, "raw") == 0)
		options->raw = option_bool(name, value);
	else if (strcmp(name, "audit") == 0)
		options->audit = option_bool(name, value);
	else if (strcmp(name, "batch") == 0)
		options->batch = (int) option_whole_number(name, value, 1, JOB_BATCH_MAX);
	else if (strcmp(name, "max_errors") == 0)
		options->max_errors = (int) option_whole_number(name, value, -1, PG_INT32_MAX);
	else if (strcmp(name, "retries") == 0)
		options->retries = (int) option_whole_number(name, value, 0, 1000);
	else if (strcmp(name, "priority") == 0)
		options->priority = (int) option_whole_number(name, value, -1000, 0);
	else if (strcmp(name, "max_tokens") == 0)
		options->max_tokens = (int) option_whole_number(name, value, 1, PG_INT32_MAX);
	else if (strcmp(name, "temperature") == 0)
		options->temperature = option_number(name, value, 0, 100);
	else if (strcmp(name, "seed") == 0)
		options->seed = (int64) option_number(name, value, -9007199254740992.0, 9007199254740992.0);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown option \"%s\"", name),
				 errhint("There are key, where, labels, schema, type, system, raw, max_tokens, temperature, seed, adapter, "
						 "into, watch, audit, batch, max_errors, retries and priority.")));
}

static void
check_together(const JobOptions *options)
{
	int			forms = (options->labels != NIL) + (options->schema != NULL) + (options->type != NULL);
	static const char *const types[] = {"text", "boolean", "integer", "number", "date", "json"};
	bool		known = options->type == NULL;

	if (forms > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("only one of \"labels\", \"schema\" and \"type\" can be given")));
	for (int i = 0; i < lengthof(types) && !known; i++)
		known = strcmp(options->type, types[i]) == 0;
	if (!known)
		option_refuse("type", "text, boolean, integer, number, date or json");
	if (list_length(options->labels) > WIRE_LIST_MAX)
		option_refuse("labels", psprintf("at most %d strings", WIRE_LIST_MAX));
	if (options->raw && options->system)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a raw prompt has no system text"),
				 errhint("Put it in front of the prompt.")));
}

void
job_options_read(JobOptions *options, Jsonb *given)
{
	*options = (JobOptions)
	{
		.audit = true,
		.batch = 32,
		.max_errors = 100,
		.retries = 3,
		.priority = -1,
		.max_tokens = setting_max_tokens
	};
	option_each(given, read_one, options);
	check_together(options);
}

static void
check_changeable(void *ignored, const char *name, JsonbValue *value)
{
	static const char *const names[] = {"batch", "max_errors", "retries", "priority"};

	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" of a job cannot be changed", name),
			 errhint("batch, max_errors, retries and priority can.  For others, cancel this job and make another one.")));
}

void
job_options_check_change(Jsonb *given)
{
	JobOptions	ignored;

	option_each(given, check_changeable, NULL);
	job_options_read(&ignored, given);
}

/* ------------------------------------------------------------------
 *	What answers may be
 * ------------------------------------------------------------------
 */

static void
add_text(struct wire_complete *complete, const char *string)
{
	if (complete->n_constraint >= WIRE_LIST_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("there may be at most %d labels", WIRE_LIST_MAX)));
	complete->constraint_texts[complete->n_constraint++] = engine_text(cstring_to_text(string));
}

static void
set_pattern(struct wire_complete *complete, const char *pattern)
{
	complete->constraint = DSR1_CONSTRAINT_REGEX;
	add_text(complete, pattern);
}

static void
add_enum(struct wire_complete *complete, Oid type)
{
	Relation	enums = table_open(EnumRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	complete->constraint = DSR1_CONSTRAINT_CHOICES;
	ScanKeyInit(&key, Anum_pg_enum_enumtypid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(type));
	scan = systable_beginscan(enums, EnumTypIdSortOrderIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		add_text(complete, NameStr(((Form_pg_enum) GETSTRUCT(tuple))->enumlabel));
	systable_endscan(scan);
	table_close(enums, AccessShareLock);
}

static const char *
form_of(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return "boolean";
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return "integer";
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			return "number";
		case DATEOID:
			return "date";
		case JSONOID:
		case JSONBOID:
			return "json";
	}
	return "text";
}

static void
set_form(struct wire_complete *complete, const char *form, Oid column_type)
{
	int			digits = column_type == INT2OID ? 3 : column_type == INT4OID ? 8 : 17;

	if (strcmp(form, "boolean") == 0)
	{
		complete->constraint = DSR1_CONSTRAINT_CHOICES;
		add_text(complete, "true");
		add_text(complete, "false");
	}
	else if (strcmp(form, "integer") == 0)
		set_pattern(complete, psprintf(INTEGER, digits));
	else if (strcmp(form, "number") == 0)
		set_pattern(complete, NUMBER);
	else if (strcmp(form, "date") == 0)
		set_pattern(complete, DATE);
	else if (strcmp(form, "json") == 0)
		complete->constraint = DSR1_CONSTRAINT_JSON;
}

void
job_options_constrain(const JobOptions *options, Oid column_type,
					  struct wire_complete *complete)
{
	Oid			base = getBaseType(column_type);
	ListCell   *cell;

	if (options->labels)
	{
		complete->constraint = DSR1_CONSTRAINT_CHOICES;
		foreach(cell, options->labels)
			add_text(complete, lfirst(cell));
	}
	else if (options->schema)
	{
		complete->constraint = DSR1_CONSTRAINT_JSON_SCHEMA;
		add_text(complete, options->schema);
	}
	else if (options->type)
		set_form(complete, options->type, base);
	else if (type_is_enum(base))
		add_enum(complete, base);
	else
		set_form(complete, form_of(base), base);
}
