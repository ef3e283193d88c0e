/*-------------------------------------------------------------------------
 *
 * batch_plan.c
 *	  puts a node into plans that asks ahead for rows to come
 *
 * A finished plan is rewritten.  Where a scan or a join (or whatever else
 * projects) evaluates calls, it is reduced to the columns that they need, and
 * a node above it, which looks ahead at rows, evaluates the rest:
 *
 *		Seq Scan: f(a), b			Dsr1Batch: f(a), b
 *		  Filter: c and g(a)	->	  Filter: g(a)
 *									  -> Seq Scan: a, b
 *										   Filter: c
 *
 * Calls in RETURNING are evaluated above the node that changes rows, in the
 * same way.  Each condition that asks has a node of its own, so that what comes after it
 * is asked for the rows it keeps only.  Calls in the arguments of aggregates
 * stay where they are, above a node that only looks ahead.  Expressions are
 * evaluated as ever, by the functions themselves; so the node changes nothing
 * but when questions are asked.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "batch_calls.h"
#include "batch_late.h"
#include "batch_node.h"
#include "batch_plan.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planmain.h"
#include "settings.h"

typedef struct Rewriter
{
	int			last_id;		/* highest plan_node_id */
	bool		late;			/* conditions may wait */
} Rewriter;

/* ------------------------------------------------------------------
 *	The columns that expressions need
 * ------------------------------------------------------------------
 */

static bool
is_column(const Node *node)
{
	return IsA(node, Var) || IsA(node, Aggref) || IsA(node, GroupingFunc) || IsA(node, WindowFunc);
}

static int
find_column(List *columns, Node *node)
{
	ListCell   *lc;

	foreach(lc, columns)
	{
		TargetEntry *column = lfirst_node(TargetEntry, lc);

		if (equal(column->expr, node))
			return column->resno;
	}
	return 0;
}

static bool
gather_columns(Node *node, List **columns)
{
	if (node == NULL)
		return false;
	if (is_column(node))
	{
		if (!find_column(*columns, node))
			*columns = lappend(*columns, makeTargetEntry(copyObject((Expr *) node), list_length(*columns) + 1, NULL, false));
		return false;
	}
	return expression_tree_walker(node, gather_columns, columns);
}

/* OLD and NEW in RETURNING know more than a column tells. */
static bool
contains_returning(Node *node, void *context)
{
#if PG_VERSION_NUM >= 180000
	if (node == NULL)
		return false;
	if (IsA(node, ReturningExpr) ||
		(IsA(node, Var) && ((Var *) node)->varreturningtype != VAR_RETURNING_DEFAULT))
		return true;
	return expression_tree_walker(node, contains_returning, context);
#else
	return false;
#endif
}

/* As seen from a node whose input they are. */
static Node *
refer_to_columns(Node *node, List *columns)
{
	if (node == NULL)
		return NULL;
	if (is_column(node))
		return (Node *) makeVar(INDEX_VAR, find_column(columns, node), exprType(node), exprTypmod(node),
								exprCollation(node), 0);
	return expression_tree_mutator(node, refer_to_columns, columns);
}

/* ------------------------------------------------------------------
 *	Putting a node in
 * ------------------------------------------------------------------
 */

/* A node over a child that gives its columns as they are; NULL list: no look-ahead. */
static CustomScan *
put_above(Rewriter *rewriter, Plan *child, List *prefetch)
{
	CustomScan *node = batch_node_make();
	Plan	   *plan = &node->scan.plan;

	plan->startup_cost = child->startup_cost;
	plan->total_cost = child->total_cost;
	plan->plan_rows = child->plan_rows;
	plan->plan_width = child->plan_width;
	plan->parallel_aware = false;
	plan->parallel_safe = child->parallel_safe;
	plan->async_capable = false;
	plan->plan_node_id = ++rewriter->last_id;
	plan->extParam = bms_copy(child->extParam);
	plan->allParam = bms_copy(child->allParam);
	plan->lefttree = child;
	plan->targetlist = batch_late_vars(child->targetlist, INDEX_VAR);
	node->custom_scan_tlist = batch_late_vars(child->targetlist, OUTER_VAR);
	node->custom_exprs = prefetch;
	return node;
}

