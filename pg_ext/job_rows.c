/*-------------------------------------------------------------------------
 *
 * job_rows.c
 *	  a job's two transactions: rows are claimed, rows are written
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "engine_text.h"
#include "job_access.h"
#include "job_rows.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* ------------------------------------------------------------------
 *	Claiming
 * ------------------------------------------------------------------
 */

static JobRow *
new_row(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "dsr1 job row", ALLOCSET_SMALL_SIZES);
	JobRow	   *row = MemoryContextAllocZero(context, sizeof(JobRow));

	row->context = context;
	return row;
}

/* The next places in the queue, by SPI, into rows. */
static int
read_queue(const Job *job, MemoryContext parent, int64 last, const int64 *held, int n_held,
		   int most, JobRow **rows)
{
	Datum	   *ids = palloc(n_held * sizeof(Datum) + 1);
	Datum		values[4];
	int			n;

	for (int i = 0; i < n_held; i++)
		ids[i] = Int64GetDatum(held[i]);
	values[0] = Int64GetDatum(job->id);
	values[1] = Int64GetDatum(last);
	values[2] = job_array('l', ids, NULL, n_held);
	values[3] = Int32GetDatum(most);
	n = (int) job_execute_as_owner("SELECT id, key, version, attempts, sqlstate = '58030' FROM @.dsr1_job_row"
								   " WHERE job = $1 AND pending AND id > $2 AND id <> ALL ($3)"
								   " AND (next_retry IS NULL OR next_retry <= pg_catalog.now())"
								   " ORDER BY id LIMIT $4", "llLi", values, NULL);
	for (int i = 0; i < n; i++)
	{
		bool		isnull;
		MemoryContext old;

		rows[i] = new_row(parent);
		rows[i]->id = job_int64(i, 1);
		rows[i]->version = DatumGetInt32(job_datum(i, 3, &isnull));
		rows[i]->attempts = DatumGetInt32(job_datum(i, 4, &isnull));
		rows[i]->suspect = DatumGetBool(job_datum(i, 5, &isnull)) && !isnull;
		old = MemoryContextSwitchTo(rows[i]->context);
		rows[i]->key = DatumGetJsonbPCopy(job_datum(i, 2, &isnull));
		MemoryContextSwitchTo(old);
	}
	return n;
}

/*
 * A row over which the engine may have died is asked about alone, so that it
 * takes nobody along, and its guilt is beyond doubt.
 */
static int
set_suspects_apart(JobRow **rows, int n, bool others_in_hand)
{
	for (int i = 0; i < n; i++)
		if (rows[i]->suspect)
			return i > 0 ? i : others_in_hand ? 0 : 1;
	return n;
}

static Datum
keys_of(JobRow **rows, int n)
{
	Datum	   *keys = palloc(n * sizeof(Datum) + 1);

	for (int i = 0; i < n; i++)
		keys[i] = JsonbPGetDatum(rows[i]->key);
	return job_array('j', keys, NULL, n);
}

/* By SPI; what is not there, or not wanted, keeps prompt == NULL. */
static void
read_prompts(const JobTable *table, JobRow **rows, int n)
{
	Datum		values[1] = {keys_of(rows, n)};
	uint64		found = job_execute(job_table_select_prompts(table, false), "J", values, NULL);

	for (uint64 i = 0; i < found; i++)
	{
		JobRow	   *row = rows[job_int64(i, 1) - 1];
		bool		isnull;
		bool		wanted = DatumGetBool(job_datum(i, 2, &isnull)) && !isnull;

		if (!wanted)
			continue;
		row->prompt = MemoryContextStrdup(row->context, job_string(i, 3));
		row->no_question = DatumGetBool(job_datum(i, 4, &isnull));
	}
}

static Datum
ids_of(JobRow **rows, int n)
{
	Datum	   *ids = palloc(n * sizeof(Datum) + 1);

	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(rows[i]->id);
	return job_array('l', ids, NULL, n);
}

static Datum
versions_of(JobRow **rows, int n)
{
	Datum	   *versions = palloc(n * sizeof(Datum) + 1);

	for (int i = 0; i < n; i++)
		versions[i] = Int32GetDatum(rows[i]->version);
	return job_array('i', versions, NULL, n);
}

