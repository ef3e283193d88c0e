/*-------------------------------------------------------------------------
 *
 * grpo_lines.c
 *	  what the trainer of a run of GRPO says, line by line
 *
 * It asks for rewards, and tells where it begins, what each step was, and that
 * it is done (core/train/grpo_parent.h).  A step is answered when it is
 * committed, and only then the trainer writes a checkpoint.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>
#include <unistd.h>

#include "admission.h"
#include "compat.h"
#include "grpo_folder.h"
#include "grpo_worker_parts.h"
#include "job_access.h"
#include "job_board.h"
#include "miscadmin.h"
#include "settings.h"
#include "state.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "wait_event.h"

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

/* False if it has gone, which will be seen soon. */
static bool
reply(const char *line)
{
	size_t		size = strlen(line);

	while (size > 0 && grpo_trainer.process.fd >= 0)
	{
		ssize_t		n = send(grpo_trainer.process.fd, line, size, MSG_NOSIGNAL);

		if (n > 0)
		{
			line += n;
			size -= n;
			continue;
		}
		if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
			return false;
		(void) WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_SOCKET_WRITEABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
								 grpo_trainer.process.fd, 1000, wait_event(WAIT_TRAINER));
		ResetLatch(MyLatch);
		grpo_worker_serve_signals();
	}
	return size == 0;
}

static void
give_reward(const char *line, int64 id)
{
	char		answer[100];
	double		reward;
	GrpoError  *error;

	if (grpo_trainer.pausing)
		return;
	job_board_phase(JOB_REWARDING, 0);
	MemoryContextSwitchTo(grpo_trainer.step_context);
	error = grpo_reward_call(grpo_trainer.reward, line, grpo_trainer.options.reward_timeout, &reward);
	if (error)
		grpo_trainer.step.errors = lappend(grpo_trainer.step.errors, error);
	MemoryContextSwitchTo(grpo_trainer.context);
	if (error)
		snprintf(answer, sizeof(answer), "{\"id\": " INT64_FORMAT ", \"error\": \"%s\"}\n", id, error->sqlstate);
	else
		snprintf(answer, sizeof(answer), "{\"id\": " INT64_FORMAT ", \"reward\": %.17g}\n", id, reward);
	(void) reply(answer);
}

static void
keep_sample(const char *line)
{
	MemoryContextSwitchTo(grpo_trainer.step_context);
	if (grpo_trainer.options.rollouts < 0 || list_length(grpo_trainer.step.samples) < grpo_trainer.options.rollouts)
		grpo_trainer.step.samples = lappend(grpo_trainer.step.samples, pstrdup(line));
	MemoryContextSwitchTo(grpo_trainer.context);
}

static void
forget_step(void)
{
	MemoryContextReset(grpo_trainer.step_context);
	grpo_trainer.step = (GrpoStep) {0};
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
	grpo_steps_write(job, &grpo_trainer.step, true);
}

static void
write_without_samples(Job *job, void *arg)
{
	grpo_steps_write(job, &grpo_trainer.step, false);
}

static void
write_step(const char *line, int64 step)
{
	ErrorData  *error;

	job_board_phase(JOB_WRITING, 0);
	grpo_trainer.step.number = step;
	grpo_trainer.step.line = MemoryContextStrdup(grpo_trainer.step_context, line);
	error = grpo_worker_attempt(write_with_samples);
	/* an encoding may not hold what a model says */
	if (error && job_process_is_of_row(error))
		grpo_worker_must(write_without_samples);
	else if (error)
		grpo_worker_give_up(error, job_process_is_permanent(error));
	job_board_count(step > 0, list_length(grpo_trainer.step.errors));
	grpo_trainer.last = step;
	if (step > 0)
		count_tokens(line);
	forget_step();
	kept(step);
	if (step < grpo_trainer.options.steps)
		grpo_worker_must(grpo_worker_check_tokens);
}

