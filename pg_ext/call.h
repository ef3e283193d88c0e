/*-------------------------------------------------------------------------
 *
 * call.h
 *	  one call of an SQL function: what it asks the engine, and the answers
 *
 *		if (!call_open(&call, fcinfo))
 *			PG_RETURN_NULL();
 *		request = call_request(&call);
 *		call_ask(&call, wire_put_score(&request->frame, request->id, ...));
 *		if (!call_send(&call))
 *			PG_RETURN_NULL();
 *		... call_answer(&call, 0, &frame) ...
 *		call_close(&call);
 *
 * So a function can be evaluated twice: ahead, when it only asks, and for its
 * result.  While a prefetch is open, call_send() leaves the questions to it
 * and returns false.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef CALL_H
#define CALL_H

#include "fmgr.h"
#include "memo.h"

typedef struct Call
{
	Oid			function;
	EngineRequest *request;		/* being put together */
	bool		common;			/* what is asked now, all rows ask: no hit in the memo if it is there */
	MemoEntry **entries;		/* what was asked, pinned */
	int			n_entries;
	int			capacity;
} Call;

/*
 * False while planning: the planner evaluates stable functions to guess how
 * selective they are, which is not worth a run of the model.
 */
extern bool call_open(Call *call, FunctionCallInfo fcinfo);

/* A new request, and then its frame, or false if that did not fit. */
extern EngineRequest *call_request(Call *call);
extern void call_ask(Call *call, bool put);

/* False: nobody waits for the answers now, return anything. */
extern bool call_send(Call *call);

/*
 * Waits for answer number i.  False if it is an error which dsr1.on_error
 * turns into NULL; other errors are raised.
 */
extern bool call_answer(Call *call, int i, struct wire_frame *frame);

/* The same for the answers' usual kinds, checked. */
extern bool call_done(Call *call, int i, struct wire_done *done);
extern bool call_scores(Call *call, int i, struct wire_score_result *result);

extern void call_close(Call *call);

/* Raises 55000 if this statement has had answers of another model than this one. */
extern void call_pin_model(uint64 model);

/* For one question and its answer in one go: a text, or NULL. */
extern text *call_text(Call *call);

/* ------------------------------------------------------------------
 *	Asking ahead
 * ------------------------------------------------------------------
 */

typedef struct Prefetch
{
	MemoEntry **entries;		/* asked since it was opened, pinned */
	int			n_entries;
	int			capacity;
	int64		n_new;			/* that were not in the memo */
	int64		n_hits;			/* that were, but for what all rows ask */
	MemoryContext context;		/* of entries */
} Prefetch;

/* Between these, calls only ask, and what they ask is pinned in the prefetch. */
extern void call_prefetch_begin(Prefetch *prefetch);
extern void call_prefetch_end(void);

/* For the end of a transaction: what was counted and opened is over. */
extern void call_reset(void);

#endif							/* CALL_H */
