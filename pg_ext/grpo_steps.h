/*-------------------------------------------------------------------------
 *
 * grpo_steps.h
 *	  what a run of GRPO has done, in tables
 *
 * All of it is for the work of job_process_run(): in its transaction.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef GRPO_STEPS_H
#define GRPO_STEPS_H

#include "grpo_reward.h"
#include "job.h"

/* Of one step, until it is written: lines of the trainer's in UTF-8, and errors of the reward. */
typedef struct GrpoStep
{
	int64		number;
	char	   *line;
	List	   *samples;		/* of char * */
	List	   *errors;			/* of GrpoError * */
} GrpoStep;

/* The trainer begins after that step: forgets later ones.  False if an earlier one is missing. */
extern bool grpo_steps_begin(const Job *job, int64 step);

/* The step with its figures, and the job's progress; without samples where with_samples is false. */
extern void grpo_steps_write(const Job *job, const GrpoStep *step, bool with_samples);

/* Only its errors: of a step that will not be. */
extern void grpo_steps_write_errors(int64 job, const GrpoStep *step);

/* The adapter is there: the run is done. */
extern void grpo_steps_finish(const Job *job, bytea *adapter);

#endif							/* GRPO_STEPS_H */
