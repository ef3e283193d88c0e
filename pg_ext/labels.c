/*-------------------------------------------------------------------------
 *
 * labels.c
 *	  which of some labels fits, by the probability of each whole label
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "adapter.h"
#include "labels.h"
#include "settings.h"

static int
compare_texts(const struct wire_text *a, const struct wire_text *b)
{
	int			order = memcmp(a->data, b->data, Min(a->size, b->size));

	return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static int
compare_labels(const void *a, const void *b, void *arg)
{
	const struct wire_text *texts = arg;

	return compare_texts(&texts[*(const int *) a], &texts[*(const int *) b]);
}

/* In order, a label comes right before those that begin with it, if there are any. */
static bool
begins_with(struct wire_text text, struct wire_text beginning)
{
	return text.size >= beginning.size && memcmp(text.data, beginning.data, beginning.size) == 0;
}

void
labels_open(Labels *labels, struct wire_text *texts, int n)
{
	int		   *order = palloc(n * sizeof(int));

	*labels = (Labels)
	{
		.n = n,
		.texts = texts,
		.place = palloc(n * sizeof(int)),
		.at = palloc(n * sizeof(int))
	};
	for (int i = 0; i < n; i++)
		order[i] = i;
	qsort_arg(order, n, sizeof(int), compare_labels, texts);
	for (int i = 0; i < n; i++)
	{
		if (i == 0 || compare_texts(&texts[order[i]], &texts[order[i - 1]]) != 0)
			labels->at[labels->n_places++] = order[i];
		labels->place[order[i]] = labels->n_places - 1;
	}
	for (int i = 1; i < labels->n_places; i++)
		labels->closed |= begins_with(texts[labels->at[i]], texts[labels->at[i - 1]]);
}

void
labels_append(const Labels *labels, StringInfo to)
{
	for (int i = 0; i < labels->n_places; i++)
	{
		appendStringInfoString(to, i ? ", " : " ");
		prompt_append_quoted(to, labels->texts[labels->at[i]]);
	}
}

/* The label as JSON has it, without the quote that the answer begins with. */
static struct wire_text
continuation(const Labels *labels, struct wire_text label)
{
	StringInfoData quoted;

	initStringInfo(&quoted);
	prompt_append_quoted(&quoted, label);
	return (struct wire_text)
	{
		.data = quoted.data + 1,
		.size = (size_t) quoted.len - (labels->closed ? 1 : 2)
	};
}

void
labels_ask(const Labels *labels, Call *call, struct wire_prompt *prompt)
{
	struct wire_score *score = palloc0(sizeof(*score));
	EngineRequest *request;

	score->terms.priority = setting_priority;
	adapter_resolve(&score->terms);
	score->prompt = *prompt;
	score->prompt.opening = wire_text("\"");
	score->n_continuations = (uint32_t) labels->n_places;
	for (int i = 0; i < labels->n_places; i++)
		score->continuations[i] = continuation(labels, labels->texts[labels->at[i]]);
	request = call_request(call);
	call_ask(call, wire_put_score(&request->frame, request->id, score));
	pfree(score);
}

void
labels_ask_neutral(Labels *labels, Call *call, const StringInfoData *task)
{
	/* those of the paper */
	static const char *const neutral[] = {"N/A", "[MASK]", ""};
	struct wire_prompt *prompt = palloc(sizeof(*prompt));

	if (!setting_calibrate)
		return;
	labels->n_neutral = lengthof(neutral);
	call->common = true;
	for (int i = 0; i < labels->n_neutral; i++)
	{
		memset(prompt, 0, sizeof(*prompt));
		prompt_about(prompt, task, wire_text(neutral[i]));
		labels_ask(labels, call, prompt);
	}
	call->common = false;
	pfree(prompt);
}

void
labels_normalise(double *scores, int n)
{
	double		best = scores[0];
	double		sum = 0;

	for (int i = 1; i < n; i++)
		best = fmax(best, scores[i]);
	for (int i = 0; i < n; i++)
		sum += scores[i] = exp(scores[i] - best);
	for (int i = 0; i < n; i++)
		scores[i] /= sum;
}

static bool
read_scores(const Labels *labels, Call *call, int i, struct wire_score_result *result)
{
	if (!call_scores(call, i, result))
		return false;
	if (result->n == labels->n_places)
		return true;
	call_close(call);
	engine_answer_broken();
	return false;
}

bool
labels_answer(const Labels *labels, Call *call, float8 *probabilities)
{
	struct wire_score_result result,
				neutral;

	if (!call_send(call) || !read_scores(labels, call, 0, &result))
		return false;
	for (int i = 1; i <= labels->n_neutral; i++)
	{
		if (!read_scores(labels, call, i, &neutral))
			return false;
		for (int place = 0; place < labels->n_places; place++)
			result.scores[place] -= neutral.scores[place] / labels->n_neutral;
	}
	call_close(call);
	labels_normalise(result.scores, labels->n_places);
	for (int i = 0; i < labels->n; i++)
		probabilities[i] = result.scores[labels->place[i]];
	return true;
}

int
labels_best(const Labels *labels, const float8 *probabilities)
{
	int			best = labels->at[0];

	for (int i = 1; i < labels->n_places; i++)
		if (probabilities[labels->at[i]] > probabilities[best])
			best = labels->at[i];
	return best;
}
