/*-------------------------------------------------------------------------
 *
 * judge.c
 *	  dsr1_filter(), dsr1_filter_score(), dsr1_score(), dsr1_rank(), dsr1_logprob()
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter.h"
#include "common/hashfn.h"
#include "engine_text.h"
#include "funcapi.h"
#include "judge.h"
#include "labels.h"
#include "rows.h"
#include "settings.h"

/* ------------------------------------------------------------------
 *	Yes or no
 * ------------------------------------------------------------------
 */

static struct wire_text yes_no[] = {{"yes", 3}, {"no", 2}};

/* The probability of yes; false: NULL. */
static bool
holds(FunctionCallInfo fcinfo, float8 *probability)
{
	struct wire_prompt *prompt;
	StringInfoData task;
	Labels		labels;
	float8		both[2];
	Call		call;

	if (!call_open(&call, fcinfo))
		return false;
	prompt = palloc0(sizeof(*prompt));
	initStringInfo(&task);
	appendStringInfoString(&task, "Tell whether this holds for the text:");
	prompt_append_more(&task, PG_GETARG_TEXT_PP(1));
	appendStringInfoString(&task, "\nAnswer \"yes\" or \"no\".");
	prompt_about(prompt, &task, engine_text(PG_GETARG_TEXT_PP(0)));
	labels_open(&labels, yes_no, 2);
	labels_ask(&labels, &call, prompt);
	pfree(prompt);
	if (!labels_answer(&labels, &call, both))
		return false;
	*probability = both[0];
	return true;
}

PG_FUNCTION_INFO_V1(sql_filter);

Datum
sql_filter(PG_FUNCTION_ARGS)
{
	float8		probability;

	if (!holds(fcinfo, &probability))
		PG_RETURN_NULL();
	judge_learn(PG_GETARG_TEXT_PP(1), probability >= 0.5);
	if (Max(probability, 1 - probability) < setting_filter_threshold)
		PG_RETURN_NULL();
	PG_RETURN_BOOL(probability >= 0.5);
}

PG_FUNCTION_INFO_V1(sql_filter_score);

Datum
sql_filter_score(PG_FUNCTION_ARGS)
{
	float8		probability;

	if (!holds(fcinfo, &probability))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(probability);
}

/* ------------------------------------------------------------------
 *	How many rows a condition keeps
 * ------------------------------------------------------------------
 */

#define N_LEARNED	256

typedef struct Learned
{
	uint32		condition;		/* hash; a collision only makes a guess worse */
	uint32		n, n_yes;
} Learned;

static Learned learned[N_LEARNED];

static uint32
hash_condition(const text *condition)
{
	return hash_bytes((const unsigned char *) VARDATA_ANY(condition), VARSIZE_ANY_EXHDR(condition));
}

void
judge_learn(const text *condition, bool yes)
{
	uint32		hash = hash_condition(condition);
	Learned    *one = &learned[hash % N_LEARNED];

	if (one->condition != hash || one->n > PG_INT32_MAX)
		*one = (Learned){.condition = hash};
	one->n++;
	one->n_yes += yes;
}

float8
judge_selectivity(const text *condition)
{
	uint32		hash = hash_condition(condition);
	const Learned *one = &learned[hash % N_LEARNED];

	/* as if one of three had been seen before */
	return one->condition == hash ? (one->n_yes + 1.0) / (one->n + 3.0) : 1.0 / 3;
}

/* ------------------------------------------------------------------
 *	A mark
 * ------------------------------------------------------------------
 */

static struct wire_text
digits(int number)
{
	return wire_text(psprintf("%d", number));
}

PG_FUNCTION_INFO_V1(sql_score);

Datum
sql_score(PG_FUNCTION_ARGS)
{
	struct wire_prompt *prompt;
	struct wire_text *levels,
			   *marks;
	StringInfoData task;
	Labels		labels;
	float8	   *probabilities;
	float8		sum = 0;
	Call		call;
	int			n;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	levels = prompt_texts(PG_GETARG_ARRAYTYPE_P(1), "levels", 100, &n);
	marks = palloc(n * sizeof(*marks));
	prompt = palloc0(sizeof(*prompt));
	initStringInfo(&task);
	appendStringInfoString(&task, "Give the text a mark:");
	for (int i = 0; i < n; i++)
	{
		marks[i] = digits(i + 1);
		appendStringInfo(&task, "\n%d: ", i + 1);
		prompt_append(&task, levels[i]);
	}
	appendStringInfoString(&task, "\nAnswer with the number alone.");
	prompt_about(prompt, &task, engine_text(PG_GETARG_TEXT_PP(0)));
	labels_open(&labels, marks, n);
	labels_ask(&labels, &call, prompt);
	pfree(prompt);
	probabilities = palloc(n * sizeof(float8));
	if (!labels_answer(&labels, &call, probabilities))
		PG_RETURN_NULL();
	for (int i = 0; i < n; i++)
		sum += (i + 1) * probabilities[i];
	PG_RETURN_FLOAT8(sum);
}

