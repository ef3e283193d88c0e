/*-------------------------------------------------------------------------
 *
 * supervisor.c
 *	  the background worker that keeps the inference engine running
 *
 * A process that is attached to shared memory takes the whole cluster down
 * when it crashes.  So inference runs in a program of its own, and this worker
 * does next to nothing: it starts that program, listens to what it says,
 * starts it again when it dies, and lets others know (state.h).  It also has
 * databases looked at whose jobs have no worker (job_launch.h).  It has no
 * database, and never waits for anyone.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <sys/wait.h>

#include "adapter_file.h"
#include "compat.h"
#include "engine_process.h"
#include "job_board.h"
#include "job_launch.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "settings.h"
#include "state.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "supervisor.h"
#include "usage_file.h"
#include "utils/timestamp.h"
#include "wait_event.h"

#define STOP_PATIENCE		3000	/* ms for the engine to end in good order */
#define GOOD_RUN			10000	/* ms after which a death is no longer a quick one */
#define QUICK_DEATHS		5	/* as many in a row are a failure */
#define SAVE_INTERVAL		60000	/* ms between two writings of what roles have used */
#define LOOK_PAUSE			2000	/* ms until a look at jobs that had no slot is tried again */
#define LONGEST_PAUSE		10000	/* ms between two attempts to start it */

typedef struct Supervisor
{
	EngineProcess process;
	State		state;
	char	   *argv[24];		/* of the running engine */
	int			quick_deaths;	/* in a row */
	bool		said_failed;	/* it told why it ends */
	bool		looked_at_all;	/* at the jobs of every database, once */
	TimestampTz next_start;
	TimestampTz saved_at;		/* what roles have used */
} Supervisor;

PGDLLEXPORT void supervisor_main(Datum arg);

static void
describe_worker(BackgroundWorker *worker)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker->bgw_start_time = BgWorkerStart_ConsistentState;
	worker->bgw_restart_time = 1;
	strlcpy(worker->bgw_library_name, "dsr1", BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, "supervisor_main", BGW_MAXLEN);
	strlcpy(worker->bgw_name, "dsr1 supervisor", BGW_MAXLEN);
	strlcpy(worker->bgw_type, "dsr1 supervisor", BGW_MAXLEN);
}

void
supervisor_register(void)
{
	BackgroundWorker worker;

	describe_worker(&worker);
	RegisterBackgroundWorker(&worker);
}

bool
supervisor_launch(void)
{
	BackgroundWorker worker;

	describe_worker(&worker);
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

/* ------------------------------------------------------------------
 *	Starting
 * ------------------------------------------------------------------
 */

/* An option whose setting is zero is left to the engine. */
static char **
add_count(char **next, const char *option, int value)
{
	if (value > 0)
	{
		*next++ = pstrdup(option);
		*next++ = psprintf("%d", value);
	}
	return next;
}

/* The command line that the settings ask for, NULL-terminated. */
static void
make_command(char **argv)
{
	char	  **next = argv;

	*next++ = settings_engine();
	*next++ = pstrdup("--socket");
	*next++ = pstrdup(STATE_SOCKET);
	*next++ = pstrdup("--parent-fd");
	*next++ = pstrdup("3");
	*next++ = pstrdup("--model");
	*next++ = settings_model();
	*next++ = pstrdup("--adapters");
	*next++ = pstrdup(ADAPTER_FOLDER);
	*next++ = pstrdup("--digests");
	*next++ = pstrdup(STATE_DIGESTS);
	next = add_count(next, "--threads", setting_threads);
	next = add_count(next, "--context", setting_context_size);
	next = add_count(next, "--kv-size", setting_kv_cache_size);
	next = add_count(next, "--max-batch", setting_max_batch);
	next = add_count(next, "--max-queue", setting_max_queue);
	*next = NULL;
}

static bool
same_command(char *const *a, char *const *b)
{
	while (*a && *b && strcmp(*a, *b) == 0)
		a++, b++;
	return *a == NULL && *b == NULL;
}

static void
free_command(char **argv)
{
	while (*argv)
		pfree(*argv++);
}

static void
publish(Supervisor *supervisor, StatePhase phase)
{
	supervisor->state.phase = phase;
	supervisor->state.engine_pid = supervisor->process.pid;
	state_write(&supervisor->state);
}

static void
set_last_error(Supervisor *supervisor, dsr1_status status, const char *message)
{
	supervisor->state.last_status = status;
	strlcpy(supervisor->state.last_error, message,
			sizeof(supervisor->state.last_error));
}

static void
start_engine(Supervisor *supervisor)
{
	free_command(supervisor->argv);
	make_command(supervisor->argv);
	supervisor->said_failed = false;
	if (engine_process_start(&supervisor->process, supervisor->argv))
		publish(supervisor, supervisor->state.restarts ? ENGINE_RESTARTING : ENGINE_STARTING);
	else
		supervisor->next_start =
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LONGEST_PAUSE);
}

