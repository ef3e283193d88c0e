/*-------------------------------------------------------------------------
 *
 * batch_node.c
 *	  the plan node that looks ahead at rows and asks what they will ask
 *
 * It keeps a ring of its input's next rows.  As a row comes in, the calls that
 * will be made for it are made ahead, which only sends their questions; the
 * row goes out when it is its turn, and the same calls then find their answers
 * in the memo, or on their way.  The ring grows as rows are taken, 1, 2, 4 and
 * so on up to dsr1.prefetch_rows, so that who wants one row does not pay for
 * many; it is filled again when half of it is gone, so that questions go out
 * many at a time.
 *
 * A call whose arguments make calls is asked in a later stage, once those are
 * answered.  The row whose turn it is waits until all its stages are asked, and
 * the rows behind it are looked after meanwhile.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "batch_calls.h"
#include "batch_explain.h"
#include "batch_node.h"
#include "batch_state.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "settings.h"
#include "utils/memutils.h"

static Node *create_state(CustomScan *plan);

static const CustomScanMethods plan_methods = {
	.CustomName = "Dsr1Batch",
	.CreateCustomScanState = create_state
};

/* ------------------------------------------------------------------
 *	Calls made ahead
 * ------------------------------------------------------------------
 */

static void
init_call(BatchState *state, BatchCall *call, Expr *guard, FuncExpr *expression)
{
	int			n = 0;
	ListCell   *lc;

	call->stage = batch_calls_depth(expression);
	state->n_stages = Max(state->n_stages, call->stage + 1);
	call->guard = IsA(guard, Const) ? NULL : ExecInitExpr(guard, &state->custom.ss.ps);
	call->n_args = list_length(expression->args);
	call->args = palloc(call->n_args * sizeof(ExprState *));
	foreach(lc, expression->args)
		call->args[n++] = ExecInitExpr(lfirst(lc), &state->custom.ss.ps);
	fmgr_info(expression->funcid, &call->function);
	fmgr_info_set_expr((Node *) expression, &call->function);
	call->call = palloc0(SizeForFunctionCallInfo(call->n_args));
	InitFunctionCallInfoData(*call->call, &call->function, call->n_args, expression->inputcollid, NULL, NULL);
}

/* False: a strict function would not be called. */
static bool
evaluate_arguments(BatchCall *call, ExprContext *context)
{
	for (int i = 0; i < call->n_args; i++)
	{
		NullableDatum *arg = &call->call->args[i];

		arg->value = ExecEvalExpr(call->args[i], context, &arg->isnull);
		if (arg->isnull && call->function.fn_strict)
			return false;
	}
	return true;
}

static void
ask_ahead(BatchCall *call, ExprContext *context, Prefetch *prefetch)
{
	bool		isnull;

	if (call->guard && (!DatumGetBool(ExecEvalExpr(call->guard, context, &isnull)) || isnull))
		return;
	if (!evaluate_arguments(call, context))
		return;
	/* The function alone: its arguments' functions may ask for themselves. */
	call_prefetch_begin(prefetch);
	PG_TRY();
	{
		call->call->isnull = false;
		(void) FunctionCallInvoke(call->call);
	}
	PG_FINALLY();
	{
		call_prefetch_end();
	}
	PG_END_TRY();
}

/* The calls of the row's next stage. */
static void
ask_for_row(BatchState *state, BatchRow *row)
{
	ExprContext *context = state->ahead;
	MemoryContext caller;
	int			stage = row->stage++;

	context->ecxt_scantuple = row->slot;
	caller = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);
	for (int i = 0; i < state->n_calls; i++)
		if (state->calls[i].stage == stage)
			ask_ahead(&state->calls[i], context, &row->asked);
	MemoryContextSwitchTo(caller);
	ResetExprContext(context);
	state->figures.requests += row->asked.n_new;
	state->figures.memo_hits += row->asked.n_hits;
	row->asked.n_new = row->asked.n_hits = 0;
}

/* ------------------------------------------------------------------
 *	The ring
 * ------------------------------------------------------------------
 */

static BatchRow *
row_at(BatchState *state, int i)
{
	return &state->rows[(state->first + i) % state->size];
}

/* What was asked for a row is its own no more. */
static void
release(BatchState *state, BatchRow *row)
{
	bool		valid = state->generation == memo_generation();

	for (int i = 0; i < row->asked.n_entries && valid; i++)
	{
		MemoEntry  *entry = row->asked.entries[i];

		batch_explain_count(&state->figures, entry);
		memo_unpin(entry);
	}
	row->asked.n_entries = 0;
}

