/*-------------------------------------------------------------------------
 *
 * type_schema.c
 *	  PostgreSQL's types as JSON schemas, and JSON as values of them
 *
 * Only what the type's input function takes is admitted, as far as a schema can
 * say it.  Domains are those of their base type: a CHECK is checked on the
 * value.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "options.h"
#include "type_schema.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* ------------------------------------------------------------------
 *	Schemas
 * ------------------------------------------------------------------
 */

static void
append_enum(StringInfo to, Oid type)
{
	CatCList   *list = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(type));

	appendStringInfoString(to, "{\"enum\": [");
	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_enum label = (Form_pg_enum) GETSTRUCT(&list->members[i]->tuple);

		appendStringInfoString(to, i ? ", " : "");
		escape_json(to, NameStr(label->enumlabel));
	}
	ReleaseCatCacheList(list);
	appendStringInfoString(to, "]}");
}

/* A field may be null unless its column or its domain says otherwise. */
static void
append_field(StringInfo to, const FormData_pg_attribute *attribute)
{
	appendStringInfoString(to, attribute->attnotnull ? "" : "{\"anyOf\": [");
	type_schema_append(to, attribute->atttypid, attribute->atttypmod);
	appendStringInfoString(to, attribute->attnotnull ? "" : ", {\"type\": \"null\"}]}");
}

static void
append_composite(StringInfo to, Oid type, int32 typmod)
{
	TupleDesc	descriptor = lookup_rowtype_tupdesc_domain(type, typmod, false);
	StringInfoData names;

	initStringInfo(&names);
	appendStringInfoString(to, "{\"type\": \"object\", \"properties\": {");
	for (int i = 0; i < descriptor->natts; i++)
	{
		const FormData_pg_attribute *attribute = TupleDescAttr(descriptor, i);

		if (attribute->attisdropped)
			continue;
		if (names.len > 0)
		{
			appendStringInfoString(to, ", ");
			appendStringInfoString(&names, ", ");
		}
		escape_json(&names, NameStr(attribute->attname));
		escape_json(to, NameStr(attribute->attname));
		appendStringInfoString(to, ": ");
		append_field(to, attribute);
	}
	ReleaseTupleDesc(descriptor);
	appendStringInfo(to, "}, \"required\": [%s], \"additionalProperties\": false}", names.data);
}

static void
append_string(StringInfo to, Oid type, int32 typmod)
{
	if ((type == VARCHAROID || type == BPCHAROID) && typmod > (int32) VARHDRSZ)
		appendStringInfo(to, "{\"type\": \"string\", \"maxLength\": %d}", typmod - (int32) VARHDRSZ);
	else
		appendStringInfoString(to, "{\"type\": \"string\"}");
}

static void
append_scalar(StringInfo to, Oid type, int32 typmod)
{
	switch (type)
	{
		case BOOLOID:
			appendStringInfoString(to, "{\"type\": \"boolean\"}");
			break;
		case INT2OID:
			appendStringInfoString(to, "{\"type\": \"integer\", \"minimum\": -32768, \"maximum\": 32767}");
			break;
		case INT4OID:
			appendStringInfoString(to, "{\"type\": \"integer\", \"minimum\": -2147483648, \"maximum\": 2147483647}");
			break;
		case INT8OID:
			appendStringInfoString(to, "{\"type\": \"integer\"}");
			break;
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			appendStringInfoString(to, "{\"type\": \"number\"}");
			break;
		case DATEOID:
			appendStringInfoString(to, "{\"type\": \"string\", \"format\": \"date\"}");
			break;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			appendStringInfoString(to, "{\"type\": \"string\", \"format\": \"date-time\"}");
			break;
		case TIMEOID:
			appendStringInfoString(to, "{\"type\": \"string\", \"format\": \"time\"}");
			break;
		case UUIDOID:
			appendStringInfoString(to, "{\"type\": \"string\", \"format\": \"uuid\"}");
			break;
		case JSONOID:
		case JSONBOID:
			appendStringInfoString(to, "{}");
			break;
		default:
			append_string(to, type, typmod);
	}
}