/* ------------------------------------------------------------------
 *	Listening
 * ------------------------------------------------------------------
 */

static void
take_failure(Supervisor *supervisor, const char *line)
{
	int			status = DSR1_ERR_INTERNAL;
	int			length = 0;

	if (sscanf(line, "failed %d %n", &status, &length) < 1 || status >= 0)
		status = DSR1_ERR_INTERNAL;
	set_last_error(supervisor, status, line + length);
	supervisor->said_failed = true;
	ereport(LOG,
			(errmsg("inference engine failed: %s", line + length)));
}

static void
take_log(const char *line)
{
	bool		bad = strncmp(line, "warning ", 8) == 0 || strncmp(line, "error ", 6) == 0;
	const char *text = strchr(line, ' ');

	if (text)
		ereport(bad ? WARNING : LOG, (errmsg("inference engine: %s", text + 1)));
}

static void
take_line(const char *line, void *arg)
{
	Supervisor *supervisor = arg;
	char		clean[sizeof(supervisor->process.line)];

	strlcpy(clean, line, sizeof(clean));
	state_clean_message(clean);
	if (strcmp(clean, "loading") == 0)
		publish(supervisor, ENGINE_LOADING);
	else if (strcmp(clean, "ready") == 0)
	{
		supervisor->state.ready_at = GetCurrentTimestamp();
		publish(supervisor, ENGINE_READY);
	}
	else if (strncmp(clean, "failed ", 7) == 0)
		take_failure(supervisor, clean);
	else if (strncmp(clean, "log ", 4) == 0)
		take_log(clean + 4);
	/* "beat" has done its work by coming */
}

/* ------------------------------------------------------------------
 *	Watching
 * ------------------------------------------------------------------
 */

static void
describe_end(int status, char *text, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(text, size, "inference engine was terminated by signal %d: %s",
				 WTERMSIG(status), pg_strsignal(WTERMSIG(status)));
	else
		snprintf(text, size, "inference engine exited with exit code %d",
				 WEXITSTATUS(status));
}

/*
 * The first restart is immediate, for somebody may wait for an answer; the
 * following ones come after 1, 2, 4 ... seconds until one has run for a while.
 * An engine that gave a reason not to start has the same reason a moment later.
 */
static void
plan_restart(Supervisor *supervisor)
{
	TimestampTz now = GetCurrentTimestamp();
	int			pause = 0;

	if (supervisor->state.phase == ENGINE_READY &&
		TimestampDifferenceExceeds(supervisor->state.ready_at, now, GOOD_RUN))
		supervisor->quick_deaths = 0;
	else
		supervisor->quick_deaths++;
	if (supervisor->said_failed)
		supervisor->quick_deaths = Max(supervisor->quick_deaths, 2);
	if (supervisor->quick_deaths > 1)
		pause = Min(1000 << Min(supervisor->quick_deaths - 2, 10), LONGEST_PAUSE);
	supervisor->next_start = TimestampTzPlusMilliseconds(now, pause);
}

static void
take_end(Supervisor *supervisor, int status)
{
	char		text[200];

	describe_end(status, text, sizeof(text));
	ereport(LOG, (errmsg("%s", text)));
	if (!supervisor->said_failed)
		set_last_error(supervisor, DSR1_ERR_INTERNAL, text);
	plan_restart(supervisor);
	supervisor->state.restarts++;
	if (supervisor->said_failed || supervisor->quick_deaths >= QUICK_DEATHS)
		publish(supervisor, ENGINE_FAILED);
	else
		publish(supervisor, ENGINE_RESTARTING);
}

/* Loading a model may keep a disk busy for long, and no beats come meanwhile. */
static void
check_heartbeat(Supervisor *supervisor)
{
	if (supervisor->process.pid != 0 &&
		supervisor->state.phase == ENGINE_READY &&
		setting_heartbeat_timeout > 0 &&
		TimestampDifferenceExceeds(supervisor->process.last_sign,
								   GetCurrentTimestamp(),
								   setting_heartbeat_timeout))
	{
		ereport(LOG,
				(errmsg("inference engine gave no sign of life for %d ms and is killed",
						setting_heartbeat_timeout)));
		kill(supervisor->process.pid, SIGKILL);
		/* once is enough */
		supervisor->process.last_sign = GetCurrentTimestamp();
	}
}

