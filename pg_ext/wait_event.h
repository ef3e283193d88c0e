/*-------------------------------------------------------------------------
 *
 * wait_event.h
 *	  what pg_stat_activity says that dsr1's processes wait for
 *
 * PostgreSQL has names for what extensions wait for since 17; before, all of
 * them are wait_event_type and wait_event 'Extension'.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef WAIT_EVENT_NAMES_H
#define WAIT_EVENT_NAMES_H

#include "compat.h"

#define WAIT_EVENTS_HAVE_NAMES	(PG_VERSION_NUM >= 170000)

typedef enum WaitEventName
{
	WAIT_ENGINE_START,
	WAIT_ENGINE_ANSWER,			/* to what takes the engine no time */
	WAIT_QUEUE,
	WAIT_PREFILL,
	WAIT_DECODE,
	WAIT_DIGEST,
	WAIT_JOB,
	WAIT_TRAINER,
	WAIT_SUPERVISOR
} WaitEventName;

/* For WaitLatch() and its like. */
extern uint32 wait_event(WaitEventName name);

#endif							/* WAIT_EVENT_NAMES_H */
