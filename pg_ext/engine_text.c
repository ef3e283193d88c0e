/*-------------------------------------------------------------------------
 *
 * engine_text.c
 *	  text of the database to text of the engine, which is UTF-8, and back
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "engine_text.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

struct wire_text
engine_text(const text *input)
{
	int			size = VARSIZE_ANY_EXHDR(input);
	char	   *given = VARDATA_ANY(input);
	char	   *utf8 = pg_server_to_any(given, size, PG_UTF8);

	return (struct wire_text)
	{
		.data = utf8,
		.size = utf8 == given ? (size_t) size : strlen(utf8)
	};
}

static void
explain_conversion(void *arg)
{
	errhint("Use a database with encoding UTF8.");
	errcontext("answer of the language model in the encoding of the database");
}

text *
engine_text_back(struct wire_text answer)
{
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = explain_conversion
	};
	char	   *utf8;
	char	   *converted;

	/* A zero byte would end every C string, and no encoding allows it. */
	utf8 = palloc(answer.size + 1);
	memcpy(utf8, answer.data, answer.size);
	utf8[answer.size] = '\0';
	error_context_stack = &context;
	(void) pg_verify_mbstr(PG_UTF8, utf8, answer.size, false);
	converted = pg_any_to_server(utf8, answer.size, PG_UTF8);
	error_context_stack = context.previous;
	return cstring_to_text(converted);
}
