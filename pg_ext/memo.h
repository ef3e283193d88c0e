/*-------------------------------------------------------------------------
 *
 * memo.h
 *	  what a statement has asked the engine already, and the answers
 *
 * Answers depend on the request alone, to the last bit, so a request that was
 * made before is not made again: within a statement, the same question is
 * computed once, however often its text or its plan repeats it.  Questions of
 * rows to come are asked ahead in the same way: who evaluates the call later
 * finds it on its way.
 *
 * The memo is emptied when no statement runs any more, and at the end of the
 * transaction.  It holds as much as work_mem, but for what is pinned.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef MEMO_H
#define MEMO_H

#include "datatype/timestamp.h"
#include "engine_client.h"

typedef struct MemoEntry
{
	dlist_node	node;			/* unpinned ones, least recently used first */
	EngineRequest *request;		/* NULL: waiting for it failed */
	int			pins;
	bool		forgotten;		/* in the memo no more; freed with the last pin */
	bool		counted;		/* its answer has been looked at */
	bool		shown;			/* and is in what EXPLAIN shows */
	Oid			function;		/* that asked first */
	dsr1_usage	usage;			/* once counted */
	uint64		model;			/* that answered, 0 for none */
	TimestampTz asked_at;
} MemoEntry;

/* A request to be put together; give it to memo_ask() or free it. */
extern EngineRequest *memo_request(void);

/*
 * The entry for a request with its frame, which it now owns; *found tells
 * whether the same was asked before.  It is pinned; nothing is sent yet.
 */
extern MemoEntry *memo_ask(EngineRequest *request, Oid function, bool *found);

/* How things stand with an entry's answer, without waiting. */
typedef enum MemoAnswer
{
	MEMO_PENDING,
	MEMO_ANSWERED,
	MEMO_FAILED					/* an error, or lost */
} MemoAnswer;

extern MemoAnswer memo_look(const MemoEntry *entry);

/* Waits for the answer, which may be an error. */
extern const EngineRequest *memo_wait(MemoEntry *entry);

extern void memo_unpin(MemoEntry *entry);

/* Drops an entry, so that the same will be asked again. */
extern void memo_forget(MemoEntry *entry);

/*
 * A statement's answers come from one model: the first one that is named here
 * until the memo is emptied.  False for another one; 0 is none.
 */
extern bool memo_pin_model(uint64 model);

/* Empties the memo.  Entries pinned before must not be touched any more. */
extern void memo_reset(void);

/* Changes whenever the memo is emptied, or would be if it held anything. */
extern uint64 memo_generation(void);

#endif							/* MEMO_H */