/* Steps of different models in one run would be nobody's wish. */
static void
note_model(const Job *job)
{
	Datum		values[2] = {Int64GetDatum(job->id), CStringGetTextDatum(grpo_trainer.model)};

	if (grpo_trainer.model[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_CANNOT_CONNECT_NOW),
				 errmsg("the model's file was replaced while the trainer read it")));
	if (job->model_digest == NULL)
	{
		/* a checkpoint of before, if any, is another model's */
		grpo_folder_unlink(grpo_trainer.folder, CHECKPOINT);
		grpo_trainer.sound = grpo_trainer.last == 0;
		(void) job_execute_as_owner("UPDATE @.dsr1_job SET model_digest = $2 WHERE id = $1", "lt", values, NULL);
	}
	else if (strcmp(job->model_digest, grpo_trainer.model) != 0)
	{
		grpo_trainer.other_model = true;
		(void) job_execute_as_owner("UPDATE @.dsr1_job SET state = 'paused', sqlstate = '55000',"
									" last_error = 'the model is another one than when the run began;"
									" dsr1_job_resume() begins anew with this one' WHERE id = $1", "l", values, NULL);
	}
}

static void
begin(Job *job, void *arg)
{
	grpo_trainer.sound = true;
	note_model(job);
	if (!grpo_trainer.other_model && grpo_trainer.sound)
		grpo_trainer.sound = grpo_steps_begin(job, grpo_trainer.last);
}

/* With a checkpoint of more steps than are known - from a backup, perhaps - it starts anew, to the same end. */
static void
begin_after(int64 step, const char *line)
{
	const char *model = strstr(line, "\"model\": \"");

	if (model)
		(void) sscanf(model, "\"model\": \"%64[0-9a-f]", grpo_trainer.model);
	grpo_trainer.last = step;
	grpo_worker_must(begin);
	if (grpo_trainer.other_model)
	{
		grpo_worker_stop(STOP_PATIENCE);
		job_process_leave(-1);
	}
	if (!grpo_trainer.sound)
	{
		grpo_worker_stop(STOP_PATIENCE);
		grpo_folder_unlink(grpo_trainer.folder, CHECKPOINT);
		job_process_leave(0);
	}
	forget_step();
	kept(step);
}

static void
finish(Job *job, void *arg)
{
	grpo_steps_finish(job, grpo_folder_read(grpo_trainer.folder, ADAPTER));
}

static void
note_failure(const char *line)
{
	int			status = DSR1_ERR_INTERNAL;
	int			length = 0;

	if (sscanf(line, "failed %d %n", &status, &length) < 1 || status >= 0)
		status = DSR1_ERR_INTERNAL;
	grpo_trainer.failed = status;
	grpo_trainer.reason = MemoryContextStrdup(grpo_trainer.context, line + length);
	state_clean_message(grpo_trainer.reason);
	/* where that lies is for superusers */
	if (strstr(grpo_trainer.reason, settings_model()))
	{
		ereport(LOG, (errmsg("dsr1 job " INT64_FORMAT ": %s", grpo_trainer.job, grpo_trainer.reason)));
		grpo_trainer.reason = MemoryContextStrdup(grpo_trainer.context, "the trainer could not read the model");
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
		grpo_worker_must(finish);
		grpo_trainer.finished = true;
	}
	else if (strncmp(line, "failed ", 7) == 0)
		note_failure(line);
}

void
grpo_lines_take(void)
{
	char	   *end;
	int			from = 0;

	while (!grpo_trainer.finished && (end = memchr(grpo_trainer.in.data + from, '\n', grpo_trainer.in.len - from)) != NULL)
	{
		*end = '\0';
		take_line(grpo_trainer.in.data + from);
		from = (int) (end - grpo_trainer.in.data) + 1;
		job_board_phase(JOB_TRAINING, 0);
		grpo_worker_serve_signals();
	}
	memmove(grpo_trainer.in.data, grpo_trainer.in.data + from, grpo_trainer.in.len - from);
	grpo_trainer.in.len -= from;
}

/* Reads what has come; at its end closes the socket. */
void
grpo_lines_read(void)
{
	EngineProcess *process = &grpo_trainer.process;
	ssize_t		n;

	do
	{
		enlargeStringInfo(&grpo_trainer.in, 65536);
		n = recv(process->fd, grpo_trainer.in.data + grpo_trainer.in.len, 65536, 0);
		if (n > 0)
			grpo_trainer.in.len += (int) n;
	} while (n == 65536);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
	{
		close(process->fd);
		process->fd = -1;
	}
}
