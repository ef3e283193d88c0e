/*-------------------------------------------------------------------------
 *
 * memo.c
 *	  what a statement has asked the engine already, and the answers
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "memo.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A frame without its id: the type and the payload. */
typedef struct MemoKey
{
	const char *payload;		/* inside the request's frame */
	size_t		size;
	unsigned	type;
} MemoKey;

typedef struct MemoSlot
{
	MemoKey		key;
	MemoEntry  *entry;
} MemoSlot;

static MemoryContext memo_context = NULL;
static HTAB *memo_table = NULL;
static dlist_head unpinned;
static size_t memo_bytes;		/* of frames and answers */
static uint64 generation = 0;
static uint64 pinned_model = 0; /* 0: none yet */

/* ------------------------------------------------------------------
 *	The table
 * ------------------------------------------------------------------
 */

static uint32
hash_key(const void *key, Size keysize)
{
	const MemoKey *k = key;

	return hash_bytes((const unsigned char *) k->payload, (int) k->size) ^ k->type;
}

static int
compare_keys(const void *a, const void *b, Size keysize)
{
	const MemoKey *x = a;
	const MemoKey *y = b;

	if (x->type != y->type || x->size != y->size)
		return 1;
	return memcmp(x->payload, y->payload, x->size);
}

static MemoKey
key_of(const EngineRequest *request)
{
	const unsigned char *header = (const unsigned char *) request->frame.data;

	return (MemoKey)
	{
		.payload = request->frame.data + WIRE_FRAME_HEADER,
		.size = request->frame.size - WIRE_FRAME_HEADER,
		.type = header[4] | header[5] << 8
	};
}

static void
open_memo(void)
{
	HASHCTL		control = {
		.keysize = sizeof(MemoKey),
		.entrysize = sizeof(MemoSlot),
		.hash = hash_key,
		.match = compare_keys
	};
	MemoryContext context;

	if (memo_table != NULL)
		return;
	context = AllocSetContextCreate(TopMemoryContext, "dsr1 memo", ALLOCSET_DEFAULT_SIZES);
	control.hcxt = context;
	memo_table = hash_create("dsr1 memo", 256, &control,
							 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	memo_context = context;
	dlist_init(&unpinned);
	memo_bytes = 0;
}

static size_t
bytes_of(const EngineRequest *request)
{
	return request->frame.capacity + request->answer.capacity + 1024;
}

/* ------------------------------------------------------------------
 *	Entries
 * ------------------------------------------------------------------
 */

static void
free_entry(MemoEntry *entry)
{
	if (entry->request != NULL)
		engine_request_free(entry->request);
	pfree(entry);
}

void
memo_forget(MemoEntry *entry)
{
	MemoKey		key = key_of(entry->request);

	if (entry->forgotten)
		return;
	entry->forgotten = true;
	(void) hash_search(memo_table, &key, HASH_REMOVE, NULL);
	if (entry->counted)
		memo_bytes -= bytes_of(entry->request);
	if (entry->pins > 0)
		return;
	dlist_delete(&entry->node);
	free_entry(entry);
}

static void
pin(MemoEntry *entry)
{
	if (entry->pins++ == 0)
		dlist_delete(&entry->node);
}

/* Old answers make room; what nobody waits for any more is cancelled. */
static void
shrink(void)
{
	while (memo_bytes > (size_t) work_mem * 1024 && !dlist_is_empty(&unpinned))
		memo_forget(dlist_head_element(MemoEntry, node, &unpinned));
}

static void
count_usage(MemoEntry *entry)
{
	struct wire_frame frame = engine_request_answer(entry->request);
	union
	{
		struct wire_done done;
		struct wire_score_result scores;
		struct wire_embed_result embedding;
	}			answer;

	entry->counted = true;
	memo_bytes += bytes_of(entry->request);
	if (frame.type == WIRE_DONE && wire_get_done(&frame, &answer.done) == DSR1_OK)
	{
		entry->usage = answer.done.usage;
		entry->model = answer.done.model;
	}
	else if (frame.type == WIRE_SCORE_RESULT && wire_get_score_result(&frame, &answer.scores) == DSR1_OK)
	{
		entry->usage = answer.scores.usage;
		entry->model = answer.scores.model;
	}
	else if (frame.type == WIRE_EMBED_RESULT && wire_get_embed_result(&frame, &answer.embedding) == DSR1_OK)
	{
		entry->usage = answer.embedding.usage;
		entry->model = answer.embedding.model;
	}
}

void
memo_unpin(MemoEntry *entry)
{
	Assert(entry->pins > 0);
	if (--entry->pins > 0)
		return;
	if (entry->forgotten)
	{
		free_entry(entry);
		return;
	}
	dlist_push_tail(&unpinned, &entry->node);
	if (entry->request->state != REQUEST_ANSWERED)
	{
		memo_forget(entry);
		return;
	}
	if (!entry->counted)
		count_usage(entry);
	shrink();
}

EngineRequest *
memo_request(void)
{
	MemoryContext caller = CurrentMemoryContext;
	EngineRequest *request;

	open_memo();
	MemoryContextSwitchTo(memo_context);
	request = engine_request_new();
	MemoryContextSwitchTo(caller);
	return request;
}

MemoEntry *
memo_ask(EngineRequest *request, Oid function, bool *found)
{
	MemoKey		key = key_of(request);
	MemoEntry  *entry;
	MemoSlot   *slot;

	slot = hash_search(memo_table, &key, HASH_FIND, found);
	if (*found)
	{
		engine_request_free(request);
		pin(slot->entry);
		return slot->entry;
	}
	entry = MemoryContextAllocZero(memo_context, sizeof(MemoEntry));
	entry->request = request;
	entry->function = function;
	entry->asked_at = GetCurrentTimestamp();
	entry->pins = 1;
	slot = hash_search(memo_table, &key, HASH_ENTER, NULL);
	slot->entry = entry;
	return entry;
}

MemoAnswer
memo_look(const MemoEntry *entry)
{
	const EngineRequest *request = entry->request;

	if (request == NULL || request->state == REQUEST_LOST)
		return MEMO_FAILED;
	if (request->state != REQUEST_ANSWERED)
		return MEMO_PENDING;
	return request->answer_type == WIRE_ERROR ? MEMO_FAILED : MEMO_ANSWERED;
}

const EngineRequest *
memo_wait(MemoEntry *entry)
{
	Assert(entry->pins > 0);
	PG_TRY();
	{
		engine_request_finish(entry->request);
	}
	PG_CATCH();
	{
		/* Whoever waits for it too will ask again, if they get there. */
		memo_forget(entry);
		engine_request_free(entry->request);
		entry->request = NULL;
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!entry->counted)
		count_usage(entry);
	return entry->request;
}

/* ------------------------------------------------------------------
 *	All of it
 * ------------------------------------------------------------------
 */

bool
memo_pin_model(uint64 model)
{
	if (pinned_model == 0)
		pinned_model = model;
	return model == 0 || model == pinned_model;
}

uint64
memo_generation(void)
{
	return generation;
}

void
memo_reset(void)
{
	MemoryContext context = memo_context;

	generation++;
	pinned_model = 0;
	if (context == NULL)
		return;
	memo_context = NULL;
	memo_table = NULL;
	MemoryContextDelete(context);
}