void
type_schema_append(StringInfo to, Oid type, int32 typmod)
{
	Oid			base = getBaseTypeAndTypmod(type, &typmod);
	Oid			element = get_element_type(base);

	check_stack_depth();
	if (OidIsValid(element))
	{
		appendStringInfoString(to, "{\"type\": \"array\", \"items\": ");
		type_schema_append(to, element, typmod);
		appendStringInfoChar(to, '}');
	}
	else if (get_typtype(base) == TYPTYPE_ENUM)
		append_enum(to, base);
	else if (type_is_rowtype(base))
		append_composite(to, base, typmod);
	else
		append_scalar(to, base, typmod);
}

/* ------------------------------------------------------------------
 *	Values
 * ------------------------------------------------------------------
 */

static char *
scalar_text(const JsonbValue *json)
{
	switch (json->type)
	{
		case jbvString:
			return pnstrdup(json->val.string.val, json->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(json->val.numeric)));
		case jbvBool:
			return pstrdup(json->val.boolean ? "true" : "false");
		default:
			return JsonbToCString(NULL, &JsonbValueToJsonb(unconstify(JsonbValue *, json))->root, 0);
	}
}

static Datum
scalar_value(const JsonbValue *json, Oid type, int32 typmod)
{
	char	   *string;
	Oid			input;
	Oid			argument;

	if (type == JSONBOID)
		return JsonbPGetDatum(JsonbValueToJsonb(unconstify(JsonbValue *, json)));
	string = type == JSONOID ?
		JsonbToCString(NULL, &JsonbValueToJsonb(unconstify(JsonbValue *, json))->root, 0) :
		scalar_text(json);
	getTypeInputInfo(type, &input, &argument);
	return OidInputFunctionCall(input, string, argument, typmod);
}

static Datum
array_value(JsonbValue *json, Oid element, int32 typmod)
{
	ArrayBuildState *state = initArrayResult(element, CurrentMemoryContext, false);
	JsonbIterator *it;
	JsonbValue	value;
	JsonbIteratorToken token;

	it = JsonbIteratorInit(json->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		bool		isnull;
		Datum		datum;

		if (token != WJB_ELEM)
			continue;
		datum = type_schema_value(&value, element, typmod, &isnull);
		accumArrayResult(state, datum, isnull, element, CurrentMemoryContext);
	}
	return makeArrayResult(state, CurrentMemoryContext);
}

static Datum
composite_value(JsonbValue *json, Oid type, int32 typmod)
{
	TupleDesc	descriptor = lookup_rowtype_tupdesc_copy(type, typmod);
	Jsonb	   *object = JsonbValueToJsonb(json);
	Datum	   *values = palloc0(descriptor->natts * sizeof(Datum));
	bool	   *nulls = palloc(descriptor->natts * sizeof(bool));

	for (int i = 0; i < descriptor->natts; i++)
	{
		const FormData_pg_attribute *attribute = TupleDescAttr(descriptor, i);
		JsonbValue *field;

		nulls[i] = true;
		if (attribute->attisdropped)
			continue;
		field = options_find(object, NameStr(attribute->attname));
		if (field)
			values[i] = type_schema_value(field, attribute->atttypid, attribute->atttypmod, &nulls[i]);
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

Datum
type_schema_value(JsonbValue *json, Oid type, int32 typmod, bool *isnull)
{
	int32		base_typmod = typmod;
	Oid			base = getBaseTypeAndTypmod(type, &base_typmod);
	Oid			element = get_element_type(base);
	bool		is_container = json->type == jbvBinary;
	Datum		value = (Datum) 0;

	check_stack_depth();
	*isnull = json->type == jbvNull;
	if (!*isnull && OidIsValid(element) && is_container && JsonContainerIsArray(json->val.binary.data))
		value = array_value(json, element, base_typmod);
	else if (!*isnull && type_is_rowtype(base) && is_container && JsonContainerIsObject(json->val.binary.data))
		value = composite_value(json, base, base_typmod);
	else if (!*isnull)
		value = scalar_value(json, base, base_typmod);
	if (base != type)
		domain_check(value, *isnull, type, NULL, NULL);
	return value;
}