/* Takes out of the queue what is not in the table any more, or not wanted. */
static void
drop_unwanted(const Job *job, JobRow **unwanted, int n)
{
	Datum		values[3] = {Int64GetDatum(job->id), ids_of(unwanted, n), versions_of(unwanted, n)};

	if (n > 0)
		(void) job_execute_as_owner("DELETE FROM @.dsr1_job_row WHERE job = $1 AND id IN"
									" (SELECT r.id FROM @.dsr1_job_row r JOIN unnest($2, $3) AS u(id, version)"
									" ON r.id = u.id AND r.version = u.version"
									" WHERE r.job = $1 AND r.pending FOR UPDATE OF r SKIP LOCKED)",
									"lLI", values, NULL);
}

int
job_rows_claim(const Job *job, const JobTable *table, MemoryContext parent, int64 *last,
			   const int64 *held, int n_held, int most, JobRow **rows, int *looked_at)
{
	JobRow	   *unwanted[JOB_BATCH_MAX];
	int			n_unwanted = 0;
	int			n_wanted = 0;
	int			n = read_queue(job, parent, *last, held, n_held, most, rows);
	int			n_taken = set_suspects_apart(rows, n, n_held > 0);

	for (int i = n_taken; i < n; i++)
		MemoryContextDelete(rows[i]->context);
	*looked_at = n_taken;
	if (n_taken == 0)
		return 0;
	*last = rows[n_taken - 1]->id;
	read_prompts(table, rows, n_taken);
	for (int i = 0; i < n_taken; i++)
	{
		if (rows[i]->prompt)
			rows[n_wanted++] = rows[i];
		else
			unwanted[n_unwanted++] = rows[i];
	}
	drop_unwanted(job, unwanted, n_unwanted);
	for (int i = 0; i < n_unwanted; i++)
		MemoryContextDelete(unwanted[i]->context);
	return n_wanted;
}

/* ------------------------------------------------------------------
 *	Writing
 * ------------------------------------------------------------------
 */

static bool
lock_job(const Job *job)
{
	Datum		values[1] = {Int64GetDatum(job->id)};

	return job_execute_as_owner("SELECT FROM @.dsr1_job WHERE id = $1 AND state = 'running' FOR NO KEY UPDATE",
								"l", values, NULL) > 0;
}

/* Locks the rows' places in the queue; returns those that are as they were claimed. */
static int
lock_places(const Job *job, JobRow **rows, int n, JobRow **locked)
{
	Datum		values[3] = {Int64GetDatum(job->id), ids_of(rows, n), versions_of(rows, n)};
	uint64		found;
	int			n_locked = 0;

	found = job_execute_as_owner("SELECT r.id FROM @.dsr1_job_row r JOIN unnest($2, $3) AS u(id, version)"
								 " ON r.id = u.id AND r.version = u.version"
								 " WHERE r.job = $1 AND r.pending FOR UPDATE OF r SKIP LOCKED",
								 "lLI", values, NULL);
	for (uint64 i = 0; i < found; i++)
		for (int k = 0; k < n; k++)
			if (rows[k]->id == job_int64(i, 1))
				locked[n_locked++] = rows[k];
	return n_locked;
}

/*
 * Locks the rows themselves, where they are what is written; returns those
 * whose prompt is what was answered.  The others are tried again in a second:
 * somebody has locked them, or they are gone, which claiming finds out.
 */
static int
lock_unchanged(const Job *job, const JobTable *table, JobRow **rows, int n, JobRow **unchanged)
{
	Datum		values[2] = {keys_of(rows, n)};
	bool		seen[JOB_BATCH_MAX] = {false};
	JobRow	   *unseen[JOB_BATCH_MAX];
	int			n_unchanged = 0;
	int			n_unseen = 0;
	uint64		found;

	found = job_execute(job_table_select_prompts(table, table->into == NULL), "J", values, NULL);
	for (uint64 i = 0; i < found; i++)
	{
		int			k = (int) job_int64(i, 1) - 1;
		bool		isnull;
		bool		wanted = DatumGetBool(job_datum(i, 2, &isnull)) && !isnull;

		seen[k] = true;
		if (wanted && strcmp(job_string(i, 3), rows[k]->prompt) == 0)
			unchanged[n_unchanged++] = rows[k];
	}
	for (int k = 0; k < n; k++)
		if (!seen[k])
			unseen[n_unseen++] = rows[k];
	values[0] = Int64GetDatum(job->id);
	values[1] = ids_of(unseen, n_unseen);
	if (n_unseen > 0)
		(void) job_execute_as_owner("UPDATE @.dsr1_job_row SET next_retry = pg_catalog.now() + interval '1 s'"
									" WHERE job = $1 AND id = ANY ($2)", "lL", values, NULL);
	return n_unchanged;
}

