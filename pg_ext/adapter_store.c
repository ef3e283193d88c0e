/*-------------------------------------------------------------------------
 *
 * adapter_store.c
 *	  dsr1_adapter_put(), dsr1_adapter_drop(), dsr1_adapter_export()
 *
 * What is put is tried at once: the engine opens it for the model that it
 * serves, and tells what it is.  Our own process never looks into it.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "adapter.h"
#include "engine_error.h"
#include "engine_text.h"
#include "fmgr.h"
#include "job_access.h"
#include "miscadmin.h"
#include "model.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* ------------------------------------------------------------------
 *	Whose it is
 * ------------------------------------------------------------------
 */

static void
pg_attribute_noreturn()
raise_missing(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("adapter \"%s\" does not exist", name)));
}

static void
check_owner(Oid owner, const char *name)
{
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of adapter \"%s\"", name)));
}

/* InvalidOid: there is no such adapter. */
static Oid
owner_of(const char *name)
{
	StoredAdapter stored;
	Oid			owner = adapter_open_stored(&stored, name) ? stored.owner : InvalidOid;

	adapter_close_stored(&stored);
	return owner;
}

void
adapter_check_mine(const char *name)
{
	Oid			owner = owner_of(name);

	if (OidIsValid(owner))
		check_owner(owner, name);
}

/* ------------------------------------------------------------------
 *	Putting
 * ------------------------------------------------------------------
 */

/* What the engine says of the adapter whose file is there; the answer lives as long as the request. */
static EngineRequest *
ask_engine(const char *name, const char *digest, struct wire_adapter *adapter)
{
	EngineRequest *request = engine_request_new();
	struct wire_frame frame;
	struct wire_error error;

	if (!wire_put_adapter(&request->frame, request->id, wire_text(digest)))
		elog(ERROR, "out of memory");
	engine_request_send(request);
	engine_request_finish(request);
	frame = engine_request_answer(request);
	if (frame.type == WIRE_ERROR && wire_get_error(&frame, &error) == DSR1_OK)
	{
		char	   *message = engine_error_clean(error.message);

		engine_request_free(request);
		adapter_raise_unfit(message, psprintf("\"%s\"", name), ERRCODE_INVALID_PARAMETER_VALUE);
		engine_error_answer(error.status, message);
	}
	if (frame.type != WIRE_ADAPTER_RESULT || wire_get_adapter_result(&frame, adapter) < 0)
		engine_answer_broken();
	return request;
}

/*
 * The owner of one that is there already stays the same.  `owner` was seen, and
 * may use it; should it have become another's meanwhile, nothing is written.
 */
static void
store(const char *name, Datum bytes, const char *comment, const char *digest, const struct wire_adapter *adapter,
	  Oid owner)
{
	Datum		values[10];
	char		nulls[11] = "          ";

	values[0] = CStringGetDatum(name);
	values[1] = CStringGetTextDatum(digest);
	values[2] = ObjectIdGetDatum(owner);
	values[3] = bytes;
	values[4] = PointerGetDatum(engine_text_back(adapter->architecture));
	values[5] = Int64GetDatum((int64) adapter->n_parameters);
	values[6] = Int32GetDatum(adapter->rank);
	values[7] = Float8GetDatum(adapter->alpha);
	values[8] = CStringGetTextDatum(model_digest(NULL));
	values[9] = comment ? CStringGetTextDatum(comment) : (Datum) 0;
	nulls[9] = comment ? ' ' : 'n';
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (job_execute_as_owner("INSERT INTO @.dsr1_adapter AS a"
							 " (name, digest, owner, data, architecture, parameters, rank, alpha, model_digest, comment)"
							 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
							 " ON CONFLICT (name) DO UPDATE SET (digest, data, architecture, parameters, rank, alpha,"
							 " model_digest, comment, created) ="
							 " (SELECT EXCLUDED.digest, EXCLUDED.data, EXCLUDED.architecture, EXCLUDED.parameters,"
							 " EXCLUDED.rank, EXCLUDED.alpha, EXCLUDED.model_digest, EXCLUDED.comment, EXCLUDED.created)"
							 " WHERE a.owner = EXCLUDED.owner", "ntoytliftt", values, nulls) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("adapter \"%s\" was put by another role at the same time", name)));
	SPI_finish();
}

