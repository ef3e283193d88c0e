/*-------------------------------------------------------------------------
 *
 * wait_event.c
 *	  what pg_stat_activity says that dsr1's processes wait for
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wait_event.h"

#if WAIT_EVENTS_HAVE_NAMES
static const char *const names[] = {
	[WAIT_ENGINE_START] = "Dsr1EngineStart",
	[WAIT_ENGINE_ANSWER] = "Dsr1EngineAnswer",
	[WAIT_QUEUE] = "Dsr1Queue",
	[WAIT_PREFILL] = "Dsr1Prefill",
	[WAIT_DECODE] = "Dsr1Decode",
	[WAIT_DIGEST] = "Dsr1Digest",
	[WAIT_JOB] = "Dsr1JobWait",
	[WAIT_TRAINER] = "Dsr1Train",
	[WAIT_SUPERVISOR] = "Dsr1Supervisor"
};

/* The number of a name takes a lock to find, so a process finds it once. */
uint32
wait_event(WaitEventName name)
{
	static uint32 numbers[lengthof(names)];

	if (numbers[name] == 0)
		numbers[name] = WaitEventExtensionNew(names[name]);
	return numbers[name];
}
#else
uint32
wait_event(WaitEventName name)
{
	return PG_WAIT_EXTENSION;
}
#endif