/* A new command line needs a new engine. */
static void
take_new_settings(Supervisor *supervisor)
{
	char	   *argv[lengthof(supervisor->argv)];

	make_command(argv);
	if (!same_command(argv, supervisor->argv))
	{
		if (supervisor->process.pid != 0)
		{
			ereport(LOG, (errmsg("inference engine is started again for new settings")));
			publish(supervisor, ENGINE_RESTARTING);
			engine_process_stop(&supervisor->process, STOP_PATIENCE);
		}
		supervisor->quick_deaths = 0;
		supervisor->next_start = 0;
		publish(supervisor, ENGINE_STARTING);
	}
	free_command(argv);
}

/*
 * After a start, every database is looked at for jobs that were running; later
 * those that were asked for.  A standby has no jobs until it is promoted.
 */
static void
look_at_jobs(Supervisor *supervisor)
{
	TimestampTz now = GetCurrentTimestamp();
	SharedLook	look;

	if (RecoveryInProgress())
		return;
	if (!supervisor->looked_at_all)
		supervisor->looked_at_all = job_launch_look(InvalidOid);
	while (job_board_next_look(now, &look))
	{
		if (look.job ? job_launch(look.database, look.owner, look.job) : job_launch_look(look.database))
			continue;
		job_board_want(look.database, look.owner, look.job, TimestampTzPlusMilliseconds(now, LOOK_PAUSE));
		break;
	}
}

/* Milliseconds until there is something to do by the clock. */
static long
next_timeout(const Supervisor *supervisor)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz look = job_board_next_time();
	long		timeout = setting_heartbeat_timeout > 0 ? Max(setting_heartbeat_timeout / 4, 10) : 60000;

	if (supervisor->process.pid == 0)
		timeout = TimestampDifferenceMilliseconds(now, supervisor->next_start);
	if (!supervisor->looked_at_all)
		timeout = Min(timeout, LOOK_PAUSE);
	if (look != DT_NOEND)
		timeout = Min(timeout, Max(TimestampDifferenceMilliseconds(now, look), 10));
	return timeout;
}

static void
wait_for_something(Supervisor *supervisor)
{
	int			events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;

	if (supervisor->process.fd >= 0)
		events |= WL_SOCKET_READABLE;
	(void) WaitLatchOrSocket(MyLatch, events,
							 supervisor->process.fd >= 0 ? supervisor->process.fd : PGINVALID_SOCKET,
							 next_timeout(supervisor), wait_event(WAIT_SUPERVISOR));
	ResetLatch(MyLatch);
}

static void
supervise(Supervisor *supervisor)
{
	int			status;

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		take_new_settings(supervisor);
	}
	engine_process_read(&supervisor->process, take_line, supervisor);
	if (engine_process_ended(&supervisor->process, &status))
		take_end(supervisor, status);
	check_heartbeat(supervisor);
	if (supervisor->process.pid == 0 && GetCurrentTimestamp() >= supervisor->next_start)
		start_engine(supervisor);
	look_at_jobs(supervisor);
	if (TimestampDifferenceExceeds(supervisor->saved_at, GetCurrentTimestamp(), SAVE_INTERVAL))
	{
		usage_file_save();
		supervisor->saved_at = GetCurrentTimestamp();
	}
}

/* ------------------------------------------------------------------
 *	Main
 * ------------------------------------------------------------------
 */

static void
on_sigchld(SIGNAL_ARGS)
{
	int			save_errno = errno;

	SetLatch(MyLatch);
	errno = save_errno;
}

static void
stop_at_exit(int code, Datum arg)
{
	usage_file_save();
	engine_process_stop(&((Supervisor *) DatumGetPointer(arg))->process, STOP_PATIENCE);
}

void
supervisor_main(Datum arg)
{
	static Supervisor supervisor = {.process.fd = -1};

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGCHLD, on_sigchld);
	BackgroundWorkerUnblockSignals();
	CurrentMemoryContext = TopMemoryContext;

	/* exit code 0: do not start this one again */
	if (!state_become_supervisor())
		proc_exit(0);

	job_board_set_supervisor(MyLatch);
	usage_file_load();
	adapter_file_prune();
	supervisor.saved_at = GetCurrentTimestamp();
	before_shmem_exit(stop_at_exit, PointerGetDatum(&supervisor));
	while (!ShutdownRequestPending)
	{
		CHECK_FOR_INTERRUPTS();
		supervise(&supervisor);
		wait_for_something(&supervisor);
	}

	/* exit code 1: after a stray SIGTERM, start again */
	proc_exit(1);
}
