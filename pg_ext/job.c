/*-------------------------------------------------------------------------
 *
 * job.c
 *	  a job as it stands in the tables, and what it asks
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_authid.h"
#include "adapter.h"
#include "engine_text.h"
#include "job.h"
#include "job_access.h"
#include "miscadmin.h"
#include "settings.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static List *
read_names(Datum array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	List	   *names = NIL;

	deconstruct_array(DatumGetArrayTypePCopy(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		names = lappend(names, TextDatumGetCString(elements[i]));
	return names;
}

bool
job_read(Job *job, int64 id)
{
	Datum		values[1] = {Int64GetDatum(id)};
	bool		isnull;

	memset(job, 0, sizeof(*job));
	if (job_execute_as_owner("SELECT owner::pg_catalog.oid::int8, relation::pg_catalog.oid::int8,"
							 " into_table::pg_catalog.oid::int8, target, key, prompt, state, model_digest,"
							 " watch, attempts, options, max_tokens, kind, adapter_digest FROM @.dsr1_job WHERE id = $1",
							 "l", values, NULL) == 0)
		return false;
	job->id = id;
	job->owner = (Oid) job_int64(0, 1);
	job->relation = (Oid) job_int64(0, 2);
	job->into = (Oid) job_int64(0, 3);
	job->target = job_string(0, 4);
	job->key = read_names(job_datum(0, 5, &isnull));
	job->prompt = job_string(0, 6);
	job->state = job_string(0, 7);
	job->model_digest = job_string(0, 8);
	job->watch = DatumGetBool(job_datum(0, 9, &isnull));
	job->attempts = DatumGetInt32(job_datum(0, 10, &isnull));
	job->kind = job_string(0, 13);
	job->given = DatumGetJsonbPCopy(job_datum(0, 11, &isnull));
	if (strcmp(job->kind, "annotate") != 0)
		return true;
	job_options_read(&job->options, job->given);
	job->options.max_tokens = DatumGetInt32(job_datum(0, 12, &isnull));
	job->adapter_digest = job_string(0, 14);
	return true;
}

void
job_open_table(JobTable *table, const Job *job)
{
	Relation	relation = try_relation_open(job->relation, AccessShareLock);
	const char *missing = relation == NULL ? "table of the job" :
		OidIsValid(job->into) && get_rel_name(job->into) == NULL ? "side table of the job" : NULL;

	if (missing)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("%s does not exist any more", missing)));

	/* it stays locked to the end of the transaction */
	job_table_read(table, relation, job->key, job->target, job->prompt,
				   job->options.where, job->into);
	relation_close(relation, NoLock);
}

void
job_prepare_question(const Job *job, const JobTable *table, struct wire_complete *complete)
{
	memset(complete, 0, sizeof(*complete));
	complete->terms.priority = job->options.priority;
	if (job->adapter_digest)
		complete->terms.adapter = adapter_pinned(job->adapter_digest);
	complete->max_tokens = job->options.max_tokens;
	complete->temperature = (float) job->options.temperature;
	complete->seed = (uint64) job->options.seed;
	complete->prompt.kind = job->options.raw ? WIRE_PROMPT_RAW : WIRE_PROMPT_CHAT;
	if (job->options.system)
	{
		complete->prompt.turns[0].role = wire_text("system");
		complete->prompt.turns[0].content = engine_text(cstring_to_text(job->options.system));
		complete->prompt.n_turns = 1;
	}
	complete->prompt.n_turns++;
	job_options_constrain(&job->options, table->target_type, complete);
}

void
job_put_question(EngineRequest *request, struct wire_complete *complete,
				 const Job *job, const char *prompt)
{
	struct wire_turn *turn = &complete->prompt.turns[complete->prompt.n_turns - 1];

	turn->role = wire_text(job->options.raw ? "" : "user");
	turn->content = engine_text(cstring_to_text(prompt));
	if (!wire_put_complete(&request->frame, request->id, complete))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("prompt is too long"),
				 errdetail("A request to the inference engine holds at most %d bytes.", WIRE_FRAME_MAX)));
}

/* A worker logs in as the owner, which not every role may. */
void
job_check_login(Oid owner)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(owner));
	bool		may_log_in;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for role %u", owner);
	may_log_in = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (!may_log_in)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("role \"%s\" cannot own a job", GetUserNameFromId(owner, false)),
				 errdetail("Its worker logs in as that role, which has no LOGIN.")));
}

void
job_check_rows(const Job *job, const char *what)
{
	if (strcmp(job->kind, "annotate") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("job " INT64_FORMAT " cannot be %s", job->id, what),
				 errdetail("It is a run of training and has no rows.")));
}

/* Those that ended long ago. */
void
job_forget_old(void)
{
	Datum		values[1] = {Int32GetDatum(setting_job_history_days)};

	(void) job_execute_as_owner("WITH old AS (DELETE FROM @.dsr1_job WHERE state IN ('done', 'failed', 'cancelled')"
								" AND finished < pg_catalog.now() - pg_catalog.make_interval(days => $1) RETURNING id)"
								" DELETE FROM @.dsr1_job_row r USING old WHERE r.job = old.id",
								"i", values, NULL);
}

void
job_check_owner(const Job *job)
{
	if (!has_privs_of_role(GetUserId(), job->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of job " INT64_FORMAT, job->id)));
}
