/*-------------------------------------------------------------------------
 *
 * grpo_create.c
 *	  dsr1_grpo(): a run is made
 *
 * A run is a job: it has its number, owner, state and process as all jobs do.
 * Prompts are read at once, with the rights of the role that makes the run, and
 * kept: so that a run that goes on after a restart has the same ones.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "adapter.h"
#include "dsr1.h"
#include "fmgr.h"
#include "grpo_folder.h"
#include "grpo_options.h"
#include "grpo_reward.h"
#include "job.h"
#include "job_access.h"
#include "job_launch.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#define PROMPTS_AT_ONCE	1000

/* ------------------------------------------------------------------
 *	Prompts
 * ------------------------------------------------------------------
 */

static void
pg_attribute_noreturn()
refuse_prompt(int64 number, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("row " INT64_FORMAT " of the prompts has %s", number, what),
			 errhint("The query must return a column \"prompt\" of type text, or \"messages\" with an array of {role, content}."
					 "  It may return \"system\" and \"meta\".")));
}

static void
check_prompt(Datum datum, int64 number)
{
	Jsonb	   *row = DatumGetJsonbP(datum);
	JsonbValue *prompt = getKeyJsonValueFromContainer(&row->root, "prompt", 6, NULL);
	JsonbValue *messages = getKeyJsonValueFromContainer(&row->root, "messages", 8, NULL);
	bool		list = messages && messages->type == jbvBinary && JsonContainerIsArray(messages->val.binary.data);

	if (prompt == NULL && !list)
		refuse_prompt(number, "no prompt");
	if (prompt && prompt->type == jbvNull && !list)
		refuse_prompt(number, "a prompt that is null");
	if (prompt && prompt->type != jbvString && prompt->type != jbvNull)
		refuse_prompt(number, "a prompt that is no text");
	if (prompt && prompt->type == jbvString && prompt->val.string.len == 0)
		refuse_prompt(number, "an empty prompt");
}

static void
insert_prompts(int64 job, bool aside, Datum *rows, int n)
{
	Datum		values[3] = {Int64GetDatum(job), BoolGetDatum(aside), job_array('j', rows, NULL, n)};

	(void) job_execute_as_owner("INSERT INTO @.dsr1_grpo_prompt (job, aside, line) SELECT $1, $2,"
								" (SELECT pg_catalog.jsonb_object_agg(key, value) FROM pg_catalog.jsonb_each(r)"
								"   WHERE key IN ('prompt', 'system', 'messages', 'meta') AND pg_catalog.jsonb_typeof(value) <> 'null')"
								" FROM pg_catalog.unnest($3) WITH ORDINALITY AS u(r, n) ORDER BY u.n", "lbJ", values, NULL);
}

/* The role reads them, the extension's owner keeps them.  Returns how many there are. */
static int64
keep_prompts(int64 job, bool aside, const char *query)
{
	/* a query that ends in a comment shall not swallow what follows */
	SPIPlanPtr	plan = SPI_prepare(psprintf("SELECT pg_catalog.to_jsonb(q) FROM (%s\n) AS q", query), 0, NULL);
	Portal		portal;
	int64		total = 0;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	for (;;)
	{
		Datum		rows[PROMPTS_AT_ONCE];
		SPITupleTable *table;
		int			n;

		SPI_cursor_fetch(portal, true, PROMPTS_AT_ONCE);
		n = (int) SPI_processed;
		table = SPI_tuptable;
		if (n == 0)
			break;
		for (int i = 0; i < n; i++)
		{
			bool		isnull;

			rows[i] = job_datum(i, 1, &isnull);
			check_prompt(rows[i], ++total);
		}
		insert_prompts(job, aside, rows, n);
		SPI_freetuptable(table);
	}
	SPI_cursor_close(portal);
	return total;
}

/* ------------------------------------------------------------------
 *	The run
 * ------------------------------------------------------------------
 */

static int64
insert_run(const char *adapter, const char *prompts, const char *reward, Jsonb *given,
		   const GrpoOptions *options, Oid owner)
{
	Datum		values[7] = {ObjectIdGetDatum(owner), CStringGetTextDatum(adapter), CStringGetTextDatum(prompts),
		JsonbPGetDatum(given), Int64GetDatum(options->seed), CStringGetTextDatum(DSR1_VERSION),
		Int32GetDatum(options->max_tokens)};
	Datum		run[4];

	(void) job_execute_as_owner("INSERT INTO @.dsr1_job (kind, owner, target, key, prompt, options, watch, seed, version, max_tokens,"
								" prompt_digest) VALUES ('grpo', $1, $2, '{}', $3, $4, false, $5, $6, $7,"
								" pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to($3, 'UTF8')), 'hex'))"
								" RETURNING id", "ottjlti", values, NULL);
	run[0] = Int64GetDatum(job_int64(0, 1));
	run[1] = CStringGetTextDatum(reward);
	run[2] = CStringGetTextDatum(grpo_folder_token());
	run[3] = Int32GetDatum(options->steps);
	(void) job_execute_as_owner("INSERT INTO @.dsr1_grpo_run (job, reward, token, steps) VALUES ($1, $2, $3, $4)",
								"ltti", run, NULL);
	return DatumGetInt64(run[0]);
}

static int64
make_run(const char *adapter, const char *prompts, Oid reward, Jsonb *given)
{
	Oid			owner = GetUserId();
	GrpoOptions options;
	char	   *name;
	int64		job;
	int64		n;

	grpo_options_read(&options, given);
	if (adapter[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the adapter needs a name")));
	adapter_check_mine(adapter);
	job_check_login(owner);
	name = grpo_reward_name(reward);
	job = insert_run(adapter, prompts, name, given, &options, owner);
	n = keep_prompts(job, false, prompts);
	if (n < options.batch)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%d prompts a step, but the query returns " INT64_FORMAT, options.batch, n),
				 errhint("Option \"batch\" says how many prompts a step has.")));
	if (options.eval && keep_prompts(job, true, options.eval) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the query of option \"eval\" returns nothing")));
	job_forget_old();
	job_launch_at_commit(job, owner);
	return job;
}

PG_FUNCTION_INFO_V1(sql_grpo);

Datum
sql_grpo(PG_FUNCTION_ARGS)
{
	char	   *adapter = NameStr(*PG_GETARG_NAME(0));
	char	   *prompts = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Oid			reward = PG_GETARG_OID(2);
	Jsonb	   *given = PG_GETARG_JSONB_P(3);
	int64		job;

	PreventCommandIfReadOnly("dsr1_grpo()");
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	job = make_run(adapter, prompts, reward, given);
	SPI_finish();
	PG_RETURN_INT64(job);
}
