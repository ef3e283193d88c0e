/*-------------------------------------------------------------------------
 *
 * batch_calls.h
 *	  the calls in an expression that can be asked ahead
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef BATCH_CALLS_H
#define BATCH_CALLS_H

#include "nodes/pg_list.h"
#include "nodes/primnodes.h"

/* Does an expression, or a list of them, call a function that asks the engine? */
extern bool batch_calls_any(Node *expression);

/*
 * The calls that are evaluated with the expression, each behind its guard: a
 * condition that is true only if evaluation gets there.  A call stands behind
 * those that its arguments make.  Calls whose guard depends on another call's
 * answer are left out, and so are those with arguments that should not be
 * evaluated twice.  A list: guard, call, guard, call, ...  Nothing is there
 * twice.
 */
extern List *batch_calls_collect(Node *expression, List *collected);

/* How many calls deep the arguments of a call ask: 0 for one that can be asked at once. */
extern int	batch_calls_depth(const FuncExpr *call);

/* The same for the arguments of aggregates and window functions in it only. */
extern List *batch_calls_collect_inner(Node *expression, List *collected);

#endif							/* BATCH_CALLS_H */
