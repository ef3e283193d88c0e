/*-------------------------------------------------------------------------
 *
 * prompt_named.c
 *	  dsr1_prompt(): prompts that have a name and versions, out of a table
 *
 * The table is read as any other: with the role's rights, and as it is for the
 * statement.  "{1}" stands for the first argument as text, NULL for nothing;
 * "{{" is a brace, and so is one that opens no number.  What an argument holds
 * is not looked at again.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "job_access.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* What stands for {1}, {2}, ... */
typedef struct Arguments
{
	int			n;
	Datum	   *values;
	bool	   *nulls;
	Oid		   *types;
} Arguments;

/* ------------------------------------------------------------------
 *	Arguments
 * ------------------------------------------------------------------
 */

/* VARIADIC array: its elements. */
static void
read_array(Arguments *arguments, FunctionCallInfo fcinfo, int at)
{
	Oid			type = get_base_element_type(get_fn_expr_argtype(fcinfo->flinfo, at));
	int16		length;
	bool		by_value;
	char		align;

	if (!OidIsValid(type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("VARIADIC argument must be an array")));
	if (PG_ARGISNULL(at))
		return;
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(at), type, length, by_value, align,
					  &arguments->values, &arguments->nulls, &arguments->n);
	arguments->types = palloc(arguments->n * sizeof(Oid));
	for (int i = 0; i < arguments->n; i++)
		arguments->types[i] = type;
}

/* Those of a call from number `first` on. */
static Arguments
read_arguments(FunctionCallInfo fcinfo, int first)
{
	Arguments	arguments = {0};

	if (PG_NARGS() > first && get_fn_expr_variadic(fcinfo->flinfo))
	{
		read_array(&arguments, fcinfo, first);
		return arguments;
	}
	arguments.n = PG_NARGS() - first;
	arguments.values = palloc(arguments.n * sizeof(Datum));
	arguments.nulls = palloc(arguments.n * sizeof(bool));
	arguments.types = palloc(arguments.n * sizeof(Oid));
	for (int i = 0; i < arguments.n; i++)
	{
		arguments.values[i] = PG_GETARG_DATUM(first + i);
		arguments.nulls[i] = PG_ARGISNULL(first + i);
		arguments.types[i] = get_fn_expr_argtype(fcinfo->flinfo, first + i);
		if (!OidIsValid(arguments.types[i]))
			elog(ERROR, "could not determine data type of argument %d", first + i + 1);
	}
	return arguments;
}

/* ------------------------------------------------------------------
 *	Filling
 * ------------------------------------------------------------------
 */

static void
append_argument(StringInfo prompt, const Arguments *arguments, int i)
{
	Oid			output;
	bool		varlena;

	if (arguments->nulls[i])
		return;
	getTypeOutputInfo(arguments->types[i], &output, &varlena);
	appendStringInfoString(prompt, OidOutputFunctionCall(output, arguments->values[i]));
}

/* The number within "{12}", and in *end what follows; -1 if there is none. */
static int
read_number(const char *open, const char **end)
{
	const char *c = open + 1;
	int64		number = 0;

	for (; *c >= '0' && *c <= '9'; c++)
		number = Min(number * 10 + (*c - '0'), PG_INT32_MAX);
	if (c == open + 1 || *c != '}')
		return -1;
	*end = c + 1;
	return (int) number;
}

static text *
fill(const char *template, const Arguments *arguments)
{
	StringInfoData prompt;

	initStringInfo(&prompt);
	for (const char *c = template; *c;)
	{
		const char *end;
		int			number = *c == '{' ? read_number(c, &end) : -1;

		if (number < 0)
		{
			appendStringInfoChar(&prompt, *c);
			c += c[0] == '{' && c[1] == '{' ? 2 : 1;
			continue;
		}
		if (number == 0 || number > arguments->n)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the prompt wants argument {%d} of %d", number, arguments->n),
					 errhint("Arguments are counted from 1; a brace that is not meant for one is written \"{{\".")));
		append_argument(&prompt, arguments, number - 1);
		c = end;
	}
	return cstring_to_text_with_len(prompt.data, prompt.len);
}

/* ------------------------------------------------------------------
 *	The table
 * ------------------------------------------------------------------
 */

static void
pg_attribute_noreturn()
raise_missing(const char *name, const int *version)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 version ? errmsg("prompt \"%s\" has no version %d", name, *version) :
			 errmsg("prompt \"%s\" does not exist", name),
			 errhint("dsr1_prompts lists those of this database; dsr1_prompt_put() stores one.")));
}

/* In the caller's memory.  Without a version it is the latest. */
static char *
look_up(Name name, const int *version)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[] = {NAMEOID, INT4OID};
	Datum		values[] = {NameGetDatum(name), version ? Int32GetDatum(*version) : (Datum) 0};
	const char *schema;
	char	   *prompt = NULL;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (!job_extension(&schema, NULL))
		elog(ERROR, "extension dsr1 is not there");
	/* read-only: as it was when the statement began, and in parallel workers, too */
	if (SPI_execute_with_args(psprintf("SELECT p.prompt FROM %s.dsr1_prompts p"
									   " WHERE p.name OPERATOR(pg_catalog.=) $1"
									   " AND ($2 IS NULL OR p.version OPERATOR(pg_catalog.=) $2)"
									   " ORDER BY p.version DESC LIMIT 1", schema),
							  2, types, values, version ? "  " : " n", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read dsr1_prompts");
	if (SPI_processed > 0)
		prompt = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	if (prompt == NULL)
		raise_missing(NameStr(*name), version);
	return prompt;
}

/* Without arguments it stays as it is, so that a job finds its columns in it. */
static Datum
answer(FunctionCallInfo fcinfo, const int *version, int first)
{
	char	   *template = look_up(PG_GETARG_NAME(0), version);
	Arguments	arguments;

	if (PG_NARGS() <= first)
		PG_RETURN_TEXT_P(cstring_to_text(template));
	arguments = read_arguments(fcinfo, first);
	PG_RETURN_TEXT_P(fill(template, &arguments));
}

PG_FUNCTION_INFO_V1(sql_prompt);

/* dsr1_prompt(name [, VARIADIC "any"]) */
Datum
sql_prompt(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	return answer(fcinfo, NULL, 1);
}

PG_FUNCTION_INFO_V1(sql_prompt_version);

/* dsr1_prompt_version(name, version [, VARIADIC "any"]) */
Datum
sql_prompt_version(PG_FUNCTION_ARGS)
{
	int			version;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	version = PG_GETARG_INT32(1);
	return answer(fcinfo, &version, 2);
}
