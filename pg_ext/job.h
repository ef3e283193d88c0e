/*-------------------------------------------------------------------------
 *
 * job.h
 *	  a job, and the rows that it has in hand
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JOB_H
#define JOB_H

#include "engine_client.h"
#include "job_options.h"
#include "job_table.h"
#include "lib/ilist.h"

/* As it stands in dsr1_job. */
typedef struct Job
{
	int64		id;
	char	   *kind;			/* annotate or grpo, where the rest but owner and state says other things */
	Oid			owner;
	Oid			relation;
	Oid			into;
	char	   *target;
	List	   *key;
	char	   *prompt;
	char	   *state;
	char	   *model_digest;	/* NULL: not known yet */
	char	   *adapter_digest; /* NULL: none */
	bool		watch;
	int32		attempts;
	Jsonb	   *given;			/* the options as they were given */
	JobOptions	options;
} Job;

/* A row between being claimed and being written. */
typedef struct JobRow
{
	dlist_node	node;
	MemoryContext context;		/* it lies in, with all it points to */
	int64		id;				/* of dsr1_job_row */
	int32		version;
	int32		attempts;
	bool		suspect;		/* the engine died over it, perhaps */
	Jsonb	   *key;
	char	   *prompt;			/* in the database's encoding; NULL: not wanted */
	bool		no_question;	/* every input is NULL, and so is the answer */
	EngineRequest *request;		/* NULL: not asked, or answered */
	bool		settled;		/* with an answer or an error */
	struct wire_text answer;	/* UTF-8 */
	dsr1_usage	usage;
	uint64		model;			/* that answered, 0 for none */
	const char *category;		/* of an error; NULL: there is none */
	const char *sqlstate;
	char	   *message;
} JobRow;

/* Reads a job; false if there is none.  SPI must be connected; memory is the caller's. */
extern bool job_read(Job *job, int64 id);

/* The statements for its table, opened for the time; raises what makes the job impossible. */
extern void job_open_table(JobTable *table, const Job *job);

/* What the engine is asked about a prompt. */
extern void job_prepare_question(const Job *job, const JobTable *table,
								 struct wire_complete *complete);
extern void job_put_question(EngineRequest *request, struct wire_complete *complete,
							 const Job *job, const char *prompt);

/* Raises an error if a role cannot log in, and so own a job. */
extern void job_check_login(Oid owner);

/* Raises an error for a job without rows of a table: a run of training. */
extern void job_check_rows(const Job *job, const char *what);

/* Forgets jobs that ended more than dsr1.job_history_days ago. */
extern void job_forget_old(void);

/* Only its owner, a member of that role, may do something about a job. */
extern void job_check_owner(const Job *job);

#endif							/* JOB_H */
