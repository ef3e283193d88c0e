/*-------------------------------------------------------------------------
 *
 * options.c
 *	  the options of a completion: checked, and read out of jsonb
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "engine_text.h"
#include "option_value.h"
#include "options.h"
#include "prompt.h"
#include "settings.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

struct wire_complete *
options_new(void)
{
	struct wire_complete *complete = palloc0(sizeof(*complete));

	complete->terms.priority = setting_priority;
	complete->max_tokens = setting_max_tokens;
	if (setting_think != THINK_DEFAULT)
		complete->prompt.think = setting_think == THINK_ON ? WIRE_THINK_ON : WIRE_THINK_OFF;
	return complete;
}

/* ------------------------------------------------------------------
 *	Checks
 * ------------------------------------------------------------------
 */

int32
options_check_max_tokens(int64 max_tokens)
{
	if (max_tokens < -1 || max_tokens == 0 || max_tokens > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_tokens must be positive, or -1 for no limit but the context"),
				 errdetail("It is " INT64_FORMAT ".", max_tokens)));
	return (int32) max_tokens;
}

static float
check_range(const char *name, float8 value, float8 most)
{
	if (isnan(value) || value < 0 || value > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between 0 and %g", name, most),
				 errdetail("It is %g.", value)));
	return (float) value;
}

float
options_check_temperature(float8 temperature)
{
	return check_range("temperature", temperature, 100);
}

static void
add_stop(struct wire_complete *complete, const text *stop)
{
	struct wire_text text = engine_text(stop);

	if (complete->n_stop == WIRE_STOP_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there may be at most %d stop strings", WIRE_STOP_MAX)));
	if (text.size == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("stop strings must not be empty")));
	complete->stop[complete->n_stop++] = text;
}

void
options_read_stop(struct wire_complete *complete, ArrayType *array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("stop strings must not be null")));
		add_stop(complete, DatumGetTextPP(elements[i]));
	}
}

void
options_set_adapter(struct wire_complete *complete, const char *adapter)
{
	complete->terms.adapter = wire_text(pstrdup(adapter));
}

/* ------------------------------------------------------------------
 *	jsonb
 * ------------------------------------------------------------------
 */

JsonbValue *
options_find(Jsonb *object, const char *key)
{
	JsonbValue	name = {.type = jbvString};
	JsonbValue *value;

	name.val.string.val = unconstify(char *, key);
	name.val.string.len = strlen(key);
	value = findJsonbValueFromContainer(&object->root, JB_FOBJECT, &name);
	return value && value->type != jbvNull ? value : NULL;
}

static float8
number_of(const char *name, const JsonbValue *value)
{
	if (value->type != jbvNumeric)
		option_refuse(name, "a number");
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(value->val.numeric)));
}

static int64
integer_of(const char *name, const JsonbValue *value)
{
	if (value->type != jbvNumeric)
		option_refuse(name, "a whole number");
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric)));
}

static void
read_stop_json(struct wire_complete *complete, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue	element;
	JsonbIteratorToken token;

	if (value->type == jbvString)
	{
		add_stop(complete, cstring_to_text_with_len(value->val.string.val, value->val.string.len));
		return;
	}
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		option_refuse("stop", "a string or an array of strings");
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (element.type != jbvString)
			option_refuse("stop", "a string or an array of strings");
		add_stop(complete, cstring_to_text_with_len(element.val.string.val, element.val.string.len));
	}
}

static bool
read_number(struct wire_complete *c, const char *name, const JsonbValue *value)
{
	if (strcmp(name, "temperature") == 0)
		c->temperature = options_check_temperature(number_of(name, value));
	else if (strcmp(name, "top_p") == 0)
		c->top_p = check_range(name, number_of(name, value), 1);
	else if (strcmp(name, "min_p") == 0)
		c->min_p = check_range(name, number_of(name, value), 1);
	else if (strcmp(name, "repeat_penalty") == 0)
		c->repeat_penalty = check_range(name, number_of(name, value), 10);
	else if (strcmp(name, "top_k") == 0)
		c->top_k = (int32) check_range(name, (float8) integer_of(name, value), PG_INT32_MAX / 2);
	else if (strcmp(name, "max_tokens") == 0)
		c->max_tokens = options_check_max_tokens(integer_of(name, value));
	else if (strcmp(name, "seed") == 0)
		c->seed = (uint64) integer_of(name, value);
	else
		return false;
	return true;
}

static bool
read_option(struct wire_complete *c, const char *name, const JsonbValue *value)
{
	if (read_number(c, name, value))
		return true;
	if (strcmp(name, "stop") == 0)
		read_stop_json(c, value);
	else if (strcmp(name, "think") == 0)
	{
		if (value->type != jbvBool)
			option_refuse(name, "true or false");
		c->prompt.think = value->val.boolean ? WIRE_THINK_ON : WIRE_THINK_OFF;
	}
	else if (strcmp(name, "adapter") == 0)
	{
		if (value->type != jbvString)
			option_refuse(name, "a name");
		options_set_adapter(c, pnstrdup(value->val.string.val, value->val.string.len));
	}
	else
		return false;
	return true;
}

static bool
is_among(const char *name, const char *const *names)
{
	for (; names && *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

/* What the options are read into, and the names of those that somebody else reads. */
struct reading
{
	struct wire_complete *complete;
	const char *const *others;
};

static void
take_option(void *to, const char *name, JsonbValue *value)
{
	struct reading *reading = to;

	if (is_among(name, reading->others))
		return;
	if (!read_option(reading->complete, name, value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no option \"%s\"", name),
				 errhint("Options are max_tokens, temperature, top_k, top_p, min_p, repeat_penalty, seed, stop, think, adapter, and what the function's own documentation names.")));
}

void
options_read(struct wire_complete *complete, Jsonb *options, const char *const *others)
{
	struct reading reading = {complete, others};

	option_each(options, take_option, &reading);
}

/* ------------------------------------------------------------------
 *	At a cursor
 * ------------------------------------------------------------------
 */

static struct wire_text
text_option(const char *name, const JsonbValue *value)
{
	return engine_text(cstring_to_text(option_string(name, value)));
}

static void
read_suffix(struct wire_complete *complete, const JsonbValue *suffix)
{
	if (complete->prompt.kind != WIRE_PROMPT_RAW)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("only a raw prompt has a suffix"),
				 errhint("Add raw => true.")));
	complete->prompt.kind = WIRE_PROMPT_FIM;
	prompt_turn(&complete->prompt, "", text_option("suffix", suffix));
}

void
options_read_cursor(struct wire_complete *complete, Jsonb *options, bool suffix)
{
	static const char *const names[] = {"opening", "heal", "grammar", "open_end", NULL};
	static const char *const names_suffix[] = {"opening", "heal", "grammar", "open_end", "suffix", NULL};
	JsonbValue *value;

	options_read(complete, options, suffix ? names_suffix : names);
	if ((value = options_find(options, "opening")) != NULL)
		complete->prompt.opening = text_option("opening", value);
	if ((value = options_find(options, "heal")) != NULL)
		complete->heal = option_bool("heal", value);
	if ((value = options_find(options, "grammar")) != NULL)
	{
		complete->constraint = DSR1_CONSTRAINT_GBNF;
		complete->constraint_texts[0] = text_option("grammar", value);
		complete->n_constraint = 1;
	}
	if ((value = options_find(options, "open_end")) != NULL)
		complete->open_end = option_bool("open_end", value);
	if (suffix && (value = options_find(options, "suffix")) != NULL)
		read_suffix(complete, value);
}
