/*-------------------------------------------------------------------------
 *
 * grpo_worker.c
 *	  the work on a run of GRPO
 *
 * The trainer, "dsr1 grpo", is a program of its own without PostgreSQL's
 * memory.  It asks for rewards and tells what it has done on a socket
 * (core/train/grpo_parent.h); this process calls the reward function and writes
 * steps, each in a short transaction, and has none open while it trains.
 *
 * Whatever is killed, the trainer goes on from its last checkpoint.  It writes
 * one only after the steps so far are committed here; so what comes again is
 * known here already, and replaced.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "access/xact.h"
#include "admission.h"
#include "compat.h"
#include "engine_error.h"
#include "grpo_folder.h"
#include "grpo_worker.h"
#include "grpo_worker_parts.h"
#include "job_access.h"
#include "job_board.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "settings.h"
#include "state.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "wait_event.h"

#define EXIT_PATIENCE	4000	/* as STOP_PATIENCE, when the server waits for this process to end */
#define LOOK_SOON		200		/* ms until somebody looks whether there is more to do */
#define MOST_ATTEMPTS	5		/* that end without a step: then the run has failed */

Trainer		grpo_trainer;

/* ------------------------------------------------------------------
 *	Stopping
 * ------------------------------------------------------------------
 */

static void
ignore_line(const char *line, void *arg)
{
}

/* What it says meanwhile is read and forgotten: it is about a step that comes again. */
void
grpo_worker_stop(int patience)
{
	EngineProcess *process = &grpo_trainer.process;
	int			status;

	if (process->pid == 0)
		return;
	kill(process->pid, SIGTERM);
	/* nobody answers any more */
	if (process->fd >= 0)
		shutdown(process->fd, SHUT_WR);
	for (int waited = 0; waited < patience; waited += 10)
	{
		engine_process_read(process, ignore_line, NULL);
		if (engine_process_ended(process, &status))
			return;
		pg_usleep(10 * 1000L);
	}
	engine_process_stop(process, 0);
}

static void
stop_at_exit(int code, Datum arg)
{
	grpo_worker_stop(PostmasterIsAlive() ? EXIT_PATIENCE : 0);
}