/* Takes the conditions that come with or after the first one that asks. */
static List *
split_conditions(List **conditions)
{
	List	   *asking = NIL;
	List	   *kept = NIL;
	ListCell   *lc;

	foreach(lc, *conditions)
	{
		if (asking != NIL || batch_calls_any(lfirst(lc)))
			asking = lappend(asking, lfirst(lc));
		else
			kept = lappend(kept, lfirst(lc));
	}
	*conditions = kept;
	return asking;
}

/* The asked ones of `prefetch` that are not in `before`. */
static bool
any_new(List *prefetch, List *before)
{
	for (int i = 1; i < list_length(prefetch); i += 2)
		if (!list_member(before, list_nth(prefetch, i)))
			return true;
	return false;
}

/* One node for each condition that asks, with those behind it that do not. */
static Plan *
put_conditions(Rewriter *rewriter, Plan *child, List *columns, List *conditions, List **asked)
{
	CustomScan *node = NULL;
	ListCell   *lc;

	*asked = NIL;
	foreach(lc, conditions)
	{
		Node	   *condition = refer_to_columns(lfirst(lc), columns);

		if (node == NULL || batch_calls_any(condition))
		{
			List	   *prefetch = batch_calls_collect(condition, NIL);

			if (node == NULL || any_new(prefetch, *asked))
			{
				node = put_above(rewriter, node ? &node->scan.plan : child, prefetch);
				*asked = list_concat_copy(*asked, prefetch);
			}
		}
		node->scan.plan.qual = lappend(node->scan.plan.qual, condition);
	}
	return node ? &node->scan.plan : child;
}

/* Its conditions that may move above it, or NULL. */
static List **
conditions_of(Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_NestLoop:
		case T_MergeJoin:
		case T_HashJoin:
			/* inner joins have theirs here */
			if (((Join *) plan)->jointype == JOIN_INNER && batch_calls_any((Node *) ((Join *) plan)->joinqual))
				return &((Join *) plan)->joinqual;
			return &plan->qual;
		case T_Result:
		case T_Gather:
		case T_GatherMerge:
		case T_WindowAgg:
			return NULL;
		default:
			return &plan->qual;
	}
}

static bool
may_be_lifted(Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_SeqScan:
		case T_SampleScan:
		case T_IndexScan:
		case T_IndexOnlyScan:
		case T_BitmapHeapScan:
		case T_TidScan:
		case T_TidRangeScan:
		case T_SubqueryScan:
		case T_FunctionScan:
		case T_TableFuncScan:
		case T_ValuesScan:
		case T_CteScan:
		case T_NamedTuplestoreScan:
		case T_WorkTableScan:
		case T_ForeignScan:
		case T_NestLoop:
		case T_MergeJoin:
		case T_HashJoin:
		case T_Agg:
		case T_Group:
		case T_WindowAgg:
		case T_Gather:
		case T_GatherMerge:
			return true;
		case T_Result:
			return outerPlan(plan) != NULL;
		default:
			return false;
	}
}

/* Moves what asks out of a node into nodes above it. */
static Plan *
lift(Rewriter *rewriter, Plan *plan)
{
	List	  **from = conditions_of(plan);
	List	   *targets = plan->targetlist;
	List	   *conditions = NIL;
	List	   *columns = NIL;
	List	   *asked;
	List	   *prefetch;
	CustomScan *top;
	Plan	   *child;

	if (from)
		conditions = split_conditions(from);
	if (conditions == NIL && batch_calls_collect((Node *) targets, NIL) == NIL)
		return plan;
	(void) gather_columns((Node *) targets, &columns);
	(void) gather_columns((Node *) conditions, &columns);
	plan->targetlist = columns;
	child = put_conditions(rewriter, rewriter->late ? batch_late(plan) : plan, columns, conditions, &asked);
	targets = (List *) refer_to_columns((Node *) targets, columns);
	prefetch = batch_calls_collect((Node *) targets, NIL);
	if (conditions == NIL || any_new(prefetch, asked))
		child = &put_above(rewriter, child, prefetch)->scan.plan;
	top = (CustomScan *) child;
	top->scan.plan.targetlist = targets;
	top->scan.plan.initPlan = plan->initPlan;
	plan->initPlan = NIL;
	return child;
}

