/*-------------------------------------------------------------------------
 *
 * grpo_steps.c
 *	  what a run of GRPO has done, in tables
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter.h"
#include "grpo_steps.h"
#include "job_access.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

bool
grpo_steps_begin(const Job *job, int64 step)
{
	Datum		values[2] = {Int64GetDatum(job->id), Int64GetDatum(step)};

	/* from the start, also step 0, which only looks at what was set aside */
	(void) job_execute_as_owner("DELETE FROM @.dsr1_grpo_error WHERE job = $1 AND step > $2", "ll", values, NULL);
	(void) job_execute_as_owner("DELETE FROM @.dsr1_grpo_rollout WHERE job = $1 AND step > $2", "ll", values, NULL);
	(void) job_execute_as_owner("DELETE FROM @.dsr1_grpo_step WHERE job = $1 AND (step > $2 OR $2 = 0)", "ll", values, NULL);
	(void) job_execute_as_owner("UPDATE @.dsr1_job SET done = $2 WHERE id = $1", "ll", values, NULL);
	return job_execute_as_owner("SELECT FROM @.dsr1_grpo_step WHERE job = $1 AND step > 0 HAVING pg_catalog.count(*) = $2",
								"ll", values, NULL) == 1;
}

static Datum
jsonb_of(const char *line)
{
	char	   *text = pg_any_to_server(line, (int) strlen(line), PG_UTF8);

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

static void
write_samples(const Job *job, const GrpoStep *step)
{
	ListCell   *cell;

	foreach(cell, step->samples)
	{
		Datum		values[4] = {Int64GetDatum(job->id), Int64GetDatum(step->number),
			Int32GetDatum(foreach_current_index(cell) + 1), jsonb_of(lfirst(cell))};

		(void) job_execute_as_owner("INSERT INTO @.dsr1_grpo_rollout (job, step, n, prompt, completion, reward, advantage, tokens, finish)"
									" VALUES ($1, $2, $3, $4->>'prompt', $4->>'completion', ($4->>'reward')::float8,"
									" ($4->>'advantage')::float8, ($4->>'tokens')::int, $4->>'finish')",
									"llij", values, NULL);
	}
}

void
grpo_steps_write_errors(int64 job, const GrpoStep *step)
{
	ListCell   *cell;

	foreach(cell, step->errors)
	{
		const GrpoError *error = lfirst(cell);
		Datum		values[6] = {Int64GetDatum(job), Int64GetDatum(step->number), Int32GetDatum(foreach_current_index(cell) + 1),
			(Datum) 0, CStringGetTextDatum(error->sqlstate), CStringGetTextDatum(error->message)};
		char		nulls[7] = "      ";

		if (error->question)
			values[3] = CStringGetTextDatum(error->question);
		else
			nulls[3] = 'n';
		(void) job_execute_as_owner("INSERT INTO @.dsr1_grpo_error (job, step, n, prompt, completion, sqlstate, message)"
									" VALUES ($1, $2, $3, $4::pg_catalog.json->>'prompt', $4::pg_catalog.json->>'completion', $5, $6)"
									" ON CONFLICT (job, step, n) DO UPDATE SET prompt = EXCLUDED.prompt,"
									" completion = EXCLUDED.completion, sqlstate = EXCLUDED.sqlstate, message = EXCLUDED.message",
									"llittt", values, nulls);
	}
}

void
grpo_steps_write(const Job *job, const GrpoStep *step, bool with_samples)
{
	Datum		values[3] = {Int64GetDatum(job->id), jsonb_of(step->line), Int64GetDatum(step->number)};

	(void) job_execute_as_owner("INSERT INTO @.dsr1_grpo_step SELECT r.* FROM pg_catalog.jsonb_populate_record(NULL::@.dsr1_grpo_step,"
								" $2 || pg_catalog.jsonb_build_object('job', $1, 'at', pg_catalog.clock_timestamp())) r",
								"lj", values, NULL);
	(void) job_execute_as_owner("UPDATE @.dsr1_job SET done = $3, generated_tokens = generated_tokens + COALESCE(($2->>'tokens')::int8, 0),"
								" rows_per_s = COALESCE(1 / NULLIF(($2->>'seconds')::float8, 0), rows_per_s),"
								" attempts = 0, next_attempt = NULL, category = NULL, sqlstate = NULL, last_error = NULL WHERE id = $1",
								"ljl", values, NULL);
	if (with_samples)
		write_samples(job, step);
	grpo_steps_write_errors(job->id, step);
}

void
grpo_steps_finish(const Job *job, bytea *adapter)
{
	char		digest[ADAPTER_DIGEST + 1];
	Datum		values[2] = {Int64GetDatum(job->id)};

	adapter_put(job->target, PointerGetDatum(adapter), psprintf("trained by run " INT64_FORMAT, job->id), digest);
	values[1] = CStringGetTextDatum(digest);
	/* with option until there may be fewer than were asked for */
	(void) job_execute_as_owner("UPDATE @.dsr1_grpo_run r SET steps = j.done FROM @.dsr1_job j WHERE j.id = $1 AND r.job = $1 AND j.done > 0",
								"l", values, NULL);
	(void) job_execute_as_owner("UPDATE @.dsr1_job SET state = 'done', finished = pg_catalog.now(), last_error = NULL,"
								" adapter_digest = $2 WHERE id = $1"
								" RETURNING pg_catalog.pg_notify('dsr1_job', id::text)", "lt", values, NULL);
}
