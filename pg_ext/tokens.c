/*-------------------------------------------------------------------------
 *
 * tokens.c
 *	  dsr1_count_tokens(), dsr1_tokenize(), dsr1_detokenize(), dsr1_truncate()
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "call.h"
#include "catalog/pg_type.h"
#include "engine_text.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"

/* The tokens of argument 0, or their number alone.  False: NULL. */
static bool
tokens_of(FunctionCallInfo fcinfo, bool want_ids, Call *call, uint64 *n_tokens, struct wire_ids *ids)
{
	struct wire_tokens tokens = {.text = engine_text(PG_GETARG_TEXT_PP(0)),.want_ids = want_ids};
	struct wire_frame frame;
	EngineRequest *request;

	if (!call_open(call, fcinfo))
		return false;
	request = call_request(call);
	call_ask(call, wire_put_tokens(&request->frame, request->id, &tokens));
	if (!call_send(call) || !call_answer(call, 0, &frame))
		return false;
	if (frame.type != WIRE_TOKENS_RESULT || wire_get_tokens_result(&frame, n_tokens, ids) < 0 ||
		*n_tokens > PG_INT32_MAX || (want_ids && ids->n != *n_tokens))
		engine_answer_broken();
	return true;
}

PG_FUNCTION_INFO_V1(sql_count_tokens);

Datum
sql_count_tokens(PG_FUNCTION_ARGS)
{
	Call		call;
	struct wire_ids ids;
	uint64		n;

	if (!tokens_of(fcinfo, false, &call, &n, &ids))
		PG_RETURN_NULL();
	call_close(&call);
	PG_RETURN_INT32((int32) n);
}

PG_FUNCTION_INFO_V1(sql_tokenize);

Datum
sql_tokenize(PG_FUNCTION_ARGS)
{
	Call		call;
	struct wire_ids ids;
	Datum	   *elements;
	uint64		n;

	if (!tokens_of(fcinfo, true, &call, &n, &ids))
		PG_RETURN_NULL();
	elements = palloc_extended((n + 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < n; i++)
		elements[i] = Int32GetDatum(wire_id(&ids, i));
	call_close(&call);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, (int) n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

/* The text of some tokens, as bytes in UTF-8; what they end with may be part of a character.  False: NULL. */
static bool
bytes_of(Call *call, const int32 *ids, uint32 n, struct wire_text *bytes)
{
	EngineRequest *request = call_request(call);
	struct wire_frame frame;

	call_ask(call, wire_put_detokenize(&request->frame, request->id, ids, n));
	if (!call_send(call) || !call_answer(call, 0, &frame))
		return false;
	if (frame.type != WIRE_TEXT_RESULT || wire_get_text_result(&frame, bytes) < 0)
		engine_answer_broken();
	return true;
}

static int32 *
read_ids(ArrayType *array, int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	int32	   *ids;

	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT, &elements, &nulls, n);
	ids = palloc((*n + 1) * sizeof(int32));
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("tokens must not be null")));
		ids[i] = DatumGetInt32(elements[i]);
	}
	return ids;
}

PG_FUNCTION_INFO_V1(sql_detokenize);

Datum
sql_detokenize(PG_FUNCTION_ARGS)
{
	Call		call;
	struct wire_text bytes;
	text	   *result;
	int32	   *ids;
	int			n;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	ids = read_ids(PG_GETARG_ARRAYTYPE_P(0), &n);
	if (!bytes_of(&call, ids, (uint32) n, &bytes))
		PG_RETURN_NULL();
	result = engine_text_back(bytes);
	call_close(&call);
	PG_RETURN_TEXT_P(result);
}

/* The end of the last whole character. */
static size_t
whole_characters(struct wire_text bytes)
{
	size_t		size = 0;

	while (size < bytes.size)
	{
		int			length = pg_utf_mblen((const unsigned char *) bytes.data + size);

		if (size + length > bytes.size)
			break;
		size += length;
	}
	return size;
}

PG_FUNCTION_INFO_V1(sql_truncate);

/*
 * The longest beginning of the text, in whole characters, that its first
 * max_tokens tokens spell.
 */
Datum
sql_truncate(PG_FUNCTION_ARGS)
{
	int32		most = PG_GETARG_INT32(1);
	Call		call;
	struct wire_ids ids;
	struct wire_text bytes;
	int32	   *first;
	text	   *result;
	uint64		n;

	if (most < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_tokens must not be negative")));
	if (!tokens_of(fcinfo, true, &call, &n, &ids))
		PG_RETURN_NULL();
	first = palloc((most < n ? most + 1 : 1) * sizeof(int32));
	for (int i = 0; most < n && i < most; i++)
		first[i] = wire_id(&ids, i);
	call_close(&call);
	if (n <= most)
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	if (!bytes_of(&call, first, (uint32) most, &bytes))
		PG_RETURN_NULL();
	bytes.size = whole_characters(bytes);
	result = engine_text_back(bytes);
	call_close(&call);
	PG_RETURN_TEXT_P(result);
}
