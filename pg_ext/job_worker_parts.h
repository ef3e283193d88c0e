/*-------------------------------------------------------------------------
 *
 * job_worker_parts.h
 *	  what the files of a job's worker share
 *
 * job_worker.c has the loop, its transactions and the writing; job_claim.c
 * takes rows in hand, job_answers.c has the engine's side.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JOB_WORKER_PARTS_H
#define JOB_WORKER_PARTS_H

#include "compat.h"
#include "job_rows.h"
#include "lib/ilist.h"
#include "utils/timestamp.h"

typedef struct Worker
{
	int64		job_id;
	MemoryContext context;
	dlist_head	in_hand;		/* of JobRow */
	int			n_in_hand;
	int			n_settled;
	TimestampTz settled_since;
	int64		last;			/* the place in the queue */
	int			batch;
	int			singly;			/* so many rows are claimed one by one */
	bool		suspect_in_hand;
	bool		watch;
	int			engine_failures;
	double		rows_per_s;
	TimestampTz wrote_at;
	/* of the last transaction: */
	bool		stop;			/* the job is not to run any more */
	int			looked_at;		/* rows that were claimed, wanted or not */
	JobRest		rest;
	JobRow	  **write_rows;
	int			n_write;
	char		digest[80];
	uint64		model;			/* whose digest that is */
	TimestampTz wait_for_digest;	/* no longer than until then; 0: not begun */
} Worker;

typedef void (*Work) (Worker *worker, Job *job, JobTable *table);

/* NULL if it went well, in a transaction of its own; else the error, and nothing has happened. */
extern ErrorData *job_worker_attempt(Worker *worker, Work work);

/* Notes the error with the job, and leaves. */
extern void job_worker_give_up(Worker *worker, const ErrorData *error) pg_attribute_noreturn();

/* Interrupts, and what has become of the job; leaves if that is not to run any more. */
extern void job_worker_serve_signals(Worker *worker);
extern void job_worker_rest(Worker *worker, long ms);

/* Claims as many rows as there is room for; false if there was none to be had. */
extern bool job_claim_rows(Worker *worker);

/*
 * Sends, receives, and waits a little.  False if there is no engine now; there
 * will be another one.
 */
extern bool job_answers_pump(Worker *worker, long ms);

/* Looks what has come for the rows in hand. */
extern void job_answers_collect(Worker *worker);

/* The model's digest, "" if it is not to be had for long; false if there is no engine. */
extern bool job_answers_ask_model(Worker *worker);

/* Answers of a model that has been replaced since: they are asked for again. */
extern void job_answers_refuse_other_models(Worker *worker);

#endif							/* JOB_WORKER_PARTS_H */
