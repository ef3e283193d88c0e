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
#include "engine_process.h"
#include "grpo_folder.h"
#include "grpo_options.h"
#include "grpo_steps.h"
#include "grpo_worker.h"
#include "job_access.h"
#include "job_board.h"
#include "job_process.h"
#include "lib/stringinfo.h"
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

#define STOP_PATIENCE	10000	/* ms for a trainer to write its checkpoint */
#define EXIT_PATIENCE	4000	/* the same when the server waits for this process to end */
#define LOOK_SOON		200		/* ms until somebody looks whether there is more to do */
#define MOST_ATTEMPTS	5		/* that end without a step: then the run has failed */

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

static Trainer trainer;

/* ------------------------------------------------------------------
 *	Stopping
 * ------------------------------------------------------------------
 */

static void
ignore_line(const char *line, void *arg)
{
}

/* What it says meanwhile is read and forgotten: it is about a step that comes again. */
static void
stop_trainer(int patience)
{
	EngineProcess *process = &trainer.process;
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
	stop_trainer(PostmasterIsAlive() ? EXIT_PATIENCE : 0);
}

/* What became of a run that is not to go on; "" if it was dropped. */
static const char *
state_of_run(void)
{
	Datum		values[1] = {Int64GetDatum(trainer.job)};
	const char *state = "";

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (job_extension(NULL, NULL))
	{
		SPI_connect();
		if (job_execute_as_owner("SELECT state FROM @.dsr1_job WHERE id = $1", "l", values, NULL) > 0)
			state = MemoryContextStrdup(trainer.context, job_string(0, 1));
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

	if (strcmp(state, "paused") == 0 && !trainer.pausing)
		drain();
	stop_trainer(STOP_PATIENCE);
	/* after its end, its files are of no use */
	if (strcmp(state, "done") == 0 || strcmp(state, "cancelled") == 0 || strcmp(state, "") == 0)
		grpo_folder_remove(trainer.folder);
	/* it may have been resumed meanwhile, by somebody who saw this worker */
	job_process_leave(LOOK_SOON);
}

static void
pg_attribute_noreturn()
give_up(const ErrorData *error, bool permanent)
{
	bool		waits = error->sqlerrcode == ERRCODE_CONFIGURATION_LIMIT_EXCEEDED; /* until midnight */

	stop_trainer(STOP_PATIENCE);
	job_process_give_up(trainer.job, error, permanent || (!waits && trainer.attempts + 1 >= MOST_ATTEMPTS));
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

	if (!job_process_run_if(trainer.job, trainer.pausing ? "paused" : "running", work, NULL))
		leave();
}

static ErrorData *
attempt(JobWork work)
{
	return job_process_attempt(trainer.context, run, &work);
}

static void
must(JobWork work)
{
	ErrorData  *error = attempt(work);

	if (error)
		give_up(error, job_process_is_permanent(error));
}

static void
serve_signals(void)
{
	job_process_serve_signals();
	if (job_board_is_changed() && !trainer.pausing)
		must(nothing);
}

/* ------------------------------------------------------------------
 *	Tokens
 * ------------------------------------------------------------------
 */

static void
check_tokens(Job *job, void *arg)
{
	admission_check_tokens();
}

static double
number_in(const char *line, const char *key)
{
	char		pattern[40];
	int			size = snprintf(pattern, sizeof(pattern), "\"%s\": ", key);
	const char *at = strstr(line, pattern);

	return at ? strtod(at + size, NULL) : 0;
}

/* What a step has computed counts as if the engine had, also where the step comes again. */
static void
count_tokens(const char *line)
{
	admission_count_training((int64) number_in(line, "train_tokens"), (int64) number_in(line, "tokens"),
							 1000 * number_in(line, "cpu_seconds"));
}

/* ------------------------------------------------------------------
 *	Beginning
 * ------------------------------------------------------------------
 */

/* Also of a run that was cancelled while nobody worked on it: its files are to go. */
static void
find_run(void)
{
	Datum		values[1] = {Int64GetDatum(trainer.job)};

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (job_execute_as_owner("SELECT reward, token FROM @.dsr1_grpo_run WHERE job = $1", "l", values, NULL) != 1)
		job_process_leave(-1);
	MemoryContextSwitchTo(trainer.context);
	trainer.reward = pstrdup(job_string(0, 1));
	trainer.folder = grpo_folder_path(trainer.job, job_string(0, 2));
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(trainer.context);
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
	grpo_folder_write(trainer.folder, name, all.data, all.len);
}

static void
prepare(Job *job, void *arg)
{
	Datum		values[1] = {Int64GetDatum(job->id)};
	MemoryContext old = CurrentMemoryContext;

	(void) job_execute_as_owner("UPDATE @.dsr1_job SET started = COALESCE(started, pg_catalog.now()) WHERE id = $1",
								"l", values, NULL);
	MemoryContextSwitchTo(trainer.context);
	grpo_options_read(&trainer.options, job->given);
	MemoryContextSwitchTo(old);
	trainer.attempts = job->attempts;
	grpo_folder_clean();
	grpo_folder_create(trainer.folder);
	write_prompts(job, false, PROMPTS);
	if (trainer.options.eval)
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
	return psprintf("%s/%s", trainer.folder, name);
}

static void
start_trainer(void)
{
	char	  **argv = palloc(sizeof(char *) * (list_length(trainer.options.arguments) + 32));
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
	if (trainer.options.eval)
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
	foreach(cell, trainer.options.arguments)
		add_argument(argv, &n, lfirst(cell));
	if (!engine_process_start(&trainer.process, argv))
		job_process_leave(5000);
}

/* ------------------------------------------------------------------
 *	What the trainer says
 * ------------------------------------------------------------------
 */

/* False if it has gone, which will be seen soon. */
static bool
reply(const char *line)
{
	size_t		size = strlen(line);

	while (size > 0 && trainer.process.fd >= 0)
	{
		ssize_t		n = send(trainer.process.fd, line, size, MSG_NOSIGNAL);

		if (n > 0)
		{
			line += n;
			size -= n;
			continue;
		}
		if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
			return false;
		(void) WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_SOCKET_WRITEABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
								 trainer.process.fd, 1000, compat_wait_event("Dsr1Train"));
		ResetLatch(MyLatch);
		serve_signals();
	}
	return size == 0;
}