/* Of each table that is changed, as of partitions; NIL where they differ above them, as by the type of a whole row. */
static List *
columns_of_returning(List *returning, List **targets)
{
	List	   *all = NIL;
	ListCell   *cell;

	foreach(cell, returning)
	{
		List	   *columns = NIL;
		List	   *above;

		(void) gather_columns((Node *) lfirst(cell), &columns);
		above = (List *) refer_to_columns((Node *) lfirst(cell), columns);
		if (all == NIL)
			*targets = above;
		else if (list_length(columns) != list_length(linitial(all)) || !equal(above, *targets))
			return NIL;
		all = lappend(all, columns);
	}
	return all;
}

/* What asks in RETURNING.  A foreign server may have computed it already. */
static Plan *
lift_returning(Rewriter *rewriter, ModifyTable *modify)
{
	List	   *targets = modify->plan.targetlist;
	List	   *columns;
	List	   *prefetch;
	CustomScan *top;

	if (modify->returningLists == NIL || !bms_is_empty(modify->fdwDirectModifyPlans) ||
		contains_returning((Node *) targets, NULL) || batch_calls_collect((Node *) targets, NIL) == NIL ||
		(columns = columns_of_returning(modify->returningLists, &targets)) == NIL)
		return &modify->plan;
	modify->returningLists = columns;
	modify->plan.targetlist = copyObject(linitial(columns));
	prefetch = batch_calls_collect((Node *) targets, NIL);
	top = put_above(rewriter, &modify->plan, prefetch);
	top->scan.plan.targetlist = targets;
	top->scan.plan.initPlan = modify->plan.initPlan;
	modify->plan.initPlan = NIL;
	return &top->scan.plan;
}

/* ------------------------------------------------------------------
 *	Looking ahead only
 * ------------------------------------------------------------------
 */

static Node *
outer_to_index(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);

		if (var->varno == OUTER_VAR)
			var->varno = INDEX_VAR;
		return (Node *) var;
	}
	return expression_tree_mutator(node, outer_to_index, context);
}

/* Below a node that evaluates calls in aggregates' arguments, or makes sets of rows. */
static void
look_ahead_below(Rewriter *rewriter, Plan *plan)
{
	List	   *prefetch;

	if (IsA(plan, ProjectSet))
		prefetch = batch_calls_collect((Node *) plan->targetlist, NIL);
	else
	{
		prefetch = batch_calls_collect_inner((Node *) plan->targetlist, NIL);
		prefetch = batch_calls_collect_inner((Node *) plan->qual, prefetch);
	}
	if (prefetch != NIL)
		outerPlan(plan) = &put_above(rewriter, outerPlan(plan),
									 (List *) outer_to_index((Node *) prefetch, NULL))->scan.plan;
}

/* ------------------------------------------------------------------
 *	The whole plan
 * ------------------------------------------------------------------
 */

static Plan *rewrite(Rewriter *rewriter, Plan *plan);

static void
rewrite_list(Rewriter *rewriter, List *plans)
{
	ListCell   *lc;

	foreach(lc, plans)
		lfirst(lc) = rewrite(rewriter, lfirst(lc));
}

static void
rewrite_append(Rewriter *rewriter, Append *append)
{
	ListCell   *lc;

	foreach(lc, append->appendplans)
	{
		Plan	   *before = lfirst(lc);
		Plan	   *after = rewrite(rewriter, before);

		/* what is no child any more is not waited for by the Append */
		if (after != before && before->async_capable)
		{
			before->async_capable = false;
			append->nasyncplans--;
		}
		lfirst(lc) = after;
	}
}

