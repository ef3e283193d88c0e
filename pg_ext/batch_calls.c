/*-------------------------------------------------------------------------
 *
 * batch_calls.c
 *	  the calls in an expression that can be asked ahead
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "batch_calls.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

/* ------------------------------------------------------------------
 *	Our functions
 * ------------------------------------------------------------------
 */

/* The symbols of scalar functions that do nothing but ask and read the answer. */
static const char *const symbols[] = {
	"sql_chat", "sql_classify", "sql_classify_enum", "sql_classify_multi", "sql_complete",
	"sql_count_tokens", "sql_embed", "sql_embed_by", "sql_extract", "sql_extract_described",
	"sql_filter", "sql_filter_score", "sql_fim", "sql_generate", "sql_logprob", "sql_populate",
	"sql_score", "sql_scores", "sql_similarity", "sql_summarize", "sql_tokenize", "sql_truncate"
};

static bool
is_symbol(const char *name)
{
	for (int i = 0; i < lengthof(symbols); i++)
		if (strcmp(symbols[i], name) == 0)
			return true;
	return false;
}

static bool
attribute_is(HeapTuple tuple, int attribute, bool (*test) (const char *))
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(PROCOID, tuple, attribute, &isnull);
	char	   *string;
	bool		is;

	if (isnull)
		return false;
	string = TextDatumGetCString(value);
	is = test(string);
	pfree(string);
	return is;
}

static bool
is_library(const char *name)
{
	return strcmp(name, "$libdir/dsr1") == 0;
}

static bool
is_ours(Oid function)
{
	HeapTuple	tuple;
	bool		ours;

	if (function < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	ours = ((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId &&
		attribute_is(tuple, Anum_pg_proc_probin, is_library) &&
		attribute_is(tuple, Anum_pg_proc_prosrc, is_symbol);
	ReleaseSysCache(tuple);
	return ours;
}

static bool
find_call(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) && is_ours(((FuncExpr *) node)->funcid))
		return true;
	return expression_tree_walker(node, find_call, context);
}

bool
batch_calls_any(Node *expression)
{
	return find_call(expression, NULL);
}

/* ------------------------------------------------------------------
 *	Guards
 * ------------------------------------------------------------------
 */

/* May a guard evaluate it once more, before its time? */
static bool
is_harmless(Node *expression)
{
	return !batch_calls_any(expression) && !contain_volatile_functions(expression) &&
		!contain_subplans(expression);
}

static Expr *
make_case(Expr *arg, List *whens, Expr *otherwise)
{
	CaseExpr   *expression = makeNode(CaseExpr);

	expression->casetype = BOOLOID;
	expression->arg = arg;
	expression->args = whens;
	expression->defresult = otherwise;
	expression->location = -1;
	return (Expr *) expression;
}

static CaseWhen *
make_when(Expr *condition, bool result)
{
	CaseWhen   *when = makeNode(CaseWhen);

	when->expr = condition;
	when->result = (Expr *) makeBoolConst(result, false);
	when->location = -1;
	return when;
}

/* True if the outer guard is and then this condition is; never evaluates it otherwise. */
static Expr *
also(Expr *guard, Expr *condition, bool wanted)
{
	Expr	   *inner = make_case(NULL, list_make1(make_when(condition, wanted)),
								  (Expr *) makeBoolConst(!wanted, false));
	CaseWhen   *when;

	if (guard == NULL)
		return inner;
	when = make_when(guard, true);
	when->result = inner;
	return make_case(NULL, list_make1(when), (Expr *) makeBoolConst(false, false));
}

/* ------------------------------------------------------------------
 *	Collecting
 * ------------------------------------------------------------------
 */

typedef struct Collector
{
	List	   *collected;
	Expr	   *guard;			/* NULL: evaluated in any case */
} Collector;

static bool collect(Node *node, Collector *collector);

static void
collect_behind(Collector *collector, Expr *guard, Node *node)
{
	Expr	   *outer = collector->guard;

	collector->guard = guard;
	(void) collect(node, collector);
	collector->guard = outer;
}

static bool
is_collected(const Collector *collector, const Node *call)
{
	for (int i = 1; i < list_length(collector->collected); i += 2)
		if (equal(list_nth(collector->collected, i), call))
			return true;
	return false;
}

/* A call that evaluation would have to wait for, as nobody asked ahead. */
static bool
find_uncollected(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) && is_ours(((FuncExpr *) node)->funcid) && !is_collected(context, node))
		return true;
	return expression_tree_walker(node, find_uncollected, context);
}

static void
add_call(Collector *collector, FuncExpr *call)
{
	Expr	   *guard = collector->guard ? collector->guard : (Expr *) makeBoolConst(true, false);

	/* what its arguments ask comes first; it itself waits for their answers */
	if (batch_calls_any((Node *) call->args))
		(void) collect((Node *) call->args, collector);
	if (contain_volatile_functions((Node *) call->args) || contain_subplans((Node *) call->args) ||
		find_uncollected((Node *) call->args, collector) || is_collected(collector, (Node *) call))
		return;
	collector->collected = lappend(lappend(collector->collected, guard), call);
}