static void
give_reward(const char *line, int64 id)
{
	char		answer[100];
	double		reward;
	GrpoError  *error;

	if (trainer.pausing)
		return;
	job_board_phase(JOB_REWARDING, 0);
	MemoryContextSwitchTo(trainer.step_context);
	error = grpo_reward_call(trainer.reward, line, trainer.options.reward_timeout, &reward);
	if (error)
		trainer.step.errors = lappend(trainer.step.errors, error);
	MemoryContextSwitchTo(trainer.context);
	if (error)
		snprintf(answer, sizeof(answer), "{\"id\": " INT64_FORMAT ", \"error\": \"%s\"}\n", id, error->sqlstate);
	else
		snprintf(answer, sizeof(answer), "{\"id\": " INT64_FORMAT ", \"reward\": %.17g}\n", id, reward);
	(void) reply(answer);
}

static void
keep_sample(const char *line)
{
	MemoryContextSwitchTo(trainer.step_context);
	if (trainer.options.rollouts < 0 || list_length(trainer.step.samples) < trainer.options.rollouts)
		trainer.step.samples = lappend(trainer.step.samples, pstrdup(line));
	MemoryContextSwitchTo(trainer.context);
}

static void
forget_step(void)
{
	MemoryContextReset(trainer.step_context);
	trainer.step = (GrpoStep) {0};
}

static void
kept(int64 step)
{
	char		answer[60];

	snprintf(answer, sizeof(answer), "{\"step\": " INT64_FORMAT "}\n", step);
	(void) reply(answer);
}

static void
write_with_samples(Job *job, void *arg)
{
	grpo_steps_write(job, &trainer.step, true);
}

static void
write_without_samples(Job *job, void *arg)
{
	grpo_steps_write(job, &trainer.step, false);
}

