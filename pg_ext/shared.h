/*-------------------------------------------------------------------------
 *
 * shared.h
 *	  what dsr1's processes know of each other
 *
 * One block of shared memory: which jobs have a worker, when which database
 * wants to be looked at, which requests are running, and what each role has
 * used.  It is made by whoever comes first.  Preloaded, room is reserved for
 * it; else it is small enough for what the server keeps for such cases.  It is
 * lost with the server, but for what roles have used (usage_file.h).
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef SHARED_H
#define SHARED_H

#include "datatype/timestamp.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#define SHARED_JOBS		64
#define SHARED_LOOKS	128

typedef enum JobPhase
{
	JOB_STARTING,
	JOB_CLAIMING,
	JOB_GENERATING,
	JOB_WRITING,
	JOB_WAITING_ENGINE,
	JOB_IDLE,
	JOB_TRAINING,
	JOB_REWARDING
} JobPhase;

/* A job's worker. */
typedef struct SharedJob
{
	Oid			database;
	pid_t		pid;			/* 0: a free place */
	int64		job;
	Latch	   *latch;
	bool		changed;		/* the job was, and its worker shall look */
	JobPhase	phase;
	int			in_flight;
	int64		done;			/* since the worker started */
	int64		failed;
	TimestampTz started;
} SharedJob;

/* When a database's jobs are to be looked at next, or a job's worker started. */
typedef struct SharedLook
{
	Oid			database;		/* InvalidOid: a free place */
	Oid			owner;			/* of the job */
	int64		job;			/* 0: all of the database's */
	TimestampTz at;
} SharedLook;

/* A request on its way. */
typedef struct SharedRequest
{
	uint64		id;				/* unique while the server runs; 0: a free place */
	pid_t		pid;
	uint64		request;		/* its id on that process's connection */
	Oid			database;
	Oid			login;			/* whose quota it uses */
	Oid			role;			/* who asked */
	Latch	   *latch;
	int			kind;			/* enum wire_type */
	int			priority;
	bool		sent;
	bool		cancelled;
	int64		job;			/* 0: none */
	int64		bytes;			/* of the request */
	char		adapter[65];	/* its digest, or "" */
	TimestampTz began;
} SharedRequest;

/* What a role has used in a database by requests of one kind. */
typedef struct SharedUsage
{
	Oid			login;			/* InvalidOid: a free place */
	Oid			database;
	int			kind;
	int64		day;			/* of tokens_today, since 2000 */
	int64		calls;
	int64		errors;
	int64		prompt_tokens;
	int64		cached_tokens;
	int64		generated_tokens;
	int64		tokens_today;
	double		engine_ms;
} SharedUsage;

typedef struct Shared
{
	LWLock		lock;			/* guards all of it */
	Latch	   *supervisor;		/* NULL: there is none */
	uint64		last_request;
	TimestampTz stats_reset;
	SharedJob	jobs[SHARED_JOBS];
	SharedLook	looks[SHARED_LOOKS];
	int			n_usages;
	int			n_requests;
	SharedUsage *usages;
	SharedRequest *requests;
} Shared;

/* While preloading: reserves the room. */
extern void shared_reserve(void);

/* The block; raises an error if there is no room for it. */
extern Shared *shared(void);

#endif							/* SHARED_H */