/* ------------------------------------------------------------------
 *	An order
 * ------------------------------------------------------------------
 */

#define RANK_MAX	10000

typedef struct Ranked
{
	int			ord;
	float8		score;
} Ranked;

static int
compare_ranked(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;

	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	return (x->ord > y->ord) - (x->ord < y->ord);
}

/* All documents are asked about at once. */
static void
ask_relevance(Call *call, const Labels *labels, struct wire_text query, const struct wire_text *documents, int n)
{
	struct wire_prompt *prompt = palloc(sizeof(*prompt));
	StringInfoData task;

	initStringInfo(&task);
	appendStringInfoString(&task, "Tell whether the text answers this query: ");
	prompt_append(&task, query);
	appendStringInfoString(&task, "\nAnswer \"yes\" or \"no\".");
	for (int i = 0; i < n; i++)
	{
		memset(prompt, 0, sizeof(*prompt));
		prompt_about(prompt, &task, documents[i]);
		labels_ask(labels, call, prompt);
	}
	pfree(prompt);
}

static bool
rank(Call *call, Ranked *ranked, int n)
{
	struct wire_score_result result;

	for (int i = 0; i < n; i++)
	{
		if (!call_scores(call, i, &result))
			return false;
		labels_normalise(result.scores, 2);
		/* "no" comes before "yes" */
		ranked[i] = (Ranked){.ord = i + 1,.score = result.scores[1]};
	}
	call_close(call);
	qsort(ranked, n, sizeof(*ranked), compare_ranked);
	return true;
}

PG_FUNCTION_INFO_V1(sql_rank);

Datum
sql_rank(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result;
	struct wire_text *documents;
	Labels		labels;
	Ranked	   *ranked = NULL;
	Call		call;
	int			n;

	if (ARR_NDIM(PG_GETARG_ARRAYTYPE_P(1)) > 0 && call_open(&call, fcinfo))
		documents = prompt_texts(PG_GETARG_ARRAYTYPE_P(1), "documents", RANK_MAX, &n);
	else
		n = 0;
	if (n > 0)
	{
		labels_open(&labels, yes_no, 2);
		ask_relevance(&call, &labels, engine_text(PG_GETARG_TEXT_PP(0)), documents, n);
		ranked = palloc(n * sizeof(*ranked));
		if (!call_send(&call) || !rank(&call, ranked, n))
			n = 0;
	}
	result = rows_begin(fcinfo);
	for (int i = 0; i < n; i++)
	{
		Datum		values[2] = {Int32GetDatum(ranked[i].ord), Float8GetDatum(ranked[i].score)};
		bool		nulls[2] = {false, false};

		rows_put(result, values, nulls);
	}
	return (Datum) 0;
}

/* ------------------------------------------------------------------
 *	A likelihood
 * ------------------------------------------------------------------
 */

PG_FUNCTION_INFO_V1(sql_logprob);

Datum
sql_logprob(PG_FUNCTION_ARGS)
{
	struct wire_score *score;
	struct wire_score_result result;
	EngineRequest *request;
	Call		call;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	score = palloc0(sizeof(*score));
	score->terms.priority = setting_priority;
	adapter_resolve(&score->terms);
	score->prompt.kind = WIRE_PROMPT_RAW;
	prompt_turn(&score->prompt, "", engine_text(PG_GETARG_TEXT_PP(0)));
	score->n_continuations = 1;
	score->continuations[0] = engine_text(PG_GETARG_TEXT_PP(1));
	request = call_request(&call);
	call_ask(&call, wire_put_score(&request->frame, request->id, score));
	pfree(score);
	if (!call_send(&call) || !call_scores(&call, 0, &result))
		PG_RETURN_NULL();
	call_close(&call);
	if (result.n != 1)
		engine_answer_broken();
	PG_RETURN_FLOAT8(result.scores[0]);
}
