/*-------------------------------------------------------------------------
 *
 * batch_late.c
 *	  conditions that ask wait until other nodes have dropped rows
 *
 * PostgreSQL evaluates a condition on one table where it scans it, however
 * dear it is:
 *
 *		Hash Join						Dsr1Batch
 *		  -> Dsr1Batch					  Filter: f(a)
 *			   Filter: f(a)		->		  -> Hash Join
 *			   -> Seq Scan				       -> Seq Scan
 *		  -> Hash ...						   -> Hash ...
 *
 * Both numbers of rows that the planner expects are those after the condition,
 * so its selectivity cancels out when they are compared.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "batch_late.h"
#include "batch_node.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "settings.h"

#define WORTHWHILE	0.5			/* the join keeps at most so many of the rows */

List *
batch_late_vars(List *columns, int varno)
{
	List	   *vars = NIL;
	ListCell   *lc;

	foreach(lc, columns)
	{
		TargetEntry *column = lfirst_node(TargetEntry, lc);
		Node	   *expr = (Node *) column->expr;
		Var		   *var = makeVar(varno, column->resno, exprType(expr), exprTypmod(expr), exprCollation(expr), 0);

		vars = lappend(vars, makeTargetEntry((Expr *) var, column->resno, column->resname, column->resjunk));
	}
	return vars;
}

/* A node with a condition that hands its input's columns on as they are. */
static bool
is_filter(const Plan *plan)
{
	ListCell   *lc;

	if (plan == NULL || !batch_node_is(plan) || plan->qual == NIL || plan->initPlan != NIL)
		return false;
	foreach(lc, plan->targetlist)
		if (!IsA(lfirst_node(TargetEntry, lc)->expr, Var))
			return false;
	return true;
}

/* Which of the filter's input's columns its column is; both count from 1. */
static AttrNumber
source_of(const Plan *filter, AttrNumber column)
{
	return castNode(Var, list_nth_node(TargetEntry, filter->targetlist, column - 1)->expr)->varattno;
}

static void
put_filter_above(Plan *filter, Plan *plan)
{
	outerPlan(filter) = plan;
	((CustomScan *) filter)->custom_scan_tlist = batch_late_vars(plan->targetlist, OUTER_VAR);
	filter->extParam = bms_union(filter->extParam, plan->extParam);
	filter->allParam = bms_union(filter->allParam, plan->allParam);
	filter->plan_rows = Min(filter->plan_rows, plan->plan_rows);
	filter->startup_cost = plan->startup_cost;
	filter->total_cost = plan->total_cost;
}

/* ------------------------------------------------------------------
 *	Sorts under a limit
 * ------------------------------------------------------------------
 */

/* A sort needs all of its input, but who takes a few rows of it in order needs few answers. */
static void
pass_sort(Plan **slot)
{
	while (IsA(*slot, Sort) || IsA(*slot, IncrementalSort))
	{
		Sort	   *sort = (Sort *) *slot;	/* what an incremental one begins with */
		Plan	   *filter = outerPlan(sort);

		if (!is_filter(filter))
			return;
		for (int i = 0; i < sort->numCols; i++)
			sort->sortColIdx[i] = source_of(filter, sort->sortColIdx[i]);
		outerPlan(sort) = outerPlan(filter);
		sort->plan.targetlist = batch_late_vars(outerPlan(sort)->targetlist, OUTER_VAR);
		put_filter_above(filter, &sort->plan);
		*slot = filter;
		slot = &outerPlan(filter);
	}
}

static void
pass_sort_under(Plan *limit)
{
	Plan	  **slot = &outerPlan(limit);

	while (*slot && outerPlan(*slot) && (batch_node_is(*slot) || IsA(*slot, Result)))
		slot = &outerPlan(*slot);
	if (*slot)
		pass_sort(slot);
}

/* ------------------------------------------------------------------
 *	Joins
 * ------------------------------------------------------------------
 */

typedef struct Side
{
	int			varno;			/* OUTER_VAR or INNER_VAR */
	const Plan *filter;
} Side;

/* From the filter's columns to those of its input. */
static Node *
skip_filter(Node *node, Side *side)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);

		if (var->varno == side->varno)
			var->varattno = source_of(side->filter, var->varattno);
		return (Node *) var;
	}
	return expression_tree_mutator(node, skip_filter, side);
}

#define SKIP(field) ((field) = (void *) skip_filter((Node *) (field), side))

static void
skip_filter_in_join(Join *join, Side *side)
{
	ListCell   *lc;

	SKIP(join->plan.targetlist);
	SKIP(join->plan.qual);
	SKIP(join->joinqual);
	if (IsA(join, HashJoin))
	{
		SKIP(((HashJoin *) join)->hashclauses);
		if (side->varno == OUTER_VAR)
			SKIP(((HashJoin *) join)->hashkeys);
	}
	else if (IsA(join, MergeJoin))
		SKIP(((MergeJoin *) join)->mergeclauses);
	else if (side->varno == OUTER_VAR)
	{
		foreach(lc, ((NestLoop *) join)->nestParams)
			SKIP(lfirst_node(NestLoopParam, lc)->paramval);
	}
}

