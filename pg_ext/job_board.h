/*-------------------------------------------------------------------------
 *
 * job_board.h
 *	  which jobs have a worker, and which databases want to be looked at
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JOB_BOARD_H
#define JOB_BOARD_H

#include "shared.h"

/*
 * This process becomes the worker of a job; false if there is one, or no place
 * for one.  The place is left when the process ends, and the database looked
 * at again a moment later, unless job_board_leave said something else.
 */
extern bool job_board_enter(int64 job);

/* Leaves; the database is to be looked at after so many ms, or -1: not for this. */
extern void job_board_leave(int look_ms);

extern void job_board_phase(JobPhase phase, int in_flight);
extern void job_board_count(int done, int failed);

/* Wakes a job's worker; false if it has none. */
extern bool job_board_wake(Oid database, int64 job);

/* Tells a job's worker, if there is one, that the job was paused, changed or cancelled. */
extern void job_board_change(Oid database, int64 job);

/* For the worker: was it told so since it asked last? */
extern bool job_board_is_changed(void);

extern bool job_board_has_worker(Oid database, int64 job);

/* The database's jobs are to be looked at then, if not before. */
extern void job_board_look(Oid database, TimestampTz at);

/* The same, for a job that is known to want a worker. */
extern void job_board_want(Oid database, Oid owner, int64 job, TimestampTz at);

/* ------------------------------------------------------------------
 *	For the supervisor
 * ------------------------------------------------------------------
 */

extern void job_board_set_supervisor(Latch *latch);

/* Takes from the list what is due; false if there is nothing. */
extern bool job_board_next_look(TimestampTz now, SharedLook *next);

/* When the next one is due; DT_NOEND if there is none. */
extern TimestampTz job_board_next_time(void);

#endif							/* JOB_BOARD_H */