static void
write_step(const char *line, int64 step)
{
	ErrorData  *error;

	job_board_phase(JOB_WRITING, 0);
	trainer.step.number = step;
	trainer.step.line = MemoryContextStrdup(trainer.step_context, line);
	error = attempt(write_with_samples);
	/* an encoding may not hold what a model says */
	if (error && job_process_is_of_row(error))
		must(write_without_samples);
	else if (error)
		give_up(error, job_process_is_permanent(error));
	job_board_count(step > 0, list_length(trainer.step.errors));
	trainer.last = step;
	if (step > 0)
		count_tokens(line);
	forget_step();
	kept(step);
	if (step < trainer.options.steps)
		must(check_tokens);
}

/* Steps of different models in one run would be nobody's wish. */
static void
note_model(const Job *job)
{
	Datum		values[2] = {Int64GetDatum(job->id), CStringGetTextDatum(trainer.model)};

	if (trainer.model[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_CANNOT_CONNECT_NOW),
				 errmsg("the model's file was replaced while the trainer read it")));
	if (job->model_digest == NULL)
	{
		/* a checkpoint of before, if any, is another model's */
		grpo_folder_unlink(trainer.folder, CHECKPOINT);
		trainer.sound = trainer.last == 0;
		(void) job_execute_as_owner("UPDATE @.dsr1_job SET model_digest = $2 WHERE id = $1", "lt", values, NULL);
	}
	else if (strcmp(job->model_digest, trainer.model) != 0)
	{
		trainer.other_model = true;
		(void) job_execute_as_owner("UPDATE @.dsr1_job SET state = 'paused', sqlstate = '55000',"
									" last_error = 'the model is another one than when the run began;"
									" dsr1_job_resume() begins anew with this one' WHERE id = $1", "l", values, NULL);
	}
}

static void
begin(Job *job, void *arg)
{
	trainer.sound = true;
	note_model(job);
	if (!trainer.other_model && trainer.sound)
		trainer.sound = grpo_steps_begin(job, trainer.last);
}

/* With a checkpoint of more steps than are known - from a backup, perhaps - it starts anew, to the same end. */
static void
begin_after(int64 step, const char *line)
{
	const char *model = strstr(line, "\"model\": \"");

	if (model)
		(void) sscanf(model, "\"model\": \"%64[0-9a-f]", trainer.model);
	trainer.last = step;
	must(begin);
	if (trainer.other_model)
	{
		stop_trainer(STOP_PATIENCE);
		job_process_leave(-1);
	}
	if (!trainer.sound)
	{
		stop_trainer(STOP_PATIENCE);
		grpo_folder_unlink(trainer.folder, CHECKPOINT);
		job_process_leave(0);
	}
	forget_step();
	kept(step);
}

static void
finish(Job *job, void *arg)
{
	grpo_steps_finish(job, grpo_folder_read(trainer.folder, ADAPTER));
}

static void
note_failure(const char *line)
{
	int			status = DSR1_ERR_INTERNAL;
	int			length = 0;

	if (sscanf(line, "failed %d %n", &status, &length) < 1 || status >= 0)
		status = DSR1_ERR_INTERNAL;
	trainer.failed = status;
	trainer.reason = MemoryContextStrdup(trainer.context, line + length);
	state_clean_message(trainer.reason);
	/* where that lies is for superusers */
	if (strstr(trainer.reason, settings_model()))
	{
		ereport(LOG, (errmsg("dsr1 job " INT64_FORMAT ": %s", trainer.job, trainer.reason)));
		trainer.reason = MemoryContextStrdup(trainer.context, "the trainer could not read the model");
	}
}

static void
take_line(char *line)
{
	long long	number;
	int			at = 0;

	if (sscanf(line, "{\"id\":%lld", &number) == 1)
		give_reward(line, number);
	else if (sscanf(line, "{\"begin\": %lld", &number) == 1)
		begin_after(number, line);
	else if (sscanf(line, "{\"step\": %lld%n", &number, &at) == 1)
	{
		if (strncmp(line + at, ", \"prompt\"", 10) == 0)
			keep_sample(line);
		else
			write_step(line, number);
	}
	else if (strncmp(line, "{\"done\"", 7) == 0)
	{
		must(finish);
		trainer.finished = true;
	}
	else if (strncmp(line, "failed ", 7) == 0)
		note_failure(line);
}

