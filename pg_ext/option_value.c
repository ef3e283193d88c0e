/*-------------------------------------------------------------------------
 *
 * option_value.c
 *	  options that jsonb names, and their values
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "option_value.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

void
option_refuse(const char *name, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" must be %s", name, wanted)));
}

char *
option_string(const char *name, const JsonbValue *value)
{
	if (value->type != jbvString)
		option_refuse(name, "a string");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

bool
option_bool(const char *name, const JsonbValue *value)
{
	if (value->type != jbvBool)
		option_refuse(name, "true or false");
	return value->val.boolean;
}

double
option_number(const char *name, const JsonbValue *value, double least, double most)
{
	double		number = NAN;

	if (value->type == jbvNumeric)
		number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
													NumericGetDatum(value->val.numeric)));
	if (!(number >= least && number <= most))
		option_refuse(name, psprintf("a number between %g and %g", least, most));
	return number;
}

double
option_whole_number(const char *name, const JsonbValue *value, double least, double most)
{
	double		number = option_number(name, value, least, most);

	if (number != floor(number))
		option_refuse(name, "a whole number");
	return number;
}

void
option_each(Jsonb *given, void (*take) (void *options, const char *name, JsonbValue *value), void *options)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(given))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object")));
	iterator = JsonbIteratorInit(&given->root);
	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (value.type != jbvNull)
			take(options, pnstrdup(key.val.string.val, key.val.string.len), &value);
	}
}