static void
write_values(const JobTable *table, JobRow **rows, int n)
{
	Datum	   *texts = palloc(n * sizeof(Datum) + 1);
	bool	   *nulls = palloc(n * sizeof(bool) + 1);
	Datum		values[2];

	for (int i = 0; i < n; i++)
	{
		nulls[i] = rows[i]->no_question;
		texts[i] = nulls[i] ? (Datum) 0 : PointerGetDatum(engine_text_back(rows[i]->answer));
	}
	values[0] = keys_of(rows, n);
	values[1] = job_array('t', texts, nulls, n);
	if (job_execute(job_table_write(table), "JT", values, NULL) != (uint64) n)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("row was not written"),
				 errdetail("A trigger or a policy of the table kept it from being changed.")));
}

static void
note_done(const Job *job, JobRow **rows, int n)
{
	Datum	   *prompts = palloc(n * sizeof(Datum) + 1);
	Datum		values[3] = {Int64GetDatum(job->id), ids_of(rows, n)};

	for (int i = 0; i < n; i++)
		prompts[i] = CStringGetTextDatum(job->options.audit ? rows[i]->prompt : "");
	values[2] = job_array('t', prompts, NULL, n);
	(void) job_execute_as_owner("UPDATE @.dsr1_job_row r SET pending = false, attempts = 0, next_retry = NULL,"
								" category = NULL, sqlstate = NULL, message = NULL, done_at = pg_catalog.now(),"
								" prompt_digest = CASE WHEN u.prompt <> ''"
								"  THEN pg_catalog.sha256(pg_catalog.convert_to(u.prompt, 'UTF8')) END"
								" FROM unnest($2, $3) AS u(id, prompt) WHERE r.job = $1 AND r.id = u.id",
								"lLT", values, NULL);
}

/* A temporary error is tried again after 1, 2, 4 ... seconds. */
static bool
note_error(const Job *job, const JobRow *row)
{
	bool		again = strcmp(row->category, "row_temporary") == 0 && row->attempts < job->options.retries;
	Datum		values[7];

	values[0] = Int64GetDatum(job->id);
	values[1] = Int64GetDatum(row->id);
	values[2] = BoolGetDatum(again);
	values[3] = CStringGetTextDatum(row->category);
	values[4] = CStringGetTextDatum(row->sqlstate);
	values[5] = CStringGetTextDatum(row->message);
	values[6] = Int32GetDatum(1 << Min(row->attempts, 8));
	(void) job_execute_as_owner("UPDATE @.dsr1_job_row SET pending = $3, attempts = attempts + 1, category = $4,"
								" sqlstate = $5, message = $6, done_at = pg_catalog.now(),"
								" next_retry = CASE WHEN $3 THEN pg_catalog.now() + $7 * interval '1 s' END"
								" WHERE job = $1 AND id = $2", "llbttti", values, NULL);
	return !again;
}

