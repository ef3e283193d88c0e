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
#include "engine_error.h"
#include "miscadmin.h"
#include "shared.h"
#include "stat_rows.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define REQUEST_COLUMNS	13
#define USAGE_COLUMNS	11

static int
compare_progress(const void *a, const void *b)
{
	const struct wire_progress *left = a;
	const struct wire_progress *right = b;

	if (left->pid != right->pid)
		return left->pid < right->pid ? -1 : 1;
	return left->request < right->request ? -1 : left->request > right->request;
}

/* The engine's list, by process and request; NULL where no engine is. */
static struct wire_requests *
ask_progress(void)
{
	State		state;
	EngineRequest *request = stat_ask(WIRE_REQUESTS, WIRE_REQUESTS_RESULT, &state);
	struct wire_requests *list = NULL;

	if (request)
	{
		struct wire_frame frame = engine_request_answer(request);

		list = palloc(sizeof(*list));
		if (wire_get_requests_result(&frame, list) < 0)
			engine_answer_broken();
		qsort(list->list, list->n, sizeof(list->list[0]), compare_progress);
		engine_request_free(request);
	}
	return list;
}

static const dsr1_progress *
find_progress(const struct wire_requests *list, const SharedRequest *request)
{
	struct wire_progress key = {.pid = (uint32_t) request->pid, .request = request->request};
	struct wire_progress *found = NULL;

	if (list && request->sent)
		found = bsearch(&key, list->list, list->n, sizeof(key), compare_progress);
	return found ? &found->progress : NULL;
}

/* What was sent and is not in the engine's list is on its way there, or back. */
static const char *
state_name(const SharedRequest *request, const dsr1_progress *progress)
{
	if (request->cancelled)
		return "cancelled";
	if (!request->sent)
		return "waiting";
	switch (progress ? progress->phase : DSR1_PHASE_QUEUED)
	{
		case DSR1_PHASE_PREFILL:
			return "prefill";
		case DSR1_PHASE_DECODE:
			return "decode";
		case DSR1_PHASE_QUEUED:
			break;
	}
	return "queued";
}

PG_FUNCTION_INFO_V1(sql_stat_requests);

Datum
sql_stat_requests(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = stat_rows_begin(fcinfo, REQUEST_COLUMNS);
	Shared	   *block = shared();
	SharedRequest *copy = palloc(block->n_requests * sizeof(SharedRequest));
	struct wire_requests *list = ask_progress();

	LWLockAcquire(&block->lock, LW_SHARED);
	memcpy(copy, block->requests, block->n_requests * sizeof(SharedRequest));
	LWLockRelease(&block->lock);
	for (int i = 0; i < block->n_requests; i++)
	{
		SharedRequest *request = &copy[i];
		const dsr1_progress *progress = find_progress(list, request);
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
		values[6] = CStringGetTextDatum(state_name(request, progress));
		values[7] = Int64GetDatum(request->job);
		nulls[7] = request->job == 0;
		values[8] = TimestampTzGetDatum(request->began);
		values[9] = CStringGetTextDatum(request->adapter);
		nulls[9] = request->adapter[0] == '\0';
		if (progress)
		{
			values[10] = Int32GetDatum(progress->prompt_tokens);
			values[11] = Int32GetDatum(progress->cached_tokens);
			values[12] = Int32GetDatum(progress->completion_tokens);
		}
		nulls[10] = nulls[11] = nulls[12] = progress == NULL;
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
