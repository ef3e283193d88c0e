/*-------------------------------------------------------------------------
 *
 * classify.c
 *	  dsr1_classify(), dsr1_classify_multi(), dsr1_scores()
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "adapter.h"
#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "engine_text.h"
#include "labels.h"
#include "settings.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/syscache.h"

/* ------------------------------------------------------------------
 *	One of the labels
 * ------------------------------------------------------------------
 */

static void
ask_which(Labels *labels, Call *call, struct wire_text input, text *instruction)
{
	struct wire_prompt *prompt = palloc0(sizeof(*prompt));
	StringInfoData task;

	initStringInfo(&task);
	appendStringInfoString(&task, "Classify the text. Answer with one of these labels:");
	labels_append(labels, &task);
	appendStringInfoChar(&task, '.');
	prompt_append_more(&task, instruction);
	prompt_about(prompt, &task, input);
	labels_ask(labels, call, prompt);
	labels_ask_neutral(labels, call, &task);
	pfree(prompt);
}

static bool
scores_of(FunctionCallInfo fcinfo, Labels *labels, float8 **probabilities)
{
	Call		call;
	struct wire_text *texts;
	int			n;

	if (!call_open(&call, fcinfo))
		return false;
	texts = prompt_texts(PG_GETARG_ARRAYTYPE_P(1), "labels", WIRE_LIST_MAX, &n);
	labels_open(labels, texts, n);
	ask_which(labels, &call, engine_text(PG_GETARG_TEXT_PP(0)), PG_GETARG_TEXT_PP(2));
	*probabilities = palloc(n * sizeof(float8));
	return labels_answer(labels, &call, *probabilities);
}

PG_FUNCTION_INFO_V1(sql_classify);

Datum
sql_classify(PG_FUNCTION_ARGS)
{
	Labels		labels;
	float8	   *probabilities;

	if (!scores_of(fcinfo, &labels, &probabilities))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(engine_text_back(labels.texts[labels_best(&labels, probabilities)]));
}

PG_FUNCTION_INFO_V1(sql_scores);

Datum
sql_scores(PG_FUNCTION_ARGS)
{
	Labels		labels;
	float8	   *probabilities;
	Datum	   *elements;

	if (!scores_of(fcinfo, &labels, &probabilities))
		PG_RETURN_NULL();
	elements = palloc(labels.n * sizeof(Datum));
	for (int i = 0; i < labels.n; i++)
		elements[i] = Float8GetDatum(probabilities[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, labels.n, FLOAT8OID, sizeof(float8),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* ------------------------------------------------------------------
 *	One of an enum's labels
 * ------------------------------------------------------------------
 */

typedef struct EnumLabels
{
	int			n;
	struct wire_text *texts;
	Oid		   *values;
} EnumLabels;

static void
read_enum(Oid type, EnumLabels *labels)
{
	CatCList   *list = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(type));

	labels->n = 0;
	labels->texts = palloc((list->n_members + 1) * sizeof(struct wire_text));
	labels->values = palloc((list->n_members + 1) * sizeof(Oid));
	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_enum label = (Form_pg_enum) GETSTRUCT(&list->members[i]->tuple);

		labels->texts[labels->n] = engine_text(cstring_to_text(NameStr(label->enumlabel)));
		labels->values[labels->n++] = label->oid;
	}
	ReleaseCatCacheList(list);
	if (labels->n == 0 || labels->n > WIRE_LIST_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an enum to classify by must have between 1 and %d labels", WIRE_LIST_MAX)));
}

PG_FUNCTION_INFO_V1(sql_classify_enum);

Datum
sql_classify_enum(PG_FUNCTION_ARGS)
{
	Call		call;
	EnumLabels	given;
	Labels		labels;
	float8	   *probabilities;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2) || !call_open(&call, fcinfo))
		PG_RETURN_NULL();
	read_enum(get_fn_expr_argtype(fcinfo->flinfo, 1), &given);
	labels_open(&labels, given.texts, given.n);
	ask_which(&labels, &call, engine_text(PG_GETARG_TEXT_PP(0)), PG_GETARG_TEXT_PP(2));
	probabilities = palloc(given.n * sizeof(float8));
	if (!labels_answer(&labels, &call, probabilities))
		PG_RETURN_NULL();
	PG_RETURN_OID(given.values[labels_best(&labels, probabilities)]);
}

/* ------------------------------------------------------------------
 *	All labels that apply
 * ------------------------------------------------------------------
 */

/*
 * The answer would be an object that says for each label whether it applies;
 * what is scored is each label's true against its false.
 */
static void
ask_each(const Labels *labels, Call *call, struct wire_text input, text *instruction)
{
	struct wire_score *score = palloc0(sizeof(*score));
	EngineRequest *request;
	StringInfoData task;

	initStringInfo(&task);
	appendStringInfoString(&task, "Tell which of these labels apply to the text, any number of them:");
	labels_append(labels, &task);
	appendStringInfoString(&task, ". Answer with a JSON object that gives true or false for each.");
	prompt_append_more(&task, instruction);
	score->terms.priority = setting_priority;
	adapter_resolve(&score->terms);
	prompt_about(&score->prompt, &task, input);
	score->prompt.opening = wire_text("{");
	for (int i = 0; i < labels->n_places; i++)
	{
		for (int truth = 1; truth >= 0; truth--)
		{
			StringInfoData item;

			initStringInfo(&item);
			prompt_append_quoted(&item, labels->texts[labels->at[i]]);
			appendStringInfoString(&item, truth ? ": true" : ": false");
			score->continuations[score->n_continuations++] = prompt_text(&item);
		}
	}
	request = call_request(call);
	call_ask(call, wire_put_score(&request->frame, request->id, score));
	pfree(score);
}

static ArrayType *
those_above(const Labels *labels, double *scores, float8 threshold)
{
	Datum	   *elements = palloc(labels->n * sizeof(Datum));
	int			n = 0;

	for (int place = 0; place < labels->n_places; place++)
		labels_normalise(scores + 2 * place, 2);
	for (int i = 0; i < labels->n; i++)
		if (scores[2 * labels->place[i]] >= threshold)
			elements[n++] = PointerGetDatum(engine_text_back(labels->texts[i]));
	return construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT);
}

PG_FUNCTION_INFO_V1(sql_classify_multi);

Datum
sql_classify_multi(PG_FUNCTION_ARGS)
{
	Call		call;
	Labels		labels;
	struct wire_text *texts;
	struct wire_score_result result;
	float8		threshold = PG_GETARG_FLOAT8(2);
	int			n;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	if (isnan(threshold) || threshold < 0 || threshold > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("threshold must be between 0 and 1")));
	texts = prompt_texts(PG_GETARG_ARRAYTYPE_P(1), "labels", WIRE_LIST_MAX / 2, &n);
	labels_open(&labels, texts, n);
	ask_each(&labels, &call, engine_text(PG_GETARG_TEXT_PP(0)), PG_GETARG_TEXT_PP(3));
	if (!call_send(&call) || !call_scores(&call, 0, &result))
		PG_RETURN_NULL();
	call_close(&call);
	if (result.n != 2 * labels.n_places)
		engine_answer_broken();
	PG_RETURN_ARRAYTYPE_P(those_above(&labels, result.scores, threshold));
}
