/*-------------------------------------------------------------------------
 *
 * batch_state.h
 *	  the state of the node that looks ahead
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef BATCH_STATE_H
#define BATCH_STATE_H

#include "call.h"
#include "nodes/execnodes.h"
#include "portability/instr_time.h"

/* What EXPLAIN (ANALYZE) shows. */
typedef struct BatchFigures
{
	int64		requests;		/* questions that were sent */
	int64		memo_hits;		/* that had been asked before */
	int64		prompt_tokens,
				cached_tokens,
				generated_tokens;
	int64		waits;			/* rows handed on */
	int64		in_flight;		/* summed over these */
	instr_time	began;
	double		wait_s;			/* in their calls */
} BatchFigures;

typedef struct BatchCall
{
	int			stage;			/* 0: asked as the row comes in; else once what its arguments ask is answered */
	ExprState  *guard;			/* NULL: always */
	ExprState **args;
	int			n_args;
	FmgrInfo	function;
	FunctionCallInfo call;
} BatchCall;

typedef struct BatchRow
{
	TupleTableSlot *slot;
	Size		bytes;
	int			stage;			/* of the calls to be asked next */
	Prefetch	asked;
} BatchRow;

typedef struct BatchState
{
	CustomScanState custom;		/* must be first */
	BatchCall  *calls;
	int			n_calls;
	int			n_stages;
	bool		looks_only;		/* who asked is evaluated above the node */
	ExprContext *ahead;			/* for calls made ahead */
	BatchRow   *rows;			/* the ring; NULL before the first row */
	int			size;			/* of the ring: the window and the row that is out */
	int			first,
				n;				/* rows that wait in it */
	Size		bytes;			/* that they hold */
	bool		holds;			/* the row before the first is out */
	bool		done;			/* the input has ended */
	int			ramp,
				window;
	uint64		generation;		/* of the memo, in which the rows' entries are */
	BatchFigures figures;
} BatchState;

#endif							/* BATCH_STATE_H */
