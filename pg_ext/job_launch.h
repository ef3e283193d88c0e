/*-------------------------------------------------------------------------
 *
 * job_launch.h
 *	  workers for the jobs that have work
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JOB_LAUNCH_H
#define JOB_LAUNCH_H

/* What the worker of a job is told, in bgw_extra. */
typedef struct JobTicket
{
	Oid			database;
	Oid			owner;
	int64		job;
} JobTicket;

/* When this transaction commits, the job's worker is woken, or started. */
extern void job_launch_at_commit(int64 job, Oid owner);

/* When it commits, the job's worker looks whether it is to go on. */
extern void job_change_at_commit(int64 job);

/* Starts a worker for a job; false if there is no slot for one. */
extern bool job_launch(Oid database, Oid owner, int64 job);

/*
 * For the supervisor: starts a process that has a look at a database's jobs,
 * or with InvalidOid at those of all databases.
 */
extern bool job_launch_look(Oid database);

#endif							/* JOB_LAUNCH_H */