static void
release_all(BatchState *state)
{
	if (state->holds)
		release(state, row_at(state, -1 + state->size));
	state->holds = false;
	for (int i = 0; i < state->n; i++)
		release(state, row_at(state, i));
	state->n = 0;
	state->bytes = 0;
}

static void
release_at_end(void *arg)
{
	release_all(arg);
}

static void
open_ring(BatchState *state)
{
	EState	   *estate = state->custom.ss.ps.state;
	TupleDesc	descriptor = state->custom.ss.ss_ScanTupleSlot->tts_tupleDescriptor;
	MemoryContext caller = MemoryContextSwitchTo(estate->es_query_cxt);

	/* one more for the row that is out */
	state->size = setting_prefetch_rows + 1;
	state->window = setting_prefetch_rows;
	state->rows = palloc0(state->size * sizeof(BatchRow));
	for (int i = 0; i < state->size; i++)
	{
		state->rows[i].slot = MakeTupleTableSlot(descriptor, &TTSOpsVirtual);
		state->rows[i].asked.context = estate->es_query_cxt;
	}
	MemoryContextSwitchTo(caller);
	state->ramp = 1;
}

/* Takes over a row of the input; false when there is none. */
static bool
take_row(BatchState *state)
{
	TupleTableSlot *input = ExecProcNode(outerPlanState(&state->custom.ss.ps));
	BatchRow   *row;

	if (TupIsNull(input))
		return false;
	row = row_at(state, state->n);
	ExecCopySlot(row->slot, input);
	row->bytes = 64 * (1 + input->tts_tupleDescriptor->natts);
	for (int i = 0; i < input->tts_tupleDescriptor->natts; i++)
		if (!row->slot->tts_isnull[i] && TupleDescAttr(input->tts_tupleDescriptor, i)->attlen == -1)
			row->bytes += VARSIZE_ANY(DatumGetPointer(row->slot->tts_values[i]));
	state->bytes += row->bytes;
	state->n++;
	row->stage = 0;
	ask_for_row(state, row);
	return true;
}

/*
 * Half a window at a time, once it is full.  What the rows hold counts against work_mem; one
 * row is always taken.
 */
static void
fill(BatchState *state)
{
	int64		requests = state->figures.requests;

	/* while it grows, rows are taken only when all before them are gone */
	if (state->done || state->n > (state->ramp < state->window ? 0 : state->window / 2))
		return;
	while (state->n < state->ramp && !state->done &&
		   (state->n == 0 || state->bytes < (Size) work_mem * 1024))
	{
		CHECK_FOR_INTERRUPTS();
		state->done = !take_row(state);
	}
	if (state->figures.requests > requests)
		engine_send_requests();
	state->ramp = Min(2 * state->ramp, state->window);
}

/*
 * Asks the later stages of rows as far as what came before is answered.  A row
 * with an error asks no more: it is raised when the row's turn comes.
 */
static void
ask_on(BatchState *state)
{
	int64		requests = state->figures.requests;

	for (int i = 0; i < state->n; i++)
	{
		BatchRow   *row = row_at(state, i);
		MemoAnswer	answer = MEMO_ANSWERED;

		while (row->stage < state->n_stages && answer == MEMO_ANSWERED)
		{
			for (int j = 0; j < row->asked.n_entries && answer == MEMO_ANSWERED; j++)
				answer = memo_look(row->asked.entries[j]);
			if (answer == MEMO_ANSWERED)
				ask_for_row(state, row);
			else if (answer == MEMO_FAILED)
				row->stage = state->n_stages;
		}
	}
	if (state->figures.requests > requests)
		engine_send_requests();
}

/* Until all stages of the first row are asked. */
static void
finish_stages(BatchState *state)
{
	BatchRow   *row = row_at(state, 0);

	if (state->n_stages <= 1)
		return;
	for (;;)
	{
		MemoEntry  *pending = NULL;

		ask_on(state);
		if (row->stage >= state->n_stages)
			return;
		for (int i = 0; i < row->asked.n_entries && pending == NULL; i++)
			if (memo_look(row->asked.entries[i]) == MEMO_PENDING)
				pending = row->asked.entries[i];
		if (pending)
			(void) memo_wait(pending);
		CHECK_FOR_INTERRUPTS();
	}
}

/* The next row, which stays where it is until the one after it is asked for. */
static BatchRow *
next_row(BatchState *state)
{
	BatchRow   *row;

	if (state->rows == NULL)
		open_ring(state);
	if (state->generation != memo_generation())
	{
		/* What was asked is forgotten; the rows' own calls will ask again. */
		for (int i = 0; i < state->size; i++)
		{
			state->rows[i].asked.n_entries = 0;
			state->rows[i].stage = state->n_stages;
		}
		state->generation = memo_generation();
	}
	if (state->holds)
	{
		row = row_at(state, -1 + state->size);
		release(state, row);
		ExecClearTuple(row->slot);
		state->holds = false;
	}
	fill(state);
	if (state->n == 0)
		return NULL;
	finish_stages(state);
	row = row_at(state, 0);
	state->first = (state->first + 1) % state->size;
	state->n--;
	state->bytes -= row->bytes;
	state->holds = true;
	return row;
}

