/*-------------------------------------------------------------------------
 *
 * embed.c
 *	  dsr1_embed(), dsr1_similarity()
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter.h"
#include "call.h"
#include "catalog/pg_type.h"
#include "engine_text.h"
#include "model.h"
#include "settings.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* The session's adapter. */
static struct wire_text
current_adapter(void)
{
	struct wire_terms terms = {0};

	adapter_resolve(&terms);
	return terms.adapter;
}

static void
ask_embedding(Call *call, text *input, struct wire_text adapter)
{
	struct wire_embed embed = {
		.terms = {.priority = setting_priority, .adapter = adapter},
		.pooling = DSR1_POOLING_MEAN,
		.text = engine_text(input)
	};
	EngineRequest *request = call_request(call);

	call_ask(call, wire_put_embed(&request->frame, request->id, &embed));
}

/* False: NULL. */
static bool
read_embedding(Call *call, int i, struct wire_embed_result *result)
{
	struct wire_frame frame;

	if (!call_answer(call, i, &frame))
		return false;
	if (frame.type != WIRE_EMBED_RESULT || wire_get_embed_result(&frame, result) < 0)
		engine_answer_broken();
	return true;
}

static Datum
embed(FunctionCallInfo fcinfo, Call *call, struct wire_text adapter)
{
	struct wire_embed_result *result;
	Datum	   *elements;
	ArrayType  *array;

	ask_embedding(call, PG_GETARG_TEXT_PP(0), adapter);
	if (!call_send(call))
		PG_RETURN_NULL();
	result = palloc(sizeof(*result));
	if (!read_embedding(call, 0, result))
		PG_RETURN_NULL();
	elements = palloc((result->n + 1) * sizeof(Datum));
	for (uint32 i = 0; i < result->n; i++)
		elements[i] = Float4GetDatum(result->values[i]);
	array = construct_array(elements, (int) result->n, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT);
	call_close(call);
	pfree(result);
	pfree(elements);
	PG_RETURN_ARRAYTYPE_P(array);
}

PG_FUNCTION_INFO_V1(sql_embed);

Datum
sql_embed(PG_FUNCTION_ARGS)
{
	Call		call;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	return embed(fcinfo, &call, current_adapter());
}

static void
check_model(const char *wanted)
{
	uint64		model;
	char	   *served = model_digest(&model);

	if (strcmp(wanted, served) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the engine serves another model than the one asked for"),
				 errdetail("Asked for %s, served is %s.", wanted, served),
				 errhint("Set dsr1.model to that model, or compute again with the new one.")));
	call_pin_model(model);
}

PG_FUNCTION_INFO_V1(sql_embed_by);

/*
 * IMMUTABLE, for it depends on nothing but its arguments: another model is an
 * error, and dsr1.adapter has no say.
 */
Datum
sql_embed_by(PG_FUNCTION_ARGS)
{
	Call		call;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	check_model(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	return embed(fcinfo, &call, wire_text(""));
}

PG_FUNCTION_INFO_V1(sql_embed_by_adapter);

/* The same with the adapter of that digest, and no other. */
Datum
sql_embed_by_adapter(PG_FUNCTION_ARGS)
{
	Call		call;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	check_model(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	return embed(fcinfo, &call, adapter_pinned(text_to_cstring(PG_GETARG_TEXT_PP(2))));
}

PG_FUNCTION_INFO_V1(sql_similarity);

Datum
sql_similarity(PG_FUNCTION_ARGS)
{
	struct wire_embed_result *a;
	struct wire_embed_result *b;
	float8		sum = 0;
	Call		call;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	ask_embedding(&call, PG_GETARG_TEXT_PP(0), current_adapter());
	ask_embedding(&call, PG_GETARG_TEXT_PP(1), current_adapter());
	if (!call_send(&call))
		PG_RETURN_NULL();
	a = palloc(sizeof(*a));
	b = palloc(sizeof(*b));
	if (!read_embedding(&call, 0, a) || !read_embedding(&call, 1, b))
		PG_RETURN_NULL();
	call_close(&call);
	if (a->n != b->n)
		engine_answer_broken();
	/* embeddings have length 1 */
	for (uint32 i = 0; i < a->n; i++)
		sum += (float8) a->values[i] * b->values[i];
	pfree(a);
	pfree(b);
	PG_RETURN_FLOAT8(sum);
}