/* Where the join's output has a column of that side's input, which is added if it is not there. */
static AttrNumber
column_of(Plan *join, int varno, const TargetEntry *column)
{
	Expr	   *expr = column->expr;
	Var		   *wanted = makeVar(varno, column->resno, exprType((Node *) expr), exprTypmod((Node *) expr),
								 exprCollation((Node *) expr), 0);
	ListCell   *lc;

	foreach(lc, join->targetlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (IsA(entry->expr, Var) && ((Var *) entry->expr)->varno == varno &&
			((Var *) entry->expr)->varattno == column->resno)
			return entry->resno;
	}
	join->targetlist = lappend(join->targetlist,
							   makeTargetEntry((Expr *) wanted, list_length(join->targetlist) + 1, NULL, false));
	return list_length(join->targetlist);
}

typedef struct Rise
{
	Plan	   *join;
	Plan	   *input;			/* that the filter had */
	int			varno;
} Rise;

static Node *
rise(Node *node, Rise *how)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == INDEX_VAR)
	{
		Var		   *var = copyObject((Var *) node);

		var->varattno = column_of(how->join, how->varno,
								  list_nth_node(TargetEntry, how->input->targetlist, var->varattno - 1));
		return (Node *) var;
	}
	return expression_tree_mutator(node, rise, how);
}

/* The filter, whose input the join has by now, above the join. */
static Plan *
put_above_join(Plan *join, Plan *filter, int varno)
{
	CustomScan *node = (CustomScan *) filter;
	Rise		how = {.join = join,.input = outerPlan(filter),.varno = varno};
	List	   *targets = batch_late_vars(join->targetlist, INDEX_VAR);

	filter->qual = (List *) rise((Node *) filter->qual, &how);
	node->custom_exprs = (List *) rise((Node *) node->custom_exprs, &how);
	filter->targetlist = targets;
	filter->plan_width = join->plan_width;
	put_filter_above(filter, join);
	return filter;
}

static bool
is_worthwhile(const Plan *join, const Plan *filter)
{
	return join->plan_rows <= WORTHWHILE * filter->plan_rows;
}

static Plan *
rise_from_outer(Plan *plan)
{
	Join	   *join = (Join *) plan;
	Plan	   *filter = outerPlan(plan);
	Side		side = {.varno = OUTER_VAR,.filter = filter};

	if (join->jointype != JOIN_INNER && join->jointype != JOIN_LEFT &&
		join->jointype != JOIN_SEMI && join->jointype != JOIN_ANTI)
		return plan;
	if (!is_filter(filter) || !is_worthwhile(plan, filter))
		return plan;
	skip_filter_in_join(join, &side);
	outerPlan(plan) = outerPlan(filter);
	return put_above_join(plan, filter, OUTER_VAR);
}

/* A condition on what is hashed. */
static Plan *
rise_from_hash(Plan *plan)
{
	Hash	   *hash = (Hash *) innerPlan(plan);
	Plan	   *filter = outerPlan(hash);
	Side		inner = {.varno = INNER_VAR,.filter = filter};
	Side		below = {.varno = OUTER_VAR,.filter = filter};

	if (((Join *) plan)->jointype != JOIN_INNER || !is_filter(filter) || !is_worthwhile(plan, filter))
		return plan;
	skip_filter_in_join((Join *) plan, &inner);
	hash->hashkeys = (List *) skip_filter((Node *) hash->hashkeys, &below);
	outerPlan(hash) = outerPlan(filter);
	hash->plan.targetlist = batch_late_vars(outerPlan(hash)->targetlist, OUTER_VAR);
	return put_above_join(plan, filter, INNER_VAR);
}

static Plan *
rise_once(Plan *join)
{
	Plan	   *above = rise_from_outer(join);

	if (above == join && IsA(join, HashJoin) && IsA(innerPlan(join), Hash))
		above = rise_from_hash(join);
	return above;
}

Plan *
batch_late(Plan *plan)
{
	Plan	   *top = plan;
	Plan	   *lowest = NULL;
	Plan	   *above;

	if (!setting_enable_late_filter)
		return plan;
	if (IsA(plan, Limit))
		pass_sort_under(plan);
	if (!IsA(plan, NestLoop) && !IsA(plan, MergeJoin) && !IsA(plan, HashJoin))
		return plan;

	/*
	 * The join gets new columns at its end only, so those that have risen
	 * before need not be told.
	 */
	while ((above = rise_once(plan)) != plan)
	{
		if (lowest)
			outerPlan(lowest) = above;
		else
			top = above;
		lowest = above;
	}
	return top;
}
