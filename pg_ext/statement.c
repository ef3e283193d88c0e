/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  where a statement begins and ends
 *
 * The memo lives as long as any executor runs: a function's own statements
 * share that of the statement that calls it, and an open cursor keeps it.
 * After an error within a subtransaction the count may stay too high; then the
 * memo lives until the end of the transaction.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "batch_plan.h"
#include "call.h"
#include "compat.h"
#include "executor/executor.h"
#include "optimizer/planner.h"
#include "statement.h"
#include "utils/elog.h"

static planner_hook_type next_planner = NULL;
static ExecutorStart_hook_type next_start = NULL;
static ExecutorRun_hook_type next_run = NULL;
static ExecutorFinish_hook_type next_finish = NULL;
static ExecutorEnd_hook_type next_end = NULL;

static int	n_planners = 0;
static ErrorContextCallback *planner_context;	/* of the innermost planner */
static int	n_executors = 0;
static int	n_running = 0;		/* of them, at work now */

/*
 * Functions that the planner folds may call ours in turn, and their result
 * ends up in the plan; but all that run SQL or PL code push an error context.
 */
bool
statement_is_planned(void)
{
	return n_planners > 0 && error_context_stack == planner_context;
}

bool
statement_is_nested(void)
{
	return n_running > 1;
}

static PlannedStmt *
plan_statement(Query *parse, const char *query_string, int cursor_options, ParamListInfo params)
{
	ErrorContextCallback *outer_context = planner_context;
	bool		has_policies = parse->hasRowSecurity;
	PlannedStmt *plan;

	n_planners++;
	planner_context = error_context_stack;
	PG_TRY();
	{
		plan = next_planner ?
			next_planner(parse, query_string, cursor_options, params) :
			standard_planner(parse, query_string, cursor_options, params);
		batch_plan(plan, cursor_options, has_policies);
	}
	PG_FINALLY();
	{
		n_planners--;
		planner_context = outer_context;
	}
	PG_END_TRY();
	return plan;
}

static void
start_executor(QueryDesc *query, int flags)
{
	n_executors++;
	if (next_start)
		next_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

/* A cursor that is open is no statement that runs. */
static void
run_executor(QueryDesc *query, ScanDirection direction, uint64 count EXECUTE_ONCE_PARAMETER)
{
	n_running++;
	PG_TRY();
	{
		if (next_run)
			next_run(query, direction, count EXECUTE_ONCE);
		else
			standard_ExecutorRun(query, direction, count EXECUTE_ONCE);
	}
	PG_FINALLY();
	{
		n_running--;
	}
	PG_END_TRY();
}

/* Triggers run here. */
static void
finish_executor(QueryDesc *query)
{
	n_running++;
	PG_TRY();
	{
		if (next_finish)
			next_finish(query);
		else
			standard_ExecutorFinish(query);
	}
	PG_FINALLY();
	{
		n_running--;
	}
	PG_END_TRY();
}

static void
end_executor(QueryDesc *query)
{
	if (next_end)
		next_end(query);
	else
		standard_ExecutorEnd(query);
	if (n_executors > 0 && --n_executors == 0)
		memo_reset();
}

static void
end_transaction(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE &&
		event != XACT_EVENT_PARALLEL_COMMIT && event != XACT_EVENT_PARALLEL_ABORT)
		return;
	n_executors = 0;
	n_planners = 0;
	call_reset();
	memo_reset();
}

void
statement_install(void)
{
	next_planner = planner_hook;
	planner_hook = plan_statement;
	next_start = ExecutorStart_hook;
	ExecutorStart_hook = start_executor;
	next_run = ExecutorRun_hook;
	ExecutorRun_hook = run_executor;
	next_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = finish_executor;
	next_end = ExecutorEnd_hook;
	ExecutorEnd_hook = end_executor;
	RegisterXactCallback(end_transaction, NULL);
}