/* The deepest call in an expression, counted from 1; 0: there is none. */
static bool
measure_depth(Node *node, void *context)
{
	int		   *depth = context;
	int			inner = 0;

	if (node == NULL)
		return false;
	(void) expression_tree_walker(node, measure_depth, &inner);
	if (IsA(node, FuncExpr) && is_ours(((FuncExpr *) node)->funcid))
		inner++;
	*depth = Max(*depth, inner);
	return false;
}

int
batch_calls_depth(const FuncExpr *call)
{
	int			depth = 0;

	(void) measure_depth((Node *) call->args, &depth);
	return depth;
}

static void
collect_case(CaseExpr *expression, Collector *collector)
{
	List	   *before = NIL;	/* the conditions so far, none of which was true */
	ListCell   *lc;
	Expr	   *guard;

	collect((Node *) expression->arg, collector);
	if (expression->arg && !is_harmless((Node *) expression->arg))
		return;
	foreach(lc, expression->args)
	{
		CaseWhen   *when = lfirst_node(CaseWhen, lc);

		guard = collector->guard;
		if (before != NIL)
			guard = also(guard, make_case(expression->arg, list_copy(before), (Expr *) makeBoolConst(false, false)), false);
		/* the condition of a simple CASE means nothing outside of it */
		if (expression->arg == NULL)
			collect_behind(collector, guard, (Node *) when->expr);
		if (!is_harmless((Node *) when->expr))
			return;
		guard = also(guard, make_case(expression->arg, list_make1(make_when(when->expr, true)),
									  (Expr *) makeBoolConst(false, false)), true);
		collect_behind(collector, guard, (Node *) when->result);
		before = lappend(before, make_when(when->expr, true));
	}
	guard = also(collector->guard, make_case(expression->arg, before, (Expr *) makeBoolConst(false, false)), false);
	collect_behind(collector, guard, (Node *) expression->defresult);
}

/* Each argument is evaluated only if those before leave it open. */
static void
collect_in_turn(List *arguments, bool goes_on_if, Collector *collector)
{
	Expr	   *guard = collector->guard;
	ListCell   *lc;

	foreach(lc, arguments)
	{
		collect_behind(collector, guard, lfirst(lc));
		if (!is_harmless(lfirst(lc)))
			return;
		guard = also(guard, lfirst(lc), goes_on_if);
	}
}

static void
collect_coalesce(List *arguments, Collector *collector)
{
	Expr	   *guard = collector->guard;
	ListCell   *lc;

	foreach(lc, arguments)
	{
		NullTest   *test = makeNode(NullTest);

		collect_behind(collector, guard, lfirst(lc));
		if (!is_harmless(lfirst(lc)))
			return;
		test->arg = lfirst(lc);
		test->nulltesttype = IS_NULL;
		test->argisrow = false;
		test->location = -1;
		guard = also(guard, (Expr *) test, true);
	}
}

static bool
collect(Node *node, Collector *collector)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_FuncExpr:
			if (!is_ours(((FuncExpr *) node)->funcid))
				break;
			add_call(collector, (FuncExpr *) node);
			return false;
		case T_CaseExpr:
			collect_case((CaseExpr *) node, collector);
			return false;
		case T_BoolExpr:
			if (((BoolExpr *) node)->boolop == NOT_EXPR)
				break;
			collect_in_turn(((BoolExpr *) node)->args, ((BoolExpr *) node)->boolop == AND_EXPR, collector);
			return false;
		case T_CoalesceExpr:
			collect_coalesce(((CoalesceExpr *) node)->args, collector);
			return false;
		case T_Aggref:
		case T_WindowFunc:
		case T_SubPlan:
		case T_ArrayCoerceExpr:
			/* evaluated elsewhere, or once for each element */
			return false;
		default:
			break;
	}
	return expression_tree_walker(node, collect, collector);
}

List *
batch_calls_collect(Node *expression, List *collected)
{
	Collector	collector = {.collected = collected};

	(void) collect(expression, &collector);
	return collector.collected;
}

static bool
collect_inner(Node *node, Collector *collector)
{
	List	   *arguments = NIL;
	Expr	   *filter = NULL;

	if (node == NULL)
		return false;
	if (IsA(node, Aggref))
	{
		arguments = ((Aggref *) node)->args;
		filter = ((Aggref *) node)->aggfilter;
	}
	else if (IsA(node, WindowFunc))
	{
		arguments = ((WindowFunc *) node)->args;
		filter = ((WindowFunc *) node)->aggfilter;
	}
	else
		return expression_tree_walker(node, collect_inner, collector);
	(void) collect((Node *) filter, collector);
	if (filter == NULL || is_harmless((Node *) filter))
		collect_behind(collector, filter ? also(NULL, filter, true) : NULL, (Node *) arguments);
	return false;
}

List *
batch_calls_collect_inner(Node *expression, List *collected)
{
	Collector	collector = {.collected = collected};

	(void) collect_inner(expression, &collector);
	return collector.collected;
}
