/*-------------------------------------------------------------------------
 *
 * job_create.c
 *	  dsr1_annotate(): a job is made
 *
 * What the job will do is tried here, with the rights of the role that makes
 * it: so that nearly all that can be wrong is an error of this statement.  The
 * keys of the rows are noted at once, and are what the job works off.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "adapter.h"
#include "catalog/pg_class.h"
#include "dsr1.h"
#include "fmgr.h"
#include "job.h"
#include "job_access.h"
#include "job_launch.h"
#include "job_options.h"
#include "job_table.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define KEYS_AT_ONCE	10000

static void
check_privileges(const JobTable *table, const char *target, Oid owner, Oid into)
{
	Oid			holder = OidIsValid(into) ? into : table->relation;
	AclMode		mode = OidIsValid(into) ? ACL_INSERT : ACL_UPDATE;

	if (pg_class_aclcheck(holder, owner, mode) != ACLCHECK_OK &&
		pg_attribute_aclcheck(holder, get_attnum(holder, target), owner, mode) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(holder));
}

/* Everything the worker will run is parsed, planned and started, on no rows. */
static void
try_statements(const JobTable *table, bool lock)
{
	Datum		values[2] = {job_array('j', NULL, NULL, 0), job_array('t', NULL, NULL, 0)};

	(void) job_execute(job_table_select_prompts(table, lock), "J", values, NULL);
	(void) job_execute(job_table_write(table), "JT", values, NULL);
}

/* What the job will ask with from beginning to end, whatever happens to the name; NULL: the model as it is. */
static char *
adapter_for(const JobOptions *options)
{
	struct wire_terms terms = {0};

	if (options->adapter)
		terms.adapter = wire_text(options->adapter);
	adapter_resolve(&terms);
	return terms.adapter.size > 0 ? pnstrdup(terms.adapter.data, terms.adapter.size) : NULL;
}

static int64
insert_job(const JobTable *table, const char *target, const char *prompt, Jsonb *given,
		   const JobOptions *options, Oid into, Oid owner)
{
	ListCell   *cell;
	char	   *adapter = adapter_for(options);
	Datum		names[INDEX_MAX_KEYS];
	Datum		values[12];
	char		nulls[13] = "            ";

	foreach(cell, table->key)
		names[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	values[0] = ObjectIdGetDatum(owner);
	values[1] = ObjectIdGetDatum(table->relation);
	values[2] = CStringGetTextDatum(target);
	values[3] = job_array('t', names, NULL, list_length(table->key));
	values[4] = CStringGetTextDatum(prompt);
	values[5] = JsonbPGetDatum(given);
	values[6] = ObjectIdGetDatum(into);
	nulls[6] = OidIsValid(into) ? ' ' : 'n';
	values[7] = BoolGetDatum(options->watch);
	values[8] = Int64GetDatum(options->seed);
	values[9] = CStringGetTextDatum(DSR1_VERSION);
	values[10] = Int32GetDatum(options->max_tokens);
	values[11] = adapter ? CStringGetTextDatum(adapter) : (Datum) 0;
	nulls[11] = adapter ? ' ' : 'n';
	(void) job_execute_as_owner("INSERT INTO @.dsr1_job (kind, owner, relation, target, key, prompt, options, into_table,"
								" watch, seed, version, max_tokens, adapter_digest, prompt_digest)"
								" VALUES ('annotate', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,"
								" pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to($5, 'UTF8')), 'hex'))"
								" RETURNING id", "ootTtjobltit", values, nulls);
	return job_int64(0, 1);
}

static void
insert_keys(int64 job, Datum *keys, int n)
{
	Datum		values[2] = {Int64GetDatum(job), job_array('j', keys, NULL, n)};

	(void) job_execute_as_owner("INSERT INTO @.dsr1_job_row (job, key)"
								" SELECT $1, k FROM pg_catalog.unnest($2) WITH ORDINALITY AS u(k, n) ORDER BY n"
								" ON CONFLICT DO NOTHING", "lJ", values, NULL);
}

/* The role reads the keys, the extension's owner notes them. */
static int64
queue_rows(const JobTable *table, int64 job)
{
	SPIPlanPtr	plan = SPI_prepare(job_table_select_keys(table), 0, NULL);
	Portal		portal;
	int64		total = 0;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	for (;;)
	{
		Datum	   *keys;
		uint64		n;

		SPI_cursor_fetch(portal, true, KEYS_AT_ONCE);
		n = SPI_processed;
		if (n == 0)
			break;
		keys = palloc(n * sizeof(Datum));
		for (uint64 i = 0; i < n; i++)
		{
			bool		isnull;

			keys[i] = job_datum(i, 1, &isnull);
		}
		insert_keys(job, keys, (int) n);
		total += (int64) n;
		SPI_freetuptable(SPI_tuptable);
		pfree(keys);
	}
	SPI_cursor_close(portal);
	return total;
}

static int64
annotate(Relation relation, const char *target, const char *prompt, Jsonb *given)
{
	Oid			owner = GetUserId();
	Oid			into = InvalidOid;
	JobOptions	options;
	JobTable	table;
	List	   *key;
	struct wire_complete *complete = palloc0(sizeof(*complete));
	int64		job;

	job_options_read(&options, given);
	job_check_login(owner);
	key = job_table_key(relation, options.key);
	if (options.into)
	{
		JobTable	source = {.relation = RelationGetRelid(relation), .key = key, .target = pstrdup(quote_identifier(target))};

		into = job_table_create_into(&source, options.into);
	}
	job_table_read(&table, relation, key, target, prompt, options.where, into);
	check_privileges(&table, target, owner, into);
	job_options_constrain(&options, table.target_type, complete);
	try_statements(&table, !options.into);
	job = insert_job(&table, target, prompt, given, &options, into, owner);
	if (options.watch)
		job_table_create_trigger(&table, relation, job, options.where != NULL);
	(void) queue_rows(&table, job);
	job_forget_old();
	job_launch_at_commit(job, owner);
	return job;
}

PG_FUNCTION_INFO_V1(sql_annotate);

Datum
sql_annotate(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *target = NameStr(*PG_GETARG_NAME(1));
	char	   *prompt = text_to_cstring(PG_GETARG_TEXT_PP(2));
	Jsonb	   *given = PG_GETARG_JSONB_P(3);
	Relation	relation;
	int			level;
	int64		job;

	PreventCommandIfReadOnly("dsr1_annotate()");
	if (!OidIsValid(relid) || get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	relation = table_open(relid, AccessShareLock);
	level = job_settings_begin();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	job = annotate(relation, target, prompt, given);
	SPI_finish();
	job_settings_end(level);
	table_close(relation, AccessShareLock);
	PG_RETURN_INT64(job);
}
