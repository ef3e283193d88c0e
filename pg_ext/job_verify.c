/*-------------------------------------------------------------------------
 *
 * job_verify.c
 *	  dsr1_job_verify(): the same answers again, to the bit
 *
 * A sample of a job's rows is asked about once more.  A row whose prompt is not
 * what it was when it was answered has changed since; nothing can be said
 * about it, and "equal" is NULL.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "engine_text.h"
#include "fmgr.h"
#include "job.h"
#include "job_access.h"
#include "stat_rows.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"


#define AT_ONCE		32			/* questions in the engine */

typedef struct Sample
{
	Datum		key;			/* jsonb */
	Datum		digest;			/* bytea, of the prompt it was answered to */
	char	   *prompt;			/* now; NULL: the row is gone or has changed */
	EngineRequest *request;
	Datum		answer;			/* text */
	bool		equal;
} Sample;

static bool
same_digest(const char *prompt, Datum digest)
{
	text	   *utf8 = (text *) DatumGetPointer(DirectFunctionCall2(pg_convert_to,
																	CStringGetTextDatum(prompt),
																	CStringGetDatum("UTF8")));
	Datum		now = DirectFunctionCall1(sha256_bytea, PointerGetDatum(utf8));

	return DatumGetBool(DirectFunctionCall2(byteaeq, now, digest));
}

static int
take_sample(const Job *job, int most, Sample **samples)
{
	Datum		values[2] = {Int64GetDatum(job->id), Int32GetDatum(most)};
	int			n = (int) job_execute_as_owner("SELECT key, prompt_digest FROM @.dsr1_job_row"
											   " WHERE job = $1 AND NOT pending AND prompt_digest IS NOT NULL AND category IS NULL"
											   " ORDER BY pg_catalog.random() LIMIT $2", "li", values, NULL);
	bool		isnull;

	*samples = palloc0(n * sizeof(Sample) + 1);
	for (int i = 0; i < n; i++)
	{
		(*samples)[i].key = PointerGetDatum(DatumGetJsonbPCopy(job_datum(i, 1, &isnull)));
		(*samples)[i].digest = PointerGetDatum(DatumGetByteaPCopy(job_datum(i, 2, &isnull)));
	}
	return n;
}

static Datum
keys_of(const Sample *samples, int n)
{
	Datum	   *keys = palloc(n * sizeof(Datum) + 1);

	for (int i = 0; i < n; i++)
		keys[i] = samples[i].key;
	return job_array('j', keys, NULL, n);
}

static void
read_prompts(const JobTable *table, Sample *samples, int n)
{
	Datum		values[1] = {keys_of(samples, n)};
	uint64		found = job_execute(job_table_select_prompts(table, false), "J", values, NULL);

	for (uint64 i = 0; i < found; i++)
	{
		Sample	   *sample = &samples[job_int64(i, 1) - 1];
		char	   *prompt = job_string(i, 3);
		bool		isnull;

		if (same_digest(prompt, sample->digest) && !DatumGetBool(job_datum(i, 4, &isnull)))
			sample->prompt = prompt;
	}
}

static void
ask(const Job *job, Sample *samples, int n, struct wire_complete *question)
{
	for (int i = 0; i < n; i++)
	{
		if (samples[i].prompt == NULL)
			continue;
		samples[i].request = engine_request_new();
		job_put_question(samples[i].request, question, job, samples[i].prompt);
		engine_request_send(samples[i].request);
	}
	for (int i = 0; i < n; i++)
	{
		struct wire_frame frame;
		struct wire_done done;

		if (samples[i].request == NULL)
			continue;
		engine_request_wait(samples[i].request);
		frame = engine_request_answer(samples[i].request);
		if (frame.type != WIRE_DONE || wire_get_done(&frame, &done) < 0)
			engine_answer_broken();
		samples[i].answer = PointerGetDatum(engine_text_back(done.piece.text));
		engine_request_free(samples[i].request);
	}
}

static void
compare(const JobTable *table, Sample *samples, int n)
{
	Datum	   *answers = palloc(n * sizeof(Datum) + 1);
	bool	   *nulls = palloc(n * sizeof(bool) + 1);
	Datum		values[2];
	uint64		found;
	bool		isnull;

	for (int i = 0; i < n; i++)
	{
		nulls[i] = samples[i].request == NULL;
		answers[i] = samples[i].answer;
	}
	values[0] = keys_of(samples, n);
	values[1] = job_array('t', answers, nulls, n);
	found = job_execute(job_table_select_values(table), "JT", values, NULL);
	for (uint64 i = 0; i < found; i++)
		samples[job_int64(i, 1) - 1].equal = DatumGetBool(job_datum(i, 4, &isnull));
}

static void
check_model(const Job *job)
{
	EngineRequest *request = engine_request_new();
	struct wire_frame frame;
	struct wire_model model;

	if (!wire_put_bare(&request->frame, WIRE_MODEL, request->id))
		elog(ERROR, "out of memory");
	engine_request_send(request);
	engine_request_wait(request);
	frame = engine_request_answer(request);
	if (frame.type != WIRE_MODEL_RESULT || wire_get_model_result(&frame, &model) < 0)
		engine_answer_broken();
	if (job->model_digest && model.digest.size > 0 &&
		(strlen(job->model_digest) != model.digest.size ||
		 memcmp(job->model_digest, model.digest.data, model.digest.size) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the engine serves another model than the one of job " INT64_FORMAT, job->id),
				 errdetail("The job's model has the digest %s.", job->model_digest)));
	engine_request_free(request);
}

static void
verify(ReturnSetInfo *result, const Job *job, int most)
{
	struct wire_complete *question = palloc(sizeof(*question));
	JobTable	table;
	Sample	   *samples;
	int			n = take_sample(job, most, &samples);

	check_model(job);
	job_open_table(&table, job);
	job_prepare_question(job, &table, question);
	read_prompts(&table, samples, n);
	for (int i = 0; i < n; i += AT_ONCE)
		ask(job, samples + i, Min(n - i, AT_ONCE), question);
	compare(&table, samples, n);
	for (int i = 0; i < n; i++)
	{
		Datum		values[2] = {samples[i].key, BoolGetDatum(samples[i].equal)};
		bool		nulls[2] = {false, samples[i].request == NULL};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

PG_FUNCTION_INFO_V1(sql_job_verify);

Datum
sql_job_verify(PG_FUNCTION_ARGS)
{
	int32		most = PG_GETARG_INT32(1);
	ReturnSetInfo *result = stat_rows_begin(fcinfo, 2);
	int			level;
	Job			job;

	if (most < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sample must not be negative")));
	level = job_settings_begin();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (!job_read(&job, PG_GETARG_INT64(0)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("job " INT64_FORMAT " does not exist", PG_GETARG_INT64(0))));
	job_check_owner(&job);
	job_check_rows(&job, "verified");
	verify(result, &job, most);
	SPI_finish();
	job_settings_end(level);
	return (Datum) 0;
}
