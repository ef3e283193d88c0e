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

typedef enum OptionKind
{
	OPTION_INT,
	OPTION_NUMBER,
	OPTION_BOOL,				/* a flag without a value */
	OPTION_WORD,				/* one of words, which are separated by | */
	OPTION_WORDS,				/* some of them, separated by commas */
	OPTION_TEXT
} OptionKind;

typedef struct Option
{
	const char *name;
	const char *flag;			/* of dsr1 grpo; NULL: it is not for the trainer alone */
	OptionKind	kind;
	double		least;
	double		most;
	const char *words;
} Option;

/* As core/tools/tool_grpo.c has them. */
static const Option known_options[] = {
	{"eval", NULL, OPTION_TEXT, 0, 0, NULL},
	{"steps", "--steps", OPTION_INT, 1, 1e9, NULL},
	{"batch", "--batch", OPTION_INT, 1, 65536, NULL},
	{"group", "--group", OPTION_INT, 2, 1024, NULL},
	{"max_tokens", "--max-tokens", OPTION_INT, 1, 65536, NULL},
	{"seed", "--seed", OPTION_INT, 0, 9007199254740992.0, NULL},
	{"reward_timeout", NULL, OPTION_NUMBER, 0.001, 1e6, NULL},
	{"rollouts", NULL, OPTION_INT, -1, 1e6, NULL},
	{"raw", "--raw", OPTION_BOOL, 0, 0, NULL},
	{"refill", "--refill", OPTION_INT, 0, 16, NULL},
	{"updates", "--updates", OPTION_INT, 1, 64, NULL},
	{"loss", "--loss", OPTION_WORD, 0, 0, "dapo|grpo|bnpo|dr_grpo"},
	{"sequence_ratio", "--sequence-ratio", OPTION_BOOL, 0, 0, NULL},
	{"clip_low", "--clip-low", OPTION_NUMBER, 0, 1, NULL},
	{"clip_high", "--clip-high", OPTION_NUMBER, 0, 1e6, NULL},
	{"delta", "--delta", OPTION_NUMBER, 0, 1e6, NULL},
	{"beta", "--beta", OPTION_NUMBER, 0, 1e6, NULL},
	{"scale", "--scale", OPTION_WORD, 0, 0, "group|batch|none"},
	{"overlong", "--overlong", OPTION_WORD, 0, 0, "mask|keep|penalty"},
	{"overlong_buffer", "--overlong-buffer", OPTION_INT, 1, 65536, NULL},
	{"rank", "--rank", OPTION_INT, 1, 512, NULL},
	{"alpha", "--alpha", OPTION_NUMBER, 0, 65536, NULL},
	{"lora", "--lora", OPTION_WORDS, 0, 0, "attn|q|k|v|o|ffn|shared|experts|down|all"},
	{"router", "--router", OPTION_BOOL, 0, 0, NULL},
	{"experts", "--experts", OPTION_INT, 1, 1024, NULL},
	{"lr", "--lr", OPTION_NUMBER, 0, 10, NULL},
	{"schedule", "--schedule", OPTION_WORD, 0, 0, "constant|cosine|linear"},
	{"warmup", "--warmup", OPTION_INT, 0, 1e9, NULL},
	{"decay", "--decay", OPTION_NUMBER, 0, 10, NULL},
	{"clip", "--clip", OPTION_NUMBER, 0, 1e9, NULL},
	{"eval_every", "--eval-every", OPTION_INT, 1, 1e9, NULL},
	{"eval_temperature", "--eval-temp", OPTION_NUMBER, 0, 100, NULL},
	{"save_every", "--save-every", OPTION_INT, 1, 1e9, NULL},
	{"threads", "--threads", OPTION_INT, 1, 1024, NULL}
};

/* ------------------------------------------------------------------
 *	Values
 * ------------------------------------------------------------------
 */

static double
read_number(const Option *option, const JsonbValue *value)
{
	if (option->kind == OPTION_INT)
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
		size_t		length = option->kind == OPTION_WORDS ? strcspn(at, ",") : strlen(at);

		if (!is_word(at, length, option->words))
			option_refuse(option->name, psprintf("%s %s", option->kind == OPTION_WORDS ? "a list, with commas, of" : "one of",
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
		case OPTION_BOOL:
			*given = option_bool(option->name, value);
			return NULL;
		case OPTION_WORD:
		case OPTION_WORDS:
			return read_words(option, value);
		case OPTION_TEXT:
			options->eval = option_string(option->name, value);
			return options->eval;
		default:
			number = read_number(option, value);
			note_number(options, option->name, number);
			return option->kind == OPTION_INT ? psprintf(INT64_FORMAT, (int64) number) : psprintf("%.17g", number);
	}
}

static void
read_one(GrpoOptions *options, const char *name, const JsonbValue *value)
{
	for (int i = 0; i < lengthof(known_options); i++)
	{
		const Option *option = &known_options[i];
		bool		given;
		char	   *text;

		if (strcmp(option->name, name) != 0)
			continue;
		text = read_value(options, option, value, &given);
		if (!given || option->flag == NULL)
			return;
		options->arguments = lappend(options->arguments, pstrdup(option->flag));
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
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	*options = (GrpoOptions)
	{
		.steps = 100, .batch = 4, .max_tokens = 64, .seed = 1, .reward_timeout = 10000, .rollouts = 4
	};
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
		if (value.type != jbvNull)	/* as if it were not given */
			read_one(options, pnstrdup(key.val.string.val, key.val.string.len), &value);
	}
}
