/*-------------------------------------------------------------------------
 *
 * estimate.c
 *	  dsr1_estimate(): what a query would ask, without asking it
 *
 * The query is planned.  How many rows its plan expects is PostgreSQL's guess,
 * how many tokens a row has is ours, from the width of its columns; how long
 * they take is what the engine has measured since it started.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "batch_explain.h"
#include "batch_node.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "rows.h"
#include "stat_rows.h"
#include "utils/builtins.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

typedef struct Estimate
{
	double		requests;
	double		prompt_tokens;
} Estimate;

static void estimate_plan(Plan *plan, Estimate *estimate);

static void
estimate_list(List *plans, Estimate *estimate)
{
	ListCell   *lc;

	foreach(lc, plans)
		estimate_plan(lfirst(lc), estimate);
}

static void
estimate_plan(Plan *plan, Estimate *estimate)
{
	double		requests;
	double		tokens;

	if (plan == NULL)
		return;
	check_stack_depth();
	if (batch_node_is(plan))
	{
		batch_explain_estimate((CustomScan *) plan, &requests, &tokens);
		estimate->requests += requests;
		estimate->prompt_tokens += tokens;
	}
	estimate_plan(outerPlan(plan), estimate);
	estimate_plan(innerPlan(plan), estimate);
	if (IsA(plan, Append))
		estimate_list(((Append *) plan)->appendplans, estimate);
	else if (IsA(plan, MergeAppend))
		estimate_list(((MergeAppend *) plan)->mergeplans, estimate);
	else if (IsA(plan, SubqueryScan))
		estimate_plan(((SubqueryScan *) plan)->subplan, estimate);
}

static void
estimate_statement(PlannedStmt *stmt, Estimate *estimate)
{
	if (stmt->commandType == CMD_UTILITY)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("only SELECT, INSERT, UPDATE and DELETE can be estimated")));
	estimate_plan(stmt->planTree, estimate);
	estimate_list(stmt->subplans, estimate);
}

static void
estimate_query(const char *query, Estimate *estimate)
{
	SPIPlanPtr	prepared;
	List	   *sources;
	ListCell   *lc;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	prepared = SPI_prepare(query, 0, NULL);
	if (prepared == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	sources = SPI_plan_get_plan_sources(prepared);
	foreach(lc, sources)
	{
		CachedPlan *plan = GetCachedPlan(lfirst(lc), NULL, NULL, NULL);
		ListCell   *statement;

		foreach(statement, plan->stmt_list)
			estimate_statement(lfirst_node(PlannedStmt, statement), estimate);
		ReleaseCachedPlan(plan, NULL);
	}
	SPI_freeplan(prepared);
	SPI_finish();
}

/* Tokens of prompts computed per second of such work; 0: not known. */
static double
prefill_speed(void)
{
	State		state;
	EngineRequest *request = stat_ask(WIRE_STATS, WIRE_STATS_RESULT, &state);
	struct wire_stats stats = {0};
	double		speed = 0;

	if (request)
	{
		struct wire_frame frame = engine_request_answer(request);

		if (wire_get_stats_result(&frame, &stats) == DSR1_OK && stats.engine.prefill_s > 0)
			speed = (double) (stats.engine.prompt_tokens - stats.engine.cached_tokens) / stats.engine.prefill_s;
		engine_request_free(request);
	}
	return speed;
}

PG_FUNCTION_INFO_V1(sql_estimate);

Datum
sql_estimate(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rows = rows_begin(fcinfo);
	Estimate	estimate = {0};
	Datum		values[3];
	bool		nulls[3] = {false};
	double		speed;

	PushActiveSnapshot(GetTransactionSnapshot());
	estimate_query(text_to_cstring(PG_GETARG_TEXT_PP(0)), &estimate);
	PopActiveSnapshot();
	speed = prefill_speed();
	values[0] = Int64GetDatum((int64) estimate.requests);
	values[1] = Int64GetDatum((int64) estimate.prompt_tokens);
	values[2] = Float8GetDatum(speed > 0 ? estimate.prompt_tokens / speed : 0);
	nulls[2] = speed <= 0;
	rows_put(rows, values, nulls);
	return (Datum) 0;
}
