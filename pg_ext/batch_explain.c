/*-------------------------------------------------------------------------
 *
 * batch_explain.c
 *	  what EXPLAIN shows of the node that looks ahead
 *
 * Without ANALYZE: how many requests and tokens it might take.  A token is
 * about four bytes; the instruction is computed once, the row's text each time.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "batch_explain.h"
#include "compat.h"
#include "settings.h"

#define BYTES_PER_TOKEN 4
#define FRAME_TOKENS	16		/* of a chat template, around each text */

/* ------------------------------------------------------------------
 *	Counting
 * ------------------------------------------------------------------
 */

void
batch_explain_begin(BatchState *state)
{
	if (state->custom.ss.ps.instrument == NULL)
		return;
	state->figures.waits++;
	state->figures.in_flight += engine_requests_in_flight();
	INSTR_TIME_SET_CURRENT(state->figures.began);
}

void
batch_explain_end(BatchState *state)
{
	instr_time	now;

	if (INSTR_TIME_IS_ZERO(state->figures.began))
		return;
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, state->figures.began);
	state->figures.wait_s += INSTR_TIME_GET_DOUBLE(now);
	INSTR_TIME_SET_ZERO(state->figures.began);
}

void
batch_explain_count(BatchFigures *figures, MemoEntry *entry)
{
	if (!entry->counted || entry->shown)
		return;
	entry->shown = true;
	figures->prompt_tokens += entry->usage.prompt_tokens;
	figures->cached_tokens += entry->usage.cached_tokens;
	figures->generated_tokens += entry->usage.completion_tokens;
}

/* ------------------------------------------------------------------
 *	Showing
 * ------------------------------------------------------------------
 */

void
batch_explain_estimate(const CustomScan *plan, double *requests, double *prompt_tokens)
{
	const Plan *child = outerPlan(plan);

	*requests = child->plan_rows * (list_length(plan->custom_exprs) / 2);
	*prompt_tokens = *requests * (FRAME_TOKENS + (double) child->plan_width / BYTES_PER_TOKEN);
}

static void
show_estimates(BatchState *state, ExplainState *es)
{
	double		requests;
	double		tokens;

	batch_explain_estimate((CustomScan *) state->custom.ss.ps.plan, &requests, &tokens);
	ExplainPropertyFloat("Estimated Requests", NULL, requests, 0, es);
	ExplainPropertyFloat("Estimated Prompt Tokens", NULL, tokens, 0, es);
}

/* Rows that are still held, as under a LIMIT, count as far as they are answered. */
static void
count_held(BatchState *state)
{
	if (state->generation != memo_generation())
		return;
	for (int i = 0; i < state->size; i++)
		for (int j = 0; j < state->rows[i].asked.n_entries; j++)
			batch_explain_count(&state->figures, state->rows[i].asked.entries[j]);
}

static void
show_figures(const BatchFigures *figures, ExplainState *es)
{
	ExplainPropertyInteger("Requests", NULL, figures->requests, es);
	ExplainPropertyInteger("Memo Hits", NULL, figures->memo_hits, es);
	ExplainPropertyInteger("Prompt Tokens", NULL, figures->prompt_tokens, es);
	if (es->timing)
		ExplainPropertyInteger("Cached Tokens", NULL, figures->cached_tokens, es);
	ExplainPropertyInteger("Generated Tokens", NULL, figures->generated_tokens, es);
	if (!es->timing)
		return;
	if (figures->waits > 0)
		ExplainPropertyFloat("Mean In Flight", NULL, (double) figures->in_flight / figures->waits, 1, es);
	ExplainPropertyFloat("Wait Time", "ms", figures->wait_s * 1000, 3, es);
	if (figures->wait_s > 0)
		ExplainPropertyFloat("Tokens Per Second", NULL,
							 (figures->prompt_tokens - figures->cached_tokens + figures->generated_tokens) / figures->wait_s,
							 0, es);
}

void
batch_explain(BatchState *state, List *ancestors, ExplainState *es)
{
	ExplainPropertyInteger("Window", NULL, state->window ? state->window : setting_prefetch_rows, es);
	if (es->analyze)
	{
		count_held(state);
		show_figures(&state->figures, es);
	}
	else if (es->costs)
		show_estimates(state, es);
}
