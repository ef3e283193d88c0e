/*-------------------------------------------------------------------------
 *
 * stat_requests.c
 *	  requests on their way, what roles have used, and dsr1_cancel()
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "admission.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "shared.h"
#include "stat_rows.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define REQUEST_COLUMNS	10
#define USAGE_COLUMNS	11

PG_FUNCTION_INFO_V1(sql_stat_requests);

Datum
sql_stat_requests(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = stat_rows_begin(fcinfo, REQUEST_COLUMNS);
	Shared	   *block = shared();
	SharedRequest *copy = palloc(block->n_requests * sizeof(SharedRequest));

	LWLockAcquire(&block->lock, LW_SHARED);
	memcpy(copy, block->requests, block->n_requests * sizeof(SharedRequest));
	LWLockRelease(&block->lock);
	for (int i = 0; i < block->n_requests; i++)
	{
		SharedRequest *request = &copy[i];
		bool		nulls[REQUEST_COLUMNS] = {false};
		Datum		values[REQUEST_COLUMNS];

		if (request->id == 0)
			continue;
		values[0] = Int64GetDatum((int64) request->id);
		values[1] = Int32GetDatum(request->pid);
		values[2] = ObjectIdGetDatum(request->database);
		values[3] = ObjectIdGetDatum(request->login);
		values[4] = ObjectIdGetDatum(request->role);
		values[5] = CStringGetTextDatum(admission_kind_name(request->kind));
		values[6] = CStringGetTextDatum(request->cancelled ? "cancelled" : request->sent ? "running" : "waiting");
		values[7] = Int64GetDatum(request->job);
		nulls[7] = request->job == 0;
		values[8] = TimestampTzGetDatum(request->began);
		values[9] = CStringGetTextDatum(request->adapter);
		nulls[9] = request->adapter[0] == '\0';
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static bool
may_see(Oid role)
{
	return has_privs_of_role(GetUserId(), role) ||
		has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
}

PG_FUNCTION_INFO_V1(sql_stat_usage);

Datum
sql_stat_usage(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = stat_rows_begin(fcinfo, USAGE_COLUMNS);
	Shared	   *block = shared();
	SharedUsage *copy = palloc(block->n_usages * sizeof(SharedUsage));
	int64		day = GetCurrentTimestamp() / USECS_PER_DAY;

	LWLockAcquire(&block->lock, LW_SHARED);
	memcpy(copy, block->usages, block->n_usages * sizeof(SharedUsage));
	LWLockRelease(&block->lock);
	for (int i = 0; i < block->n_usages; i++)
	{
		SharedUsage *usage = &copy[i];
		bool		nulls[USAGE_COLUMNS] = {false};
		Datum		values[USAGE_COLUMNS];

		if (!OidIsValid(usage->login) || !may_see(usage->login))
			continue;
		values[0] = ObjectIdGetDatum(usage->login);
		values[1] = ObjectIdGetDatum(usage->database);
		values[2] = CStringGetTextDatum(admission_kind_name(usage->kind));
		values[3] = Int64GetDatum(usage->calls);
		values[4] = Int64GetDatum(usage->errors);
		values[5] = Int64GetDatum(usage->prompt_tokens);
		values[6] = Int64GetDatum(usage->cached_tokens);
		values[7] = Int64GetDatum(usage->generated_tokens);
		values[8] = Float8GetDatum(usage->engine_ms);
		values[9] = Int64GetDatum(usage->day == day ? usage->tokens_today : 0);
		values[10] = TimestampTzGetDatum(block->stats_reset);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(sql_stat_reset);

/* What counts towards a quota stays: that is no statistic. */
Datum
sql_stat_reset(PG_FUNCTION_ARGS)
{
	Oid			login = PG_GETARG_OID(0);
	Shared	   *block = shared();

	LWLockAcquire(&block->lock, LW_EXCLUSIVE);
	for (int i = 0; i < block->n_usages; i++)
	{
		SharedUsage *usage = &block->usages[i];

		if (OidIsValid(login) && usage->login != login)
			continue;
		usage->calls = usage->errors = 0;
		usage->prompt_tokens = usage->cached_tokens = usage->generated_tokens = 0;
		usage->engine_ms = 0;
	}
	if (!OidIsValid(login))
		block->stats_reset = GetCurrentTimestamp();
	LWLockRelease(&block->lock);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(sql_cancel);

Datum
sql_cancel(PG_FUNCTION_ARGS)
{
	uint64		id = (uint64) PG_GETARG_INT64(0);
	Shared	   *block = shared();
	bool		found = false;
	bool		denied = false;
	Oid			role = InvalidOid;

	/* the role is looked at without the lock, for that may raise an error */
	LWLockAcquire(&block->lock, LW_SHARED);
	for (int i = 0; i < block->n_requests; i++)
		if (id != 0 && block->requests[i].id == id)
			role = block->requests[i].login;
	LWLockRelease(&block->lock);
	if (OidIsValid(role))
		denied = !has_privs_of_role(GetUserId(), role) &&
			!has_privs_of_role(GetUserId(), ROLE_PG_SIGNAL_BACKEND);
	if (denied)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be a member of the role whose request is being canceled or of pg_signal_backend")));
	LWLockAcquire(&block->lock, LW_EXCLUSIVE);
	for (int i = 0; i < block->n_requests && OidIsValid(role); i++)
		if (block->requests[i].id == id)
		{
			block->requests[i].cancelled = true;
			SetLatch(block->requests[i].latch);
			found = true;
		}
	LWLockRelease(&block->lock);
	PG_RETURN_BOOL(found);
}
