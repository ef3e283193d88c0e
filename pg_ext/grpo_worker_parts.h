/*-------------------------------------------------------------------------
 *
 * grpo_worker_parts.h
 *	  what the files of the work on a run of GRPO share
 *
 * grpo_worker.c starts and stops the trainer, grpo_lines.c has what it says.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef GRPO_WORKER_PARTS_H
#define GRPO_WORKER_PARTS_H

#include "compat.h"
#include "dsr1.h"
#include "engine_process.h"
#include "grpo_options.h"
#include "grpo_steps.h"
#include "job_process.h"
#include "lib/stringinfo.h"

#define STOP_PATIENCE	10000	/* ms for a trainer to write its checkpoint */

#define PROMPTS		"prompts.jsonl"
#define PROMPTS_ASIDE	"eval.jsonl"
#define ADAPTER		"adapter.gguf"
#define CHECKPOINT	ADAPTER ".checkpoint"

typedef struct Trainer
{
	int64		job;
	MemoryContext context;		/* all of the run's */
	MemoryContext step_context; /* what is in hand until the step is written */
	EngineProcess process;
	StringInfoData in;			/* read, but no whole line yet */
	char	   *reward;
	char	   *folder;
	GrpoOptions options;
	int			attempts;
	char		model[65];		/* the SHA-256 of what it trains, as it says */
	bool		other_model;
	GrpoStep	step;
	int64		last;			/* step that is written, or begun after */
	bool		sound;			/* the steps until then are there */
	bool		finished;
	bool		pausing;		/* what it has done is still written, but no reward given */
	dsr1_status failed;			/* DSR1_OK: it told no reason */
	char	   *reason;
} Trainer;

/* The one of this process */
extern Trainer grpo_trainer;

/* Ends it; it may have so many ms to write a checkpoint.  What it says meanwhile is forgotten. */
extern void grpo_worker_stop(int patience);

/* The work on the run, in a transaction of its own; leaves if the run is not to go on. */
extern ErrorData *grpo_worker_attempt(JobWork work);
extern void grpo_worker_must(JobWork work);
extern void grpo_worker_give_up(const ErrorData *error, bool permanent) pg_attribute_noreturn();
extern void grpo_worker_serve_signals(void);

/* A JobWork: error 53400 if the owner's tokens of today are used up. */
extern void grpo_worker_check_tokens(Job *job, void *arg);

/* Reads what has come; at its end closes the socket. */
extern void grpo_lines_read(void);

/* Does what the whole lines that were read ask for. */
extern void grpo_lines_take(void);

#endif							/* GRPO_WORKER_PARTS_H */