static void
take_lines(void)
{
	char	   *end;
	int			from = 0;

	while (!trainer.finished && (end = memchr(trainer.in.data + from, '\n', trainer.in.len - from)) != NULL)
	{
		*end = '\0';
		take_line(trainer.in.data + from);
		from = (int) (end - trainer.in.data) + 1;
		job_board_phase(JOB_TRAINING, 0);
		serve_signals();
	}
	memmove(trainer.in.data, trainer.in.data + from, trainer.in.len - from);
	trainer.in.len -= from;
}

/* Reads what has come; at its end closes the socket. */
static void
read_socket(void)
{
	EngineProcess *process = &trainer.process;
	ssize_t		n;

	do
	{
		enlargeStringInfo(&trainer.in, 65536);
		n = recv(process->fd, trainer.in.data + trainer.in.len, 65536, 0);
		if (n > 0)
			trainer.in.len += (int) n;
	} while (n == 65536);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
	{
		close(process->fd);
		process->fd = -1;
	}
}

/* ------------------------------------------------------------------
 *	Its end
 * ------------------------------------------------------------------
 */

static void
write_errors(Job *job, void *arg)
{
	grpo_steps_write_errors(job->id, &trainer.step);
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

	if (trainer.step.errors != NIL)
	{
		trainer.step.number = trainer.last + 1;
		must(write_errors);
	}
	if (trainer.failed != DSR1_OK)
	{
		error.sqlerrcode = engine_error_sqlstate(trainer.failed);
		error.message = trainer.reason;
		give_up(&error, !is_temporary(trainer.failed));
	}
	error.sqlerrcode = ERRCODE_IO_ERROR;
	if (WIFSIGNALED(status))
		error.message = psprintf("the trainer was ended by signal %d", WTERMSIG(status));
	else
		error.message = psprintf("the trainer ended with status %d", WEXITSTATUS(status));
	/* with 2 it does not understand how it was called */
	give_up(&error, WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

static void
wait_for_trainer(void)
{
	int			events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;
	int			status;

	if (trainer.process.fd >= 0)
	{
		(void) WaitLatchOrSocket(MyLatch, events | WL_SOCKET_READABLE, trainer.process.fd, 1000,
								 compat_wait_event("Dsr1Train"));
		read_socket();
	}
	else
		(void) WaitLatch(MyLatch, events, 20, compat_wait_event("Dsr1Train"));
	ResetLatch(MyLatch);
	serve_signals();
	take_lines();
	if (!trainer.finished && trainer.process.fd < 0 && engine_process_ended(&trainer.process, &status))
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

	if (trainer.process.pid == 0)
		return;
	trainer.pausing = true;
	kill(trainer.process.pid, SIGTERM);
	while (GetCurrentTimestamp() < end && trainer.process.fd >= 0)
	{
		(void) WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
								 trainer.process.fd, 100, compat_wait_event("Dsr1Train"));
		ResetLatch(MyLatch);
		read_socket();
		take_lines();
	}
	(void) engine_process_ended(&trainer.process, &status);
}

void
grpo_worker_train(int64 job)
{
	trainer.job = job;
	trainer.process.fd = -1;
	trainer.context = AllocSetContextCreate(TopMemoryContext, "dsr1 run", ALLOCSET_DEFAULT_SIZES);
	trainer.step_context = AllocSetContextCreate(trainer.context, "dsr1 step", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(trainer.context);
	initStringInfo(&trainer.in);
	before_shmem_exit(stop_at_exit, (Datum) 0);
	find_run();
	must(check_tokens);
	must(prepare);
	start_trainer();
	job_board_phase(JOB_TRAINING, 0);
	while (!trainer.finished)
		wait_for_trainer();
	leave();
}
