/*-------------------------------------------------------------------------
 *
 * chat.c
 *	  dsr1_chat(): the next turn of a conversation
 *
 * Tools are described to the model and its call of one is recognised in its
 * answer; nothing is ever executed.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/jsonapi.h"
#include "compat.h"
#include "complete.h"
#include "engine_text.h"
#include "mb/pg_wchar.h"
#include "options.h"
#include "prompt.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

static const char *const chat_options[] = {"tools", "tool_choice", "logprobs", "schema", NULL};

/* ------------------------------------------------------------------
 *	The question
 * ------------------------------------------------------------------
 */

static void
raise_bad_messages(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("messages must be a JSON array of objects with \"role\" and \"content\""),
			 errhint("For example '[{\"role\": \"user\", \"content\": \"Hello\"}]'.")));
}

static struct wire_text
string_of(JsonbValue *value)
{
	if (value == NULL || value->type != jbvString)
		raise_bad_messages();
	return engine_text(cstring_to_text_with_len(value->val.string.val, value->val.string.len));
}

static void
add_message(struct wire_prompt *prompt, const JsonbValue *element)
{
	Jsonb	   *message;
	struct wire_text role;

	if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
		raise_bad_messages();
	if (prompt->n_turns >= WIRE_TURN_MAX - 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a conversation may have at most %d messages", WIRE_TURN_MAX - 1)));
	message = JsonbValueToJsonb(unconstify(JsonbValue *, element));
	role = string_of(options_find(message, "role"));
	prompt_turn(prompt, pnstrdup(role.data, role.size), string_of(options_find(message, "content")));
}

static void
read_messages(struct wire_prompt *prompt, Jsonb *messages)
{
	JsonbIterator *it;
	JsonbValue	element;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_ARRAY(messages) || JB_ROOT_IS_SCALAR(messages))
		raise_bad_messages();
	it = JsonbIteratorInit(&messages->root);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			add_message(prompt, &element);
	if (prompt->n_turns == 0)
		raise_bad_messages();
}

/* Tools come as the last thing that the system says. */
static void
add_tools(struct wire_prompt *prompt, JsonbValue *tools)
{
	StringInfoData system;

	if (tools->type != jbvBinary || !JsonContainerIsArray(tools->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"tools\" must be a JSON array")));
	if (prompt->n_turns == 0 || prompt->turns[0].role.size != 6 || memcmp(prompt->turns[0].role.data, "system", 6) != 0)
	{
		memmove(&prompt->turns[1], &prompt->turns[0], prompt->n_turns * sizeof(prompt->turns[0]));
		prompt->turns[0] = (struct wire_turn){wire_text("system"), wire_text("")};
		prompt->n_turns++;
	}
	initStringInfo(&system);
	prompt_append(&system, prompt->turns[0].content);
	appendStringInfoString(&system, system.len ? "\n\n" : "");
	appendStringInfoString(&system, "These functions can be called:\n");
	prompt_append(&system, engine_text(cstring_to_text(JsonbToCString(NULL, tools->val.binary.data, 0))));
	appendStringInfoString(&system, "\nTo call one, answer with nothing but a JSON object "
						   "{\"name\": its name, \"arguments\": {its arguments}}.");
	prompt->turns[0].content = prompt_text(&system);
}

static void
read_constraint(struct wire_complete *complete, Jsonb *options)
{
	JsonbValue *schema = options_find(options, "schema");
	JsonbValue *choice = options_find(options, "tool_choice");

	if (schema)
	{
		complete->constraint = DSR1_CONSTRAINT_JSON_SCHEMA;
		complete->constraint_texts[0] =
			engine_text(cstring_to_text(JsonbToCString(NULL, &JsonbValueToJsonb(schema)->root, 0)));
		complete->n_constraint = 1;
	}
	else if (choice && choice->type == jbvString && choice->val.string.len == 8 &&
			 memcmp(choice->val.string.val, "required", 8) == 0)
	{
		complete->constraint = DSR1_CONSTRAINT_JSON_SCHEMA;
		complete->constraint_texts[0] =
			wire_text("{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"arguments\":{\"type\":\"object\"}},"
					  "\"required\":[\"name\",\"arguments\"],\"additionalProperties\":false}");
		complete->n_constraint = 1;
	}
}

