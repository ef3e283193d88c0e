/*-------------------------------------------------------------------------
 *
 * admission.c
 *	  who may ask the engine how much, and who has asked what
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter.h"
#include "compat.h"
#include "admission.h"
#include "engine_error.h"
#include "miscadmin.h"
#include "settings.h"
#include "shared.h"
#include "statement.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

#define TRAINING	0x10000		/* is no message: beyond all of their kinds */

static bool
is_work(int kind)
{
	return kind == WIRE_COMPLETE || kind == WIRE_SCORE || kind == WIRE_EMBED ||
		kind == WIRE_TOKENS || kind == WIRE_DETOKENIZE;
}

const char *
admission_kind_name(int kind)
{
	switch (kind)
	{
		case WIRE_COMPLETE:
			return "complete";
		case WIRE_SCORE:
			return "score";
		case WIRE_EMBED:
			return "embed";
		case WIRE_TOKENS:
			return "tokenize";
		case WIRE_DETOKENIZE:
			return "detokenize";
	}
	return kind == TRAINING ? "train" : "other";
}

static int64
today(void)
{
	return GetCurrentTimestamp() / USECS_PER_DAY;
}

/* ------------------------------------------------------------------
 *	Limits
 * ------------------------------------------------------------------
 */

static int64
tokens_of_today(const Shared *block, Oid login)
{
	int64		day = today();
	int64		tokens = 0;

	for (int i = 0; i < block->n_usages; i++)
		if (block->usages[i].login == login && block->usages[i].day == day)
			tokens += block->usages[i].tokens_today;
	return tokens;
}

static int
requests_of(const Shared *block, Oid login)
{
	int			n = 0;

	for (int i = 0; i < block->n_requests; i++)
		n += block->requests[i].id != 0 && block->requests[i].login == login;
	return n;
}

static void
pg_attribute_noreturn()
raise_over_tokens(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("role \"%s\" has used its tokens of today", GetUserNameFromId(GetSessionUserId(), false)),
			 errdetail("dsr1.max_tokens_per_day is " INT64_FORMAT ".", (int64) setting_max_tokens_per_day),
			 errhint("It starts anew at midnight, UTC.")));
}

void
admission_check_tokens(void)
{
	Shared	   *block = shared();
	bool		over;

	LWLockAcquire(&block->lock, LW_SHARED);
	over = setting_max_tokens_per_day >= 0 && tokens_of_today(block, GetSessionUserId()) >= setting_max_tokens_per_day;
	LWLockRelease(&block->lock);
	if (over)
		raise_over_tokens();
}

static void
pg_attribute_noreturn()
raise_over_requests(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("role \"%s\" has too many requests to the inference engine",
					GetUserNameFromId(GetSessionUserId(), false)),
			 errdetail("dsr1.max_concurrent is %d.", setting_max_concurrent),
			 errhint("Try again when one of them has ended.")));
}

/* ------------------------------------------------------------------
 *	The list
 * ------------------------------------------------------------------
 */

static void
leave_all(int code, Datum arg)
{
	Shared	   *block = shared();

	LWLockAcquire(&block->lock, LW_EXCLUSIVE);
	for (int i = 0; i < block->n_requests; i++)
		if (block->requests[i].pid == MyProcPid)
			memset(&block->requests[i], 0, sizeof(SharedRequest));
	LWLockRelease(&block->lock);
}

static void
list(Shared *block, EngineRequest *request, int kind, const char *adapter)
{
	request->number = ++block->last_request;
	for (int i = 0; i < block->n_requests; i++)
	{
		if (block->requests[i].id != 0)
			continue;
		block->requests[i] = (SharedRequest)
		{
			.id = request->number,
			.pid = MyProcPid,
			.request = request->id,
			.database = MyDatabaseId,
			.login = GetSessionUserId(),
			.role = GetUserId(),
			.latch = MyLatch,
			.kind = kind,
			.job = request->job,
			.bytes = (int64) request->frame.size,
			.began = GetCurrentTimestamp()
		};
		strlcpy(block->requests[i].adapter, adapter, sizeof(block->requests[i].adapter));
		request->place = i;
		return;
	}
	/* no room: it runs unlisted */
}

bool
admission_enter(EngineRequest *request, bool others_on_their_way)
{
	static bool registered = false;
	int			kind = engine_request_kind(request);
	Oid			login = GetSessionUserId();
	Shared	   *block = shared();
	char		adapter[ADAPTER_DIGEST + 1];
	bool		over_tokens;
	bool		over_requests;

	if (request->number != 0 || !is_work(kind))
		return true;
	if (!registered)
		before_shmem_exit(leave_all, (Datum) 0);
	registered = true;
	adapter_of_request(request, adapter);
	request->tracked = setting_track == TRACK_ALL || (setting_track == TRACK_TOP && !statement_is_nested());
	LWLockAcquire(&block->lock, LW_EXCLUSIVE);
	over_tokens = setting_max_tokens_per_day >= 0 && tokens_of_today(block, login) >= setting_max_tokens_per_day;
	over_requests = setting_max_concurrent >= 0 && requests_of(block, login) >= setting_max_concurrent;
	if (!over_tokens && !over_requests)
		list(block, request, kind, adapter);
	LWLockRelease(&block->lock);
	if ((over_tokens || over_requests) && others_on_their_way)
		return false;
	if (over_tokens)
		raise_over_tokens();
	if (over_requests)
		raise_over_requests();
	return true;
}