/* ------------------------------------------------------------------
 *	The node
 * ------------------------------------------------------------------
 */

static TupleTableSlot *
evaluate(BatchState *state, BatchRow *row)
{
	ScanState  *scan = &state->custom.ss;
	ExprContext *context = scan->ps.ps_ExprContext;

	ResetExprContext(context);
	context->ecxt_scantuple = row->slot;
	if (!ExecQual(scan->ps.qual, context))
	{
		InstrCountFiltered1(scan, 1);
		return NULL;
	}
	return scan->ps.ps_ProjInfo ? ExecProject(scan->ps.ps_ProjInfo) : row->slot;
}

static TupleTableSlot *
execute(CustomScanState *custom)
{
	BatchState *state = (BatchState *) custom;
	BatchRow   *row;
	TupleTableSlot *result;

	batch_explain_end(state);
	while ((row = next_row(state)) != NULL)
	{
		batch_explain_begin(state);
		result = evaluate(state, row);
		if (!state->looks_only)
			batch_explain_end(state);
		if (result)
			return result;
		CHECK_FOR_INTERRUPTS();
	}
	return NULL;
}

static void
begin(CustomScanState *custom, EState *estate, int eflags)
{
	BatchState *state = (BatchState *) custom;
	CustomScan *plan = (CustomScan *) custom->ss.ps.plan;
	MemoryContextCallback *callback;

	Assert(!(eflags & (EXEC_FLAG_BACKWARD | EXEC_FLAG_MARK)));
	outerPlanState(&custom->ss.ps) = ExecInitNode(outerPlan(plan), estate, eflags);
	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	state->ahead = CreateExprContext(estate);
	state->generation = memo_generation();
	state->n_calls = list_length(plan->custom_exprs) / 2;
	state->looks_only = !batch_calls_any((Node *) plan->scan.plan.targetlist) &&
		!batch_calls_any((Node *) plan->scan.plan.qual);
	state->calls = palloc0(state->n_calls * sizeof(BatchCall));
	for (int i = 0; i < state->n_calls; i++)
		init_call(state, &state->calls[i], list_nth(plan->custom_exprs, 2 * i),
				  list_nth_node(FuncExpr, plan->custom_exprs, 2 * i + 1));
	callback = palloc0(sizeof(*callback));
	callback->func = release_at_end;
	callback->arg = state;
	MemoryContextRegisterResetCallback(estate->es_query_cxt, callback);
}

static void
end(CustomScanState *custom)
{
	release_all((BatchState *) custom);
	ExecEndNode(outerPlanState(&custom->ss.ps));
}

static void
rescan(CustomScanState *custom)
{
	BatchState *state = (BatchState *) custom;
	PlanState  *child = outerPlanState(&custom->ss.ps);

	release_all(state);
	state->done = false;
	state->ramp = 1;
	if (child->chgParam == NULL)
		ExecReScan(child);
}

static void
explain(CustomScanState *custom, List *ancestors, ExplainState *es)
{
	batch_explain((BatchState *) custom, ancestors, es);
}

static const CustomExecMethods execute_methods = {
	.CustomName = "Dsr1Batch",
	.BeginCustomScan = begin,
	.ExecCustomScan = execute,
	.EndCustomScan = end,
	.ReScanCustomScan = rescan,
	.ExplainCustomScan = explain
};

static Node *
create_state(CustomScan *plan)
{
	BatchState *state = palloc0(sizeof(BatchState));

	NodeSetTag(state, T_CustomScanState);
	state->custom.methods = &execute_methods;
#if PG_VERSION_NUM >= 160000
	state->custom.slotOps = &TTSOpsVirtual;
#endif
	return (Node *) state;
}

CustomScan *
batch_node_make(void)
{
	CustomScan *node = makeNode(CustomScan);

	node->methods = &plan_methods;
#if PG_VERSION_NUM >= 150000
	node->flags = CUSTOMPATH_SUPPORT_PROJECTION;
#endif
	return node;
}

bool
batch_node_is(const Plan *plan)
{
	return IsA(plan, CustomScan) && ((const CustomScan *) plan)->methods == &plan_methods;
}

void
batch_node_register(void)
{
	RegisterCustomScanMethods(&plan_methods);
}