static void
note_progress(const Job *job, JobRow **rows, int n, int n_done, int n_failed,
			  const char *model_digest, double rows_per_s)
{
	int64		prompt = 0;
	int64		cached = 0;
	int64		generated = 0;
	double		engine_ms = 0;
	Datum		values[10];
	char		nulls[11] = "          ";

	for (int i = 0; i < n; i++)
	{
		prompt += rows[i]->usage.prompt_tokens;
		cached += rows[i]->usage.cached_tokens;
		generated += rows[i]->usage.completion_tokens;
		engine_ms += rows[i]->usage.prefill_ms + rows[i]->usage.decode_ms;
	}
	values[0] = Int64GetDatum(job->id);
	values[1] = Int32GetDatum(n_done);
	values[2] = Int64GetDatum(prompt);
	values[3] = Int64GetDatum(cached);
	values[4] = Int64GetDatum(generated);
	values[5] = Float8GetDatum(engine_ms);
	values[6] = Float8GetDatum(rows_per_s);
	nulls[6] = rows_per_s > 0 ? ' ' : 'n';
	values[7] = CStringGetTextDatum(model_digest);
	(void) job_execute_as_owner("UPDATE @.dsr1_job SET done = done + $2, prompt_tokens = prompt_tokens + $3,"
								" cached_tokens = cached_tokens + $4, generated_tokens = generated_tokens + $5,"
								" engine_ms = engine_ms + $6, rows_per_s = COALESCE($7, rows_per_s),"
								" model_digest = COALESCE(model_digest, NULLIF($8, '')), attempts = 0, next_attempt = NULL"
								" WHERE id = $1", "lilllfft", values, nulls);
	values[1] = Int32GetDatum(job->options.max_errors);
	if (n_failed > 0 && job->options.max_errors >= 0)
		(void) job_execute_as_owner("UPDATE @.dsr1_job SET state = 'failed', finished = pg_catalog.now(),"
									" last_error = 'more rows failed than max_errors allows'"
									" WHERE id = $1 AND (SELECT pg_catalog.count(*) FROM @.dsr1_job_row"
									" WHERE job = $1 AND category IS NOT NULL AND NOT pending) > $2",
									"li", values, NULL);
}

bool
job_rows_write(const Job *job, const JobTable *table, JobRow **rows, int n,
			   const char *model_digest, double rows_per_s, int *done, int *failed)
{
	JobRow	   *locked[JOB_BATCH_MAX];
	JobRow	   *answered[JOB_BATCH_MAX];
	JobRow	   *unchanged[JOB_BATCH_MAX];
	int			n_locked;
	int			n_answered = 0;
	int			n_unchanged = 0;

	*done = *failed = 0;
	if (!lock_job(job))
		return false;
	n_locked = lock_places(job, rows, n, locked);
	for (int i = 0; i < n_locked; i++)
	{
		if (locked[i]->category == NULL)
			answered[n_answered++] = locked[i];
		else if (note_error(job, locked[i]))
			++*failed;
	}
	if (n_answered > 0)
		n_unchanged = lock_unchanged(job, table, answered, n_answered, unchanged);
	if (n_unchanged > 0)
	{
		write_values(table, unchanged, n_unchanged);
		note_done(job, unchanged, n_unchanged);
	}
	*done = n_unchanged;
	note_progress(job, rows, n, n_unchanged, *failed, model_digest, rows_per_s);
	return true;
}

void
job_rows_set_error(JobRow *row, const char *category, const char *sqlstate, const char *message)
{
	row->category = category;
	row->sqlstate = MemoryContextStrdup(row->context, sqlstate);
	row->message = MemoryContextStrdup(row->context, message);
	row->settled = true;
}

/* ------------------------------------------------------------------
 *	What is left
 * ------------------------------------------------------------------
 */

void
job_rows_rest(const Job *job, JobRest *rest)
{
	Datum		values[1] = {Int64GetDatum(job->id)};
	bool		isnull;
	bool		later;

	memset(rest, 0, sizeof(*rest));
	(void) job_execute_as_owner("SELECT pg_catalog.count(*) > 0, pg_catalog.bool_or(next_retry IS NULL OR next_retry <= pg_catalog.now()),"
								" pg_catalog.min(next_retry)"
								" FROM (SELECT next_retry FROM @.dsr1_job_row WHERE job = $1 AND pending"
								" ORDER BY id LIMIT 1000) r", "l", values, NULL);
	rest->any = DatumGetBool(job_datum(0, 1, &isnull));
	rest->now = DatumGetBool(job_datum(0, 2, &isnull)) && !isnull;
	rest->next = DatumGetTimestampTz(job_datum(0, 3, &later));
	if (later)
		rest->next = GetCurrentTimestamp();
}
