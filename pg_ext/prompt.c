/*-------------------------------------------------------------------------
 *
 * prompt.c
 *	  prompts in parts, in UTF-8: what all rows share first, the row's text last
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "engine_text.h"
#include "prompt.h"
#include "utils/json.h"

void
prompt_turn(struct wire_prompt *prompt, const char *role, struct wire_text content)
{
	struct wire_turn *turn = &prompt->turns[prompt->n_turns++];

	turn->role = wire_text(role);
	turn->content = content;
}

void
prompt_about(struct wire_prompt *prompt, const StringInfoData *instruction, struct wire_text input)
{
	prompt->kind = WIRE_PROMPT_CHAT;
	prompt_turn(prompt, "system", prompt_text(instruction));
	prompt_turn(prompt, "user", input);
}

void
prompt_append(StringInfo to, struct wire_text text)
{
	appendBinaryStringInfo(to, text.data, (int) text.size);
}

void
prompt_append_more(StringInfo to, const text *more)
{
	struct wire_text text = engine_text(more);

	if (text.size == 0)
		return;
	appendStringInfoChar(to, ' ');
	prompt_append(to, text);
}

void
prompt_append_quoted(StringInfo to, struct wire_text text)
{
	escape_json(to, pnstrdup(text.data, text.size));
}

struct wire_text
prompt_text(const StringInfoData *from)
{
	return (struct wire_text)
	{
		.data = from->data,
		.size = (size_t) from->len
	};
}

static void
check_count(const char *what, int n, int most)
{
	if (n < 1 || n > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there must be between 1 and %d %s", most, what),
				 errdetail("There are %d.", n)));
}

struct wire_text *
prompt_texts(ArrayType *array, const char *what, int most, int *n)
{
	struct wire_text *texts;
	Datum	   *elements;
	bool	   *nulls;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, n);
	check_count(what, *n, most);
	texts = palloc(*n * sizeof(*texts));
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be null", what)));
		texts[i] = engine_text(DatumGetTextPP(elements[i]));
		if (texts[i].size == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s must not be empty", what)));
	}
	return texts;
}