static void
rewrite_children(Rewriter *rewriter, Plan *plan)
{
	outerPlan(plan) = rewrite(rewriter, outerPlan(plan));
	/* a merge join marks and restores places in its inner input */
	if (IsA(plan, MergeJoin) && innerPlan(plan) && may_be_lifted(innerPlan(plan)))
		rewrite_children(rewriter, innerPlan(plan));
	else
		innerPlan(plan) = rewrite(rewriter, innerPlan(plan));
	if (IsA(plan, Append))
		rewrite_append(rewriter, (Append *) plan);
	else if (IsA(plan, MergeAppend))
		rewrite_list(rewriter, ((MergeAppend *) plan)->mergeplans);
	else if (IsA(plan, SubqueryScan))
		((SubqueryScan *) plan)->subplan = rewrite(rewriter, ((SubqueryScan *) plan)->subplan);
}

static Plan *
rewrite(Rewriter *rewriter, Plan *plan)
{
	if (plan == NULL)
		return NULL;
	check_stack_depth();
	rewrite_children(rewriter, plan);
	if (!batch_calls_any((Node *) plan->targetlist) && !batch_calls_any((Node *) plan->qual) &&
		!((IsA(plan, NestLoop) || IsA(plan, MergeJoin) || IsA(plan, HashJoin)) &&
		  batch_calls_any((Node *) ((Join *) plan)->joinqual)))
		return rewriter->late ? batch_late(plan) : plan;
	if (IsA(plan, Agg) || IsA(plan, WindowAgg) || IsA(plan, ProjectSet))
		look_ahead_below(rewriter, plan);
	if (IsA(plan, ModifyTable))
		return lift_returning(rewriter, (ModifyTable *) plan);
	return may_be_lifted(plan) ? lift(rewriter, plan) : plan;
}

static void
find_last_id(Rewriter *rewriter, Plan *plan)
{
	List	   *children = NIL;
	ListCell   *lc;

	if (plan == NULL)
		return;
	check_stack_depth();
	rewriter->last_id = Max(rewriter->last_id, plan->plan_node_id);
	find_last_id(rewriter, outerPlan(plan));
	find_last_id(rewriter, innerPlan(plan));
	if (IsA(plan, Append))
		children = ((Append *) plan)->appendplans;
	else if (IsA(plan, MergeAppend))
		children = ((MergeAppend *) plan)->mergeplans;
	else if (IsA(plan, BitmapAnd))
		children = ((BitmapAnd *) plan)->bitmapplans;
	else if (IsA(plan, BitmapOr))
		children = ((BitmapOr *) plan)->bitmapplans;
	else if (IsA(plan, CustomScan))
		children = ((CustomScan *) plan)->custom_plans;
	else if (IsA(plan, SubqueryScan))
		find_last_id(rewriter, ((SubqueryScan *) plan)->subplan);
	foreach(lc, children)
		find_last_id(rewriter, lfirst(lc));
}

void
batch_plan(PlannedStmt *stmt, int cursor_options, bool has_policies)
{
	Rewriter	rewriter = {0};
	ListCell   *lc;
	int			before;

	if (!setting_enable_batch || stmt->planTree == NULL)
		return;
	find_last_id(&rewriter, stmt->planTree);
	foreach(lc, stmt->subplans)
		find_last_id(&rewriter, lfirst(lc));
	before = rewriter.last_id;
	rewriter.late = !has_policies;
	stmt->planTree = rewrite(&rewriter, stmt->planTree);
	rewrite_list(&rewriter, stmt->subplans);
	/* the node goes forwards only */
	if (rewriter.last_id > before && (cursor_options & CURSOR_OPT_SCROLL) &&
		!ExecSupportsBackwardScan(stmt->planTree))
		stmt->planTree = materialize_finished_plan(stmt->planTree);
}

void
batch_register(void)
{
	batch_node_register();
}
