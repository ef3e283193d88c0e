/*-------------------------------------------------------------------------
 *
 * job_process.h
 *	  the process of a job, whatever it does: its transactions, and its end
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JOB_PROCESS_H
#define JOB_PROCESS_H

#include "compat.h"
#include "job.h"

typedef void (*JobWork) (Job *job, void *arg);

/* Ends the process; the database's jobs are looked at after so many ms, or -1: not for this. */
extern void job_process_leave(int look_ms) pg_attribute_noreturn();

/* Between two pieces of work: interrupts, settings, and whoever wants the database for himself. */
extern void job_process_serve_signals(void);

/*
 * In a transaction, with SPI connected and settings as in job_settings_begin():
 * reads the job and does the work, if it is to run.  False if it is not to run
 * any more.
 */
extern bool job_process_run(int64 id, JobWork work, void *arg);

/* The same in another state than "running". */
extern bool job_process_run_if(int64 id, const char *state, JobWork work, void *arg);

/* NULL if it went well; else the error, in that context, and its transaction has not happened. */
extern ErrorData *job_process_attempt(MemoryContext context, void (*function) (void *), void *arg);

/* Is it the error of a row, or whatever a user wrote, as far as a SQLSTATE tells? */
extern bool job_process_is_of_row(const ErrorData *error);

/* Does it not go by waiting? */
extern bool job_process_is_permanent(const ErrorData *error);

/* Notes the error with the job, which is tried again after a while unless it is permanent, and leaves. */
extern void job_process_give_up(int64 job, const ErrorData *error, bool permanent) pg_attribute_noreturn();

#endif							/* JOB_PROCESS_H */