void
admission_sent(const EngineRequest *request, bool sent)
{
	/* nobody else writes here, and it is no more than a sign */
	if (request->place >= 0)
		shared()->requests[request->place].sent = sent;
}

void
admission_leave(EngineRequest *request)
{
	Shared	   *block;

	if (request->place < 0)
		return;
	block = shared();
	LWLockAcquire(&block->lock, LW_EXCLUSIVE);
	memset(&block->requests[request->place], 0, sizeof(SharedRequest));
	LWLockRelease(&block->lock);
	request->place = -1;
}

bool
admission_is_cancelled(const EngineRequest *request)
{
	return request->place >= 0 && shared()->requests[request->place].cancelled;
}

/* ------------------------------------------------------------------
 *	What was used
 * ------------------------------------------------------------------
 */

static SharedUsage *
usage_of(Shared *block, Oid login, int kind)
{
	SharedUsage *place = NULL;

	for (int i = 0; i < block->n_usages; i++)
	{
		SharedUsage *usage = &block->usages[i];

		if (usage->login == login && usage->database == MyDatabaseId && usage->kind == kind)
			return usage;
		if (place == NULL && !OidIsValid(usage->login))
			place = usage;
	}
	/* the table is full: one that was not used today makes room */
	for (int i = 0; i < block->n_usages && place == NULL; i++)
		if (block->usages[i].day != today())
			place = &block->usages[i];
	if (place)
		*place = (SharedUsage)
		{
			.login = login,
			.database = MyDatabaseId,
			.kind = kind
		};
	return place;
}

/* What is not tracked counts towards the limit all the same. */
static void
count(int kind, const SharedUsage *more, bool tracked)
{
	Shared	   *block = shared();
	int64		day = today();
	SharedUsage *usage;

	LWLockAcquire(&block->lock, LW_EXCLUSIVE);
	usage = usage_of(block, GetSessionUserId(), kind);
	if (usage)
	{
		if (usage->day != day)
			usage->tokens_today = 0;
		usage->day = day;
		usage->tokens_today += more->prompt_tokens + more->generated_tokens;
	}
	if (usage && tracked)
	{
		usage->calls++;
		usage->errors += more->errors;
		usage->prompt_tokens += more->prompt_tokens;
		usage->cached_tokens += more->cached_tokens;
		usage->generated_tokens += more->generated_tokens;
		usage->engine_ms += more->engine_ms;
	}
	LWLockRelease(&block->lock);
}

void
admission_count_training(int64 trained, int64 sampled, double ms)
{
	count(TRAINING, &(SharedUsage) {.prompt_tokens = trained, .generated_tokens = sampled, .engine_ms = ms},
		  setting_track != TRACK_NONE);
}

/* What an answer says about itself; false for an error. */
static bool
read_usage(const struct wire_frame *frame, dsr1_usage *usage)
{
	static struct wire_score_result score;
	static struct wire_embed_result embed;
	struct wire_done done;

	switch (frame->type)
	{
		case WIRE_DONE:
			if (wire_get_done(frame, &done) >= 0)
				*usage = done.usage;
			break;
		case WIRE_SCORE_RESULT:
			if (wire_get_score_result(frame, &score) >= 0)
				*usage = score.usage;
			break;
		case WIRE_EMBED_RESULT:
			if (wire_get_embed_result(frame, &embed) >= 0)
				*usage = embed.usage;
			break;
		case WIRE_ERROR:
			return false;
	}
	return true;
}

static void
log_request(const EngineRequest *request, int kind, const struct wire_frame *frame, const dsr1_usage *usage)
{
	struct wire_error error;

	if (frame->type == WIRE_ERROR && wire_get_error(frame, &error) >= 0)
		ereport(LOG,
				(errmsg("dsr1 request " UINT64_FORMAT " (%s): failed: %s", request->number,
						admission_kind_name(kind), engine_error_clean(error.message)),
				 errhidestmt(true)));
	else
		ereport(LOG,
				(errmsg("dsr1 request " UINT64_FORMAT " (%s): %d prompt tokens (%d cached), %d answer tokens, queue %.1f ms, prefill %.1f ms, decode %.1f ms",
						request->number, admission_kind_name(kind), usage->prompt_tokens,
						usage->cached_tokens, usage->completion_tokens,
						usage->queue_ms, usage->prefill_ms, usage->decode_ms),
				 errhidestmt(true)));
}

void
admission_answered(EngineRequest *request)
{
	struct wire_frame frame = engine_request_answer(request);
	int			kind = engine_request_kind(request);
	dsr1_usage	usage = {0};
	bool		answered;

	if (request->number == 0)
		return;
	answered = read_usage(&frame, &usage);
	count(kind, &(SharedUsage) {.errors = !answered, .prompt_tokens = usage.prompt_tokens,
								.cached_tokens = usage.cached_tokens, .generated_tokens = usage.completion_tokens,
								.engine_ms = usage.prefill_ms + usage.decode_ms}, request->tracked);
	if (setting_log_requests)
		log_request(request, kind, &frame, &usage);
}
