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
 * condition that is true only if evaluation gets there.  Calls whose turn
 * depends on another call's answer are left out, and so are those with
 * arguments that should not be evaluated twice.  A list: guard, call, guard,
 * call, ...  Nothing is there twice.
 */
extern List *batch_calls_collect(Node *expression, List *collected);

/* The same for the arguments of aggregates and window functions in it only. */
extern List *batch_calls_collect_inner(Node *expression, List *collected);

#endif							/* BATCH_CALLS_H */