/* What became of a run that is not to go on; "" if it was dropped. */
static const char *
state_of_run(void)
{
	Datum		values[1] = {Int64GetDatum(grpo_trainer.job)};
	const char *state = "";

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (job_extension(NULL, NULL))
	{
		SPI_connect();
		if (job_execute_as_owner("SELECT state FROM @.dsr1_job WHERE id = $1", "l", values, NULL) > 0)
			state = MemoryContextStrdup(grpo_trainer.context, job_string(0, 1));
		SPI_finish();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	return state;
}

static void drain(void);

static void
pg_attribute_noreturn()
leave(void)
{
	const char *state = state_of_run();

	if (strcmp(state, "paused") == 0 && !grpo_trainer.pausing)
		drain();
	grpo_worker_stop(STOP_PATIENCE);
	/* after its end, its files are of no use */
	if (strcmp(state, "done") == 0 || strcmp(state, "cancelled") == 0 || strcmp(state, "") == 0)
		grpo_folder_remove(grpo_trainer.folder);
	/* it may have been resumed meanwhile, by somebody who saw this worker */
	job_process_leave(LOOK_SOON);
}

void
grpo_worker_give_up(const ErrorData *error, bool permanent)
{
	bool		waits = error->sqlerrcode == ERRCODE_CONFIGURATION_LIMIT_EXCEEDED; /* until midnight */

	grpo_worker_stop(STOP_PATIENCE);
	job_process_give_up(grpo_trainer.job, error, permanent || (!waits && grpo_trainer.attempts + 1 >= MOST_ATTEMPTS));
}

/* ------------------------------------------------------------------
 *	Transactions
 * ------------------------------------------------------------------
 */

static void
nothing(Job *job, void *arg)
{
}

/* Does the work on the job; leaves if the run is not to go on. */
static void
run(void *arg)
{
	JobWork		work = *(JobWork *) arg;

	if (!job_process_run_if(grpo_trainer.job, grpo_trainer.pausing ? "paused" : "running", work, NULL))
		leave();
}

ErrorData *
grpo_worker_attempt(JobWork work)
{
	return job_process_attempt(grpo_trainer.context, run, &work);
}

void
grpo_worker_must(JobWork work)
{
	ErrorData  *error = grpo_worker_attempt(work);

	if (error)
		grpo_worker_give_up(error, job_process_is_permanent(error));
}

void
grpo_worker_serve_signals(void)
{
	job_process_serve_signals();
	if (job_board_is_changed() && !grpo_trainer.pausing)
		grpo_worker_must(nothing);
}

void
grpo_worker_check_tokens(Job *job, void *arg)
{
	admission_check_tokens();
}

/* ------------------------------------------------------------------
 *	Beginning
 * ------------------------------------------------------------------
 */

/* Also of a run that was cancelled while nobody worked on it: its files are to go. */
static void
find_run(void)
{
	Datum		values[1] = {Int64GetDatum(grpo_trainer.job)};

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (job_execute_as_owner("SELECT reward, token FROM @.dsr1_grpo_run WHERE job = $1", "l", values, NULL) != 1)
		job_process_leave(-1);
	MemoryContextSwitchTo(grpo_trainer.context);
	grpo_trainer.reward = pstrdup(job_string(0, 1));
	grpo_trainer.folder = grpo_folder_path(grpo_trainer.job, job_string(0, 2));
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(grpo_trainer.context);
}

static void
write_prompts(const Job *job, bool aside, const char *name)
{
	Datum		values[2] = {Int64GetDatum(job->id), BoolGetDatum(aside)};
	uint64		n = job_execute_as_owner("SELECT line::pg_catalog.text FROM @.dsr1_grpo_prompt WHERE job = $1 AND aside = $2 ORDER BY n",
										 "lb", values, NULL);
	StringInfoData all;

	initStringInfo(&all);
	for (uint64 i = 0; i < n; i++)
	{
		char	   *line = job_string(i, 1);

		appendStringInfoString(&all, pg_server_to_any(line, (int) strlen(line), PG_UTF8));
		appendStringInfoChar(&all, '\n');
	}
	grpo_folder_write(grpo_trainer.folder, name, all.data, all.len);
}

static void
prepare(Job *job, void *arg)
{
	Datum		values[1] = {Int64GetDatum(job->id)};
	MemoryContext old = CurrentMemoryContext;

	(void) job_execute_as_owner("UPDATE @.dsr1_job SET started = COALESCE(started, pg_catalog.now()) WHERE id = $1",
								"l", values, NULL);
	MemoryContextSwitchTo(grpo_trainer.context);
	grpo_options_read(&grpo_trainer.options, job->given);
	MemoryContextSwitchTo(old);
	grpo_trainer.attempts = job->attempts;
	grpo_folder_clean();
	grpo_folder_create(grpo_trainer.folder);
	write_prompts(job, false, PROMPTS);
	if (grpo_trainer.options.eval)
		write_prompts(job, true, PROMPTS_ASIDE);
}

static void
add_argument(char **argv, int *n, char *argument)
{
	argv[(*n)++] = argument;
	argv[*n] = NULL;
}

static char *
in_folder(const char *name)
{
	return psprintf("%s/%s", grpo_trainer.folder, name);
}

static void
start_trainer(void)
{
	char	  **argv = palloc(sizeof(char *) * (list_length(grpo_trainer.options.arguments) + 32));
	ListCell   *cell;
	int			n = 0;

	add_argument(argv, &n, settings_trainer());
	add_argument(argv, &n, "grpo");
	add_argument(argv, &n, "--parent-fd");
	add_argument(argv, &n, "3");
	add_argument(argv, &n, "--model");
	add_argument(argv, &n, settings_model());
	add_argument(argv, &n, "--prompts");
	add_argument(argv, &n, in_folder(PROMPTS));
	if (grpo_trainer.options.eval)
	{
		add_argument(argv, &n, "--eval");
		add_argument(argv, &n, in_folder(PROMPTS_ASIDE));
	}
	add_argument(argv, &n, "--output");
	add_argument(argv, &n, in_folder(ADAPTER));
	add_argument(argv, &n, "--digests");
	add_argument(argv, &n, STATE_DIGESTS);
	if (setting_threads > 0)
	{
		add_argument(argv, &n, "--threads");
		add_argument(argv, &n, psprintf("%d", setting_threads));
	}
	add_argument(argv, &n, "--resume");
	add_argument(argv, &n, "--quiet");
	/* last, so that what was asked for counts */
	foreach(cell, grpo_trainer.options.arguments)
		add_argument(argv, &n, lfirst(cell));
	if (!engine_process_start(&grpo_trainer.process, argv))
		job_process_leave(5000);
}

/* ------------------------------------------------------------------
 *	Its end
 * ------------------------------------------------------------------
 */

static void
write_errors(Job *job, void *arg)
{
	grpo_steps_write_errors(job->id, &grpo_trainer.step);
}

static bool
is_temporary(dsr1_status status)
{
	return status == DSR1_ERR_NOMEM || status == DSR1_ERR_IO || status == DSR1_ERR_BUSY || status == DSR1_ERR_CANCELLED;
}

static void
pg_attribute_noreturn()
mourn(int status)
{
	ErrorData	error = {.elevel = ERROR};

	if (grpo_trainer.step.errors != NIL)
	{
		grpo_trainer.step.number = grpo_trainer.last + 1;
		grpo_worker_must(write_errors);
	}
	if (grpo_trainer.failed != DSR1_OK)
	{
		error.sqlerrcode = engine_error_sqlstate(grpo_trainer.failed);
		error.message = grpo_trainer.reason;
		grpo_worker_give_up(&error, !is_temporary(grpo_trainer.failed));
	}
	error.sqlerrcode = ERRCODE_IO_ERROR;
	if (WIFSIGNALED(status))
		error.message = psprintf("the trainer was ended by signal %d", WTERMSIG(status));
	else
		error.message = psprintf("the trainer ended with status %d", WEXITSTATUS(status));
	/* with 2 it does not understand how it was called */
	grpo_worker_give_up(&error, WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

static void
wait_for_trainer(void)
{
	int			events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;
	int			status;

	if (grpo_trainer.process.fd >= 0)
	{
		(void) WaitLatchOrSocket(MyLatch, events | WL_SOCKET_READABLE, grpo_trainer.process.fd, 1000,
								 wait_event(WAIT_TRAINER));
		grpo_lines_read();
	}
	else
		(void) WaitLatch(MyLatch, events, 20, wait_event(WAIT_TRAINER));
	ResetLatch(MyLatch);
	grpo_worker_serve_signals();
	grpo_lines_take();
	if (!grpo_trainer.finished && grpo_trainer.process.fd < 0 && engine_process_ended(&grpo_trainer.process, &status))
		mourn(status);
}

/*
 * The run is paused: a step that is complete is still written, and its trainer
 * writes a checkpoint.
 */
static void
drain(void)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), STOP_PATIENCE);
	int			status;

	if (grpo_trainer.process.pid == 0)
		return;
	grpo_trainer.pausing = true;
	kill(grpo_trainer.process.pid, SIGTERM);
	while (GetCurrentTimestamp() < end && grpo_trainer.process.fd >= 0)
	{
		(void) WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
								 grpo_trainer.process.fd, 100, wait_event(WAIT_TRAINER));
		ResetLatch(MyLatch);
		grpo_lines_read();
		grpo_lines_take();
	}
	(void) engine_process_ended(&grpo_trainer.process, &status);
}

void
grpo_worker_train(int64 job)
{
	grpo_trainer.job = job;
	grpo_trainer.process.fd = -1;
	grpo_trainer.context = AllocSetContextCreate(TopMemoryContext, "dsr1 run", ALLOCSET_DEFAULT_SIZES);
	grpo_trainer.step_context = AllocSetContextCreate(grpo_trainer.context, "dsr1 step", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(grpo_trainer.context);
	initStringInfo(&grpo_trainer.in);
	before_shmem_exit(stop_at_exit, (Datum) 0);
	find_run();
	grpo_worker_must(grpo_worker_check_tokens);
	grpo_worker_must(prepare);
	start_trainer();
	job_board_phase(JOB_TRAINING, 0);
	while (!grpo_trainer.finished)
		wait_for_trainer();
	leave();
}