void
adapter_put(const char *name, Datum bytes, const char *comment, char digest[ADAPTER_DIGEST + 1])
{
	Oid			owner = owner_of(name);
	EngineRequest *request;
	struct wire_adapter adapter;

	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the name of an adapter must not be empty")));
	if (OidIsValid(owner))
		check_owner(owner, name);
	else
		owner = GetUserId();
	adapter_file_write(bytes, NULL, digest);
	PG_TRY();
	{
		request = ask_engine(name, digest, &adapter);
	}
	PG_CATCH();
	{
		/* If it is in use after all, it comes back. */
		adapter_file_remove(digest);
		PG_RE_THROW();
	}
	PG_END_TRY();
	store(name, bytes, comment, digest, &adapter, owner);
	engine_request_free(request);
	adapter_unpin();
}

PG_FUNCTION_INFO_V1(sql_adapter_put);

Datum
sql_adapter_put(PG_FUNCTION_ARGS)
{
	char		digest[ADAPTER_DIGEST + 1];
	Datum		name;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	PreventCommandIfReadOnly("dsr1_adapter_put()");
	name = NameGetDatum(PG_GETARG_NAME(0));
	adapter_put(NameStr(*DatumGetName(name)), PointerGetDatum(PG_GETARG_BYTEA_PP(1)),
				PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)), digest);
	PG_RETURN_TEXT_P(cstring_to_text(digest));
}

/* ------------------------------------------------------------------
 *	Dropping
 * ------------------------------------------------------------------
 */

typedef struct Dropped
{
	struct Dropped *next;
	char		digest[ADAPTER_DIGEST + 1];
} Dropped;

static Dropped *dropped = NULL; /* in TopTransactionContext */

/*
 * The file goes with the row.  Should somebody use the same bytes still, in
 * another database or under another name, it comes back for them.
 */
static void
at_end_of_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		for (Dropped *one = dropped; one; one = one->next)
			adapter_file_remove(one->digest);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		dropped = NULL;
}

static void
remove_file_at_commit(const char *digest)
{
	static bool registered = false;
	Dropped    *one = MemoryContextAlloc(TopTransactionContext, sizeof(Dropped));

	if (!registered)
		RegisterXactCallback(at_end_of_transaction, NULL);
	registered = true;
	strlcpy(one->digest, digest, sizeof(one->digest));
	one->next = dropped;
	dropped = one;
}

PG_FUNCTION_INFO_V1(sql_adapter_drop);

Datum
sql_adapter_drop(PG_FUNCTION_ARGS)
{
	const char *name = NameStr(*PG_GETARG_NAME(0));
	Datum		values[2] = {NameGetDatum(PG_GETARG_NAME(0))};
	Oid			owner;

	PreventCommandIfReadOnly("dsr1_adapter_drop()");
	owner = owner_of(name);
	if (!OidIsValid(owner))
		raise_missing(name);
	check_owner(owner, name);
	values[1] = ObjectIdGetDatum(owner);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (job_execute_as_owner("DELETE FROM @.dsr1_adapter WHERE name = $1 AND owner = $2 RETURNING digest",
							 "no", values, NULL) == 0)
		raise_missing(name);
	remove_file_at_commit(job_string(0, 1));
	SPI_finish();
	adapter_unpin();
	PG_RETURN_VOID();
}

/* ------------------------------------------------------------------
 *	Looking
 * ------------------------------------------------------------------
 */

PG_FUNCTION_INFO_V1(sql_adapter_export);

Datum
sql_adapter_export(PG_FUNCTION_ARGS)
{
	const char *name = NameStr(*PG_GETARG_NAME(0));
	StoredAdapter stored;
	bytea	   *bytes;

	if (!adapter_open_stored(&stored, name))
		raise_missing(name);
	check_owner(stored.owner, name);
	bytes = DatumGetByteaPCopy(stored.bytes);
	adapter_close_stored(&stored);
	PG_RETURN_BYTEA_P(bytes);
}

PG_FUNCTION_INFO_V1(sql_adapter_loaded);

/* Looking is no use: what nobody asks with is forgotten nevertheless. */
Datum
sql_adapter_loaded(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(adapter_file_there(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}
