/*-------------------------------------------------------------------------
 *
 * grpo_options.c
 *	  the options of dsr1_grpo(), and the command line that they become
 *
 * The trainer has defaults of its own for what is not given here.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "grpo_options.h"

#include <limits.h>

#include "compat.h"
#include "option_value.h"
#include "utils/builtins.h"
#include "wire/wire_grpo.h"

typedef struct wire_grpo_option Option;

/* ------------------------------------------------------------------
 *	Values
 * ------------------------------------------------------------------
 */

static double
read_number(const Option *option, const JsonbValue *value)
{
	if (option->kind == WIRE_GRPO_INT)
		return option_whole_number(option->name, value, option->least, option->most);
	return option_number(option->name, value, option->least, option->most);
}

static bool
is_word(const char *word, size_t length, const char *words)
{
	for (const char *at = words; *at; at += strcspn(at, "|"), at += *at == '|')
		if (strcspn(at, "|") == length && strncmp(at, word, length) == 0)
			return true;
	return false;
}

static char *
read_words(const Option *option, const JsonbValue *value)
{
	char	   *text = option_string(option->name, value);
	const char *at = text;

	for (;;)
	{
		size_t		length = option->kind == WIRE_GRPO_WORDS ? strcspn(at, ",") : strlen(at);

		if (!is_word(at, length, option->words))
			option_refuse(option->name, psprintf("%s %s", option->kind == WIRE_GRPO_WORDS ? "a list, with commas, of" : "one of",
										  option->words));
		if (at[length] == '\0')
			return text;
		at += length + 1;
	}
}

/* ------------------------------------------------------------------
 *	Options
 * ------------------------------------------------------------------
 */

static void
note_number(GrpoOptions *options, const char *name, double number)
{
	if (strcmp(name, "steps") == 0)
		options->steps = (int) number;
	else if (strcmp(name, "batch") == 0)
		options->batch = (int) number;
	else if (strcmp(name, "max_tokens") == 0)
		options->max_tokens = (int) number;
	else if (strcmp(name, "seed") == 0)
		options->seed = (int64) number;
	else if (strcmp(name, "reward_timeout") == 0)
		options->reward_timeout = (int) Min(Max(number * 1000, 1), INT_MAX);
	else if (strcmp(name, "rollouts") == 0)
		options->rollouts = (int) number;
}

/* The value for the command line; NULL: the flag alone, or with *given false nothing at all. */
static char *
read_value(GrpoOptions *options, const Option *option, const JsonbValue *value, bool *given)
{
	double		number;

	*given = true;
	switch (option->kind)
	{
		case WIRE_GRPO_BOOL:
			*given = option_bool(option->name, value);
			return NULL;
		case WIRE_GRPO_WORD:
		case WIRE_GRPO_WORDS:
			return read_words(option, value);
		case WIRE_GRPO_TEXT:
			options->eval = option_string(option->name, value);
			return options->eval;
		default:
			number = read_number(option, value);
			note_number(options, option->name, number);
			return option->kind == WIRE_GRPO_INT ? psprintf(INT64_FORMAT, (int64) number) : psprintf("%.17g", number);
	}
}

static void
read_one(void *to, const char *name, JsonbValue *value)
{
	GrpoOptions *options = to;

	for (const Option *option = wire_grpo_options; option->name; option++)
	{
		bool		given;
		char	   *text;

		if (strcmp(option->name, name) != 0)
			continue;
		text = read_value(options, option, value, &given);
		if (!given || option->flag == NULL)
			return;
		options->arguments = lappend(options->arguments, psprintf("--%s", option->flag));
		if (text)
			options->arguments = lappend(options->arguments, text);
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\"", name),
			 errhint("docs/grpo.md lists the options of dsr1_grpo().")));
}

void
grpo_options_read(GrpoOptions *options, Jsonb *given)
{
	*options = (GrpoOptions)
	{
		.steps = 100, .batch = 4, .max_tokens = 64, .seed = 1, .reward_timeout = 10000, .rollouts = 4
	};
	option_each(given, read_one, options);
}
