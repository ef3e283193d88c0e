/*-------------------------------------------------------------------------
 *
 * job_board.c
 *	  which jobs have a worker, and which databases want to be looked at
 *
 * The tables say what there is to do, the board only who does it, and when
 * somebody should look at the tables.  After a restart the board is empty,
 * and the supervisor has every database looked at.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "job_board.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#define LOOK_AFTER_DEATH	1000	/* ms */

static SharedJob *mine = NULL;

/* ------------------------------------------------------------------
 *	Looks
 * ------------------------------------------------------------------
 */

static void
look_locked(Shared *board, Oid database, Oid owner, int64 job, TimestampTz at)
{
	SharedLook *place = NULL;

	for (int i = 0; i < SHARED_LOOKS; i++)
	{
		SharedLook *look = &board->looks[i];

		if (look->database == database && look->job == job)
		{
			place = look;
			break;
		}
		if (!OidIsValid(look->database) && place == NULL)
			place = look;
	}
	/* with more databases than places, the first one is looked at for all */
	if (place == NULL)
		place = &board->looks[database % SHARED_LOOKS];
	if (place->database != database || place->job != job || at < place->at)
		place->at = at;
	place->database = database;
	place->owner = owner;
	place->job = job;
	if (board->supervisor)
		SetLatch(board->supervisor);
}

void
job_board_want(Oid database, Oid owner, int64 job, TimestampTz at)
{
	Shared	   *board = shared();

	LWLockAcquire(&board->lock, LW_EXCLUSIVE);
	look_locked(board, database, owner, job, at);
	LWLockRelease(&board->lock);
}

void
job_board_look(Oid database, TimestampTz at)
{
	job_board_want(database, InvalidOid, 0, at);
}

static void
forget_supervisor(int code, Datum arg)
{
	Shared	   *board = shared();

	LWLockAcquire(&board->lock, LW_EXCLUSIVE);
	if (board->supervisor == MyLatch)
		board->supervisor = NULL;
	LWLockRelease(&board->lock);
}

void
job_board_set_supervisor(Latch *latch)
{
	Shared	   *board = shared();

	LWLockAcquire(&board->lock, LW_EXCLUSIVE);
	board->supervisor = latch;
	LWLockRelease(&board->lock);
	before_shmem_exit(forget_supervisor, (Datum) 0);
}

bool
job_board_next_look(TimestampTz now, SharedLook *next)
{
	Shared	   *board = shared();
	bool		found = false;

	LWLockAcquire(&board->lock, LW_EXCLUSIVE);
	for (int i = 0; i < SHARED_LOOKS && !found; i++)
	{
		SharedLook *look = &board->looks[i];

		if (OidIsValid(look->database) && look->at <= now)
		{
			*next = *look;
			look->database = InvalidOid;
			found = true;
		}
	}
	LWLockRelease(&board->lock);
	return found;
}

TimestampTz
job_board_next_time(void)
{
	Shared	   *board = shared();
	TimestampTz next = DT_NOEND;

	LWLockAcquire(&board->lock, LW_SHARED);
	for (int i = 0; i < SHARED_LOOKS; i++)
		if (OidIsValid(board->looks[i].database))
			next = Min(next, board->looks[i].at);
	LWLockRelease(&board->lock);
	return next;
}

/* ------------------------------------------------------------------
 *	Workers
 * ------------------------------------------------------------------
 */

static SharedJob *
find_worker(Shared *board, Oid database, int64 job)
{
	for (int i = 0; i < SHARED_JOBS; i++)
	{
		SharedJob  *worker = &board->jobs[i];

		if (worker->pid != 0 && worker->database == database && worker->job == job)
			return worker;
	}
	return NULL;
}

static void
leave(int look_ms)
{
	Shared	   *board = shared();

	if (mine == NULL)
		return;
	LWLockAcquire(&board->lock, LW_EXCLUSIVE);
	if (look_ms >= 0)
		look_locked(board, mine->database, InvalidOid, 0,
					TimestampTzPlusMilliseconds(GetCurrentTimestamp(), look_ms));
	mine->pid = 0;
	mine->latch = NULL;
	LWLockRelease(&board->lock);
	mine = NULL;
}

void
job_board_leave(int look_ms)
{
	leave(look_ms);
}

static void
leave_at_exit(int code, Datum arg)
{
	leave(LOOK_AFTER_DEATH);
}

bool
job_board_enter(int64 job)
{
	static bool registered = false;
	Shared	   *board = shared();

	LWLockAcquire(&board->lock, LW_EXCLUSIVE);
	if (find_worker(board, MyDatabaseId, job) == NULL)
	{
		for (int i = 0; i < SHARED_JOBS && mine == NULL; i++)
			if (board->jobs[i].pid == 0)
				mine = &board->jobs[i];
	}
	if (mine)
		*mine = (SharedJob)
		{
			.database = MyDatabaseId,
			.pid = MyProcPid,
			.job = job,
			.latch = MyLatch,
			.phase = JOB_STARTING,
			.started = GetCurrentTimestamp()
		};
	LWLockRelease(&board->lock);
	if (mine && !registered)
	{
		before_shmem_exit(leave_at_exit, (Datum) 0);
		registered = true;
	}
	return mine != NULL;
}

void
job_board_phase(JobPhase phase, int in_flight)
{
	Shared	   *board = shared();

	LWLockAcquire(&board->lock, LW_EXCLUSIVE);
	mine->phase = phase;
	mine->in_flight = in_flight;
	LWLockRelease(&board->lock);
}

void
job_board_count(int done, int failed)
{
	Shared	   *board = shared();

	LWLockAcquire(&board->lock, LW_EXCLUSIVE);
	mine->done += done;
	mine->failed += failed;
	LWLockRelease(&board->lock);
}

bool
job_board_wake(Oid database, int64 job)
{
	Shared	   *board = shared();
	SharedJob  *worker;

	LWLockAcquire(&board->lock, LW_SHARED);
	worker = find_worker(board, database, job);
	if (worker)
		SetLatch(worker->latch);
	LWLockRelease(&board->lock);
	return worker != NULL;
}

void
job_board_change(Oid database, int64 job)
{
	Shared	   *board = shared();
	SharedJob  *worker;

	LWLockAcquire(&board->lock, LW_EXCLUSIVE);
	worker = find_worker(board, database, job);
	if (worker)
	{
		worker->changed = true;
		SetLatch(worker->latch);
	}
	LWLockRelease(&board->lock);
}

/* Only its own worker resets it, so a glance without the lock is enough. */
bool
job_board_is_changed(void)
{
	bool		changed = mine && mine->changed;

	if (changed)
		mine->changed = false;
	return changed;
}

bool
job_board_has_worker(Oid database, int64 job)
{
	Shared	   *board = shared();
	bool		has;

	LWLockAcquire(&board->lock, LW_SHARED);
	has = find_worker(board, database, job) != NULL;
	LWLockRelease(&board->lock);
	return has;
}
