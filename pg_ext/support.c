/*-------------------------------------------------------------------------
 *
 * support.c
 *	  what the planner is told of our functions: costs, selectivities, rows
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "judge.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

/*
 * A call takes from milliseconds to seconds, where the unit of cpu_operator_cost
 * stands for a fraction of a microsecond.  It is kept below the cost from which
 * a single call would be compiled (jit_above_cost), which takes longer than it.
 */
#define CALL_COST	100000		/* procost, in units of cpu_operator_cost */
#define TOKEN_COST	1000		/* more for each token that a constant asks for */
#define MOST_COST	30000000

static Const *
constant_argument(Node *node, int i)
{
	FuncExpr   *call = (FuncExpr *) node;
	Node	   *argument;

	if (node == NULL || !IsA(node, FuncExpr) || list_length(call->args) <= i)
		return NULL;
	argument = list_nth(call->args, i);
	if (!IsA(argument, Const) || ((Const *) argument)->constisnull)
		return NULL;
	return (Const *) argument;
}

static void
tell_cost(SupportRequestCost *request)
{
	Const	   *max_tokens = constant_argument(request->node, 1);
	double		units = CALL_COST;

	if (max_tokens && max_tokens->consttype == INT4OID && DatumGetInt32(max_tokens->constvalue) > 0)
		units += (double) TOKEN_COST * DatumGetInt32(max_tokens->constvalue);
	request->startup = 0;
	request->per_tuple = Min(units, MOST_COST) * cpu_operator_cost;
}

/* Only dsr1_filter() is a condition by itself. */
static bool
tell_selectivity(SupportRequestSelectivity *request)
{
	Const	   *condition;

	if (request->is_join || list_length(request->args) != 2 || !IsA(lsecond(request->args), Const))
		return false;
	condition = lsecond(request->args);
	if (condition->constisnull || condition->consttype != TEXTOID)
		return false;
	request->selectivity = judge_selectivity(DatumGetTextPP(condition->constvalue));
	return true;
}

static bool
tell_rows(SupportRequestRows *request)
{
	Const	   *documents = constant_argument(request->node, 1);

	if (documents == NULL || documents->consttype != TEXTARRAYOID)
		return false;
	request->rows = ArrayGetNItems(ARR_NDIM(DatumGetArrayTypeP(documents->constvalue)),
								   ARR_DIMS(DatumGetArrayTypeP(documents->constvalue)));
	return true;
}

PG_FUNCTION_INFO_V1(sql_support);

Datum
sql_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	bool		told = false;

	if (IsA(request, SupportRequestCost))
	{
		tell_cost((SupportRequestCost *) request);
		told = true;
	}
	else if (IsA(request, SupportRequestSelectivity))
		told = tell_selectivity((SupportRequestSelectivity *) request);
	else if (IsA(request, SupportRequestRows))
		told = tell_rows((SupportRequestRows *) request);
	PG_RETURN_POINTER(told ? request : NULL);
}