static struct wire_complete *
read_question(Jsonb *messages, Jsonb *options)
{
	struct wire_complete *complete = options_new();
	JsonbValue *tools;
	JsonbValue *logprobs;

	options_read(complete, options, chat_options);
	complete->prompt.kind = WIRE_PROMPT_CHAT;
	read_messages(&complete->prompt, messages);
	tools = options_find(options, "tools");
	if (tools)
		add_tools(&complete->prompt, tools);
	read_constraint(complete, options);
	logprobs = options_find(options, "logprobs");
	complete->want_logprobs = logprobs && logprobs->type == jbvBool && logprobs->val.boolean;
	return complete;
}

/* ------------------------------------------------------------------
 *	The answer
 * ------------------------------------------------------------------
 */

static const char *
finish_name(dsr1_finish finish)
{
	switch (finish)
	{
		case DSR1_FINISH_LENGTH:
			return "length";
		case DSR1_FINISH_STOP:
		case DSR1_FINISH_END:
			return "stop";
		default:
			return "error";
	}
}

static void
append_string(StringInfo json, const char *key, text *value)
{
	appendStringInfo(json, "\"%s\": ", key);
	escape_json(json, text_to_cstring(value));
	appendStringInfoString(json, ", ");
}

/* Tokens may be parts of characters, so their text may be no text; those are left out. */
static void
append_logprobs(StringInfo json, const struct wire_piece *piece)
{
	struct wire_token token;
	size_t		at = 0;
	const char *separator = "";

	appendStringInfoString(json, ", \"logprobs\": [");
	while (wire_next_token(piece, &at, &token))
	{
		if (isnan(token.logprob))
			continue;
		appendStringInfo(json, "%s{\"id\": %d, \"logprob\": %.9g}", separator, token.id, token.logprob);
		separator = ", ";
	}
	appendStringInfoChar(json, ']');
}

/* The answer as a call of a tool, or NULL if it is none. */
static char *
find_tool_call(text *content)
{
	Jsonb	   *call;
	JsonbValue *name;
	JsonbValue *arguments;
	StringInfoData out;
	char	   *string = text_to_cstring(content);
	char	   *open = strchr(string, '{');
	char	   *close = strrchr(string, '}');

	if (open == NULL || close == NULL || close < open)
		return NULL;
	close[1] = '\0';
	/* an answer may be anything, and that is no error */
	if (pg_parse_json(compat_json_lexer(open, (int) strlen(open)), &nullSemAction) != JSON_SUCCESS)
		return NULL;
	call = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(open)));
	name = JB_ROOT_IS_OBJECT(call) ? options_find(call, "name") : NULL;
	if (name == NULL || name->type != jbvString)
		return NULL;
	arguments = options_find(call, "arguments");
	initStringInfo(&out);
	appendStringInfoString(&out, "\"tool_calls\": [{\"name\": ");
	escape_json(&out, pnstrdup(name->val.string.val, name->val.string.len));
	appendStringInfo(&out, ", \"arguments\": %s}], ",
					 arguments && arguments->type == jbvBinary ?
					 JsonbToCString(NULL, arguments->val.binary.data, 0) : "{}");
	return out.data;
}

static char *
answer_json(const struct wire_done *done, bool tools, bool logprobs)
{
	StringInfoData json;
	text	   *content = engine_text_back(done->piece.text);
	char	   *tool_call = tools ? find_tool_call(content) : NULL;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	if (tool_call)
		appendStringInfo(&json, "\"content\": null, %s", tool_call);
	else
		append_string(&json, "content", content);
	if (done->piece.reasoning.size > 0)
		append_string(&json, "reasoning", engine_text_back(done->piece.reasoning));
	appendStringInfo(&json, "\"finish_reason\": \"%s\", \"usage\": {\"prompt\": %d, \"cached\": %d, \"completion\": %d}",
					 tool_call ? "tool_calls" : finish_name(done->finish),
					 done->usage.prompt_tokens, done->usage.cached_tokens, done->usage.completion_tokens);
	if (logprobs)
		append_logprobs(&json, &done->piece);
	appendStringInfoChar(&json, '}');
	return json.data;
}

PG_FUNCTION_INFO_V1(sql_chat);

Datum
sql_chat(PG_FUNCTION_ARGS)
{
	struct wire_complete *complete;
	struct wire_done done;
	Jsonb	   *options;
	Call		call;
	char	   *json;
	bool		logprobs;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	options = PG_GETARG_JSONB_P(1);
	complete = read_question(PG_GETARG_JSONB_P(0), options);
	logprobs = complete->want_logprobs;
	complete_ask(&call, complete);
	if (!call_send(&call) || !call_done(&call, 0, &done))
		PG_RETURN_NULL();
	json = answer_json(&done, options_find(options, "tools") != NULL, logprobs);
	call_close(&call);
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}
