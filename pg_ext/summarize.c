/*-------------------------------------------------------------------------
 *
 * summarize.c
 *	  dsr1_summarize(), and the aggregates dsr1_agg() and dsr1_summarize_agg()
 *
 * An aggregate's texts are joined as long as they fit half the context.  More
 * than that is answered part by part, all parts at once, and the answers are
 * the texts of the next round.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "complete.h"
#include "engine_text.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "options.h"
#include "prompt.h"
#include "settings.h"
#include "utils/builtins.h"

/* ------------------------------------------------------------------
 *	One text
 * ------------------------------------------------------------------
 */

#define WORDS_MAX	10000
#define TOKENS_PER_WORD 3

/* The first words, as many as wanted. */
static text *
first_words(text *answer, int n)
{
	char	   *string = text_to_cstring(answer);
	char	   *at = string;

	while (isspace((unsigned char) *at))
		at++;
	string = at;
	for (; n > 0 && *at; n--)
	{
		while (isspace((unsigned char) *at))
			at++;
		while (*at && !isspace((unsigned char) *at))
			at++;
	}
	return cstring_to_text_with_len(string, at - string);
}

PG_FUNCTION_INFO_V1(sql_summarize);

Datum
sql_summarize(PG_FUNCTION_ARGS)
{
	int32		max_words = PG_GETARG_INT32(1);
	struct wire_complete *complete;
	StringInfoData task;
	Call		call;
	text	   *answer;

	if (max_words < 1 || max_words > WORDS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_words must be between 1 and %d", WORDS_MAX)));
	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	complete = options_new();
	complete->max_tokens = max_words * TOKENS_PER_WORD;
	initStringInfo(&task);
	appendStringInfo(&task, "Summarize the text in at most %d words.", max_words);
	prompt_about(&complete->prompt, &task, engine_text(PG_GETARG_TEXT_PP(0)));
	complete_ask(&call, complete);
	answer = call_text(&call);
	if (answer == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(first_words(answer, max_words));
}

/* ------------------------------------------------------------------
 *	Many texts
 * ------------------------------------------------------------------
 */

#define DEFAULT_CONTEXT	4096	/* tokens, where dsr1.context_size leaves it to the engine */
#define BYTES_PER_TOKEN	2		/* at least, in nearly all texts */
#define ROUNDS_MAX	20

typedef struct AggState
{
	text	   *instruction;	/* NULL before the first row */
	List	   *texts;
	MemoryContext context;
} AggState;

static AggState *
agg_state(FunctionCallInfo fcinfo)
{
	MemoryContext context;
	AggState   *state;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "called in non-aggregate context");
	if (!PG_ARGISNULL(0))
		return (AggState *) PG_GETARG_POINTER(0);
	state = MemoryContextAllocZero(context, sizeof(AggState));
	state->context = context;
	return state;
}

static void
add_text(AggState *state, text *input)
{
	MemoryContext caller = MemoryContextSwitchTo(state->context);

	state->texts = lappend(state->texts, DatumGetTextPCopy(PointerGetDatum(input)));
	MemoryContextSwitchTo(caller);
}

PG_FUNCTION_INFO_V1(sql_agg_add);

/* (internal, input text, instruction text) */
Datum
sql_agg_add(PG_FUNCTION_ARGS)
{
	AggState   *state = agg_state(fcinfo);

	if (!PG_ARGISNULL(1))
		add_text(state, PG_GETARG_TEXT_PP(1));
	if (PG_NARGS() > 2 && !PG_ARGISNULL(2) && state->instruction == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(state->context);

		state->instruction = PG_GETARG_TEXT_P_COPY(2);
		MemoryContextSwitchTo(caller);
	}
	PG_RETURN_POINTER(state);
}

/* How many bytes of texts one request may have. */
static size_t
room(void)
{
	size_t		context = setting_context_size > 0 ? setting_context_size : DEFAULT_CONTEXT;

	return context * BYTES_PER_TOKEN / 2;
}

/* Texts from *at on, while they fit; one that does not fit alone is cut. */
static struct wire_text
next_part(List *texts, int *at)
{
	StringInfoData part;

	initStringInfo(&part);
	while (*at < list_length(texts))
	{
		text	   *given = list_nth(texts, *at);
		struct wire_text text = engine_text(given);

		if (text.size > room())
			text.size = pg_encoding_mbcliplen(PG_UTF8, text.data, (int) text.size, (int) room());
		if (part.len > 0 && part.len + text.size > room())
			break;
		appendStringInfoString(&part, part.len > 0 ? "\n\n" : "");
		prompt_append(&part, text);
		(*at)++;
	}
	return prompt_text(&part);
}

/* One round: each part's answer is a text of the result. */
static List *
answer_parts(FunctionCallInfo fcinfo, List *texts, const char *instruction)
{
	StringInfoData task;
	struct wire_done done;
	List	   *answers = NIL;
	Call		call;

	(void) call_open(&call, fcinfo);
	initStringInfo(&task);
	prompt_append(&task, engine_text(cstring_to_text(instruction)));
	for (int at = 0; at < list_length(texts);)
	{
		struct wire_complete *complete = options_new();

		prompt_about(&complete->prompt, &task, next_part(texts, &at));
		complete_ask(&call, complete);
	}
	if (!call_send(&call))
		return NIL;
	for (int i = 0; i < call.n_entries; i++)
	{
		if (!call_done(&call, i, &done))
			return NIL;
		answers = lappend(answers, engine_text_back(done.piece.text));
	}
	call_close(&call);
	return answers;
}

static Datum
reduce(FunctionCallInfo fcinfo, const char *instruction)
{
	AggState   *state = PG_ARGISNULL(0) ? NULL : (AggState *) PG_GETARG_POINTER(0);
	List	   *texts = state ? state->texts : NIL;

	if (texts == NIL)
		PG_RETURN_NULL();
	if (state->instruction)
		instruction = text_to_cstring(state->instruction);
	for (int round = 0; round < ROUNDS_MAX; round++)
	{
		texts = answer_parts(fcinfo, texts, instruction);
		if (texts == NIL)
			PG_RETURN_NULL();
		if (list_length(texts) == 1)
			PG_RETURN_TEXT_P(linitial(texts));
	}
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("answers about parts of the texts do not get shorter"),
			 errhint("Lower dsr1.max_tokens, or ask for shorter answers.")));
}

PG_FUNCTION_INFO_V1(sql_agg_answer);

Datum
sql_agg_answer(PG_FUNCTION_ARGS)
{
	return reduce(fcinfo, "Tell what these texts have in common.");
}

PG_FUNCTION_INFO_V1(sql_agg_summary);

Datum
sql_agg_summary(PG_FUNCTION_ARGS)
{
	return reduce(fcinfo, "Summarize these texts in one paragraph.");
}
