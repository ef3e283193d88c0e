/*-------------------------------------------------------------------------
 *
 * adapter.c
 *	  which adapter a request is answered with
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "adapter.h"
#include "catalog/pg_collation.h"
#include "compat.h"
#include "job_access.h"
#include "memo.h"
#include "settings.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Columns of dsr1_adapter; later ones come behind, whatever a version adds. */
enum
{
	COLUMN_NAME = 1, COLUMN_DIGEST, COLUMN_OWNER, COLUMN_DATA
};

/* ------------------------------------------------------------------
 *	The table
 *
 *	Read directly, for whoever may run the functions may use its adapters, and
 *	without an executor, whose end would empty the memo.
 * ------------------------------------------------------------------
 */

static void
find(StoredAdapter *stored, ScanKey key, const char *index)
{
	Snapshot	snapshot = ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot();
	SysScanDesc scan;
	HeapTuple	tuple;

	stored->table = table_open(job_extension_relation("dsr1_adapter"), AccessShareLock);
	stored->snapshot = RegisterSnapshot(snapshot);
	scan = systable_beginscan(stored->table, index ? job_extension_relation(index) : InvalidOid, index != NULL,
							  stored->snapshot, 1, key);
	tuple = systable_getnext(scan);
	stored->tuple = HeapTupleIsValid(tuple) ? heap_copytuple(tuple) : NULL;
	systable_endscan(scan);
}

static bool
read_stored(StoredAdapter *stored)
{
	TupleDesc	descriptor = RelationGetDescr(stored->table);
	bool		isnull;

	if (stored->tuple == NULL)
		return false;
	strlcpy(stored->digest, TextDatumGetCString(heap_getattr(stored->tuple, COLUMN_DIGEST, descriptor, &isnull)),
			sizeof(stored->digest));
	stored->owner = DatumGetObjectId(heap_getattr(stored->tuple, COLUMN_OWNER, descriptor, &isnull));
	stored->bytes = heap_getattr(stored->tuple, COLUMN_DATA, descriptor, &isnull);
	return true;
}

bool
adapter_open_stored(StoredAdapter *stored, const char *name)
{
	ScanKeyData key;
	NameData	wanted;

	memset(stored, 0, sizeof(*stored));
	if (strlen(name) >= NAMEDATALEN)
		return false;
	namestrcpy(&wanted, name);
	ScanKeyInit(&key, COLUMN_NAME, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&wanted));
	find(stored, &key, "dsr1_adapter_pkey");
	return read_stored(stored);
}

static bool
open_by_digest(StoredAdapter *stored, const char *digest)
{
	ScanKeyData key;

	memset(stored, 0, sizeof(*stored));
	ScanKeyInit(&key, COLUMN_DIGEST, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(digest));
	find(stored, &key, NULL);
	return read_stored(stored);
}

void
adapter_close_stored(StoredAdapter *stored)
{
	if (stored->table == NULL)
		return;
	UnregisterSnapshot(stored->snapshot);
	table_close(stored->table, AccessShareLock);
}

static void
make_ready(const StoredAdapter *stored)
{
	char		digest[ADAPTER_DIGEST + 1];

	if (!adapter_file_ready(stored->digest, adapter_file_size_of(stored->bytes)))
		adapter_file_write(stored->bytes, stored->digest, digest);
}

/* ------------------------------------------------------------------
 *	Names
 * ------------------------------------------------------------------
 */

typedef struct Pin
{
	char		name[NAMEDATALEN];
	char		digest[ADAPTER_DIGEST + 1];
} Pin;

static Pin *pins = NULL;		/* of this statement */
static int	n_pins = 0;
static int	pins_room = 0;
static uint64 pins_generation;

void
adapter_unpin(void)
{
	n_pins = 0;
}

static const char *
pinned_digest(const char *name)
{
	if (pins_generation != memo_generation())
		n_pins = 0;
	pins_generation = memo_generation();
	for (int i = 0; i < n_pins; i++)
		if (strcmp(pins[i].name, name) == 0)
			return pins[i].digest;
	return NULL;
}

static void
pin_digest(const char *name, const char *digest)
{
	if (n_pins == pins_room)
	{
		int			room = pins_room ? 2 * pins_room : 8;

		pins = pins ? repalloc(pins, room * sizeof(Pin)) : MemoryContextAlloc(TopMemoryContext, room * sizeof(Pin));
		pins_room = room;
	}
	strlcpy(pins[n_pins].name, name, NAMEDATALEN);
	strlcpy(pins[n_pins].digest, digest, sizeof(pins[n_pins].digest));
	n_pins++;
}

static char *
digest_of(const char *name)
{
	const char *pinned = pinned_digest(name);
	StoredAdapter stored;

	if (pinned)
		return pstrdup(pinned);
	if (!adapter_open_stored(&stored, name))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("adapter \"%s\" does not exist", name),
				 errhint("dsr1_adapters lists those of this database; dsr1_adapter_put() stores one.")));
	make_ready(&stored);
	adapter_close_stored(&stored);
	pin_digest(name, stored.digest);
	return pstrdup(stored.digest);
}

void
adapter_resolve(struct wire_terms *terms)
{
	char	   *name = terms->adapter.data ? pnstrdup(terms->adapter.data, terms->adapter.size) : setting_adapter;

	terms->adapter = wire_text(name[0] ? digest_of(name) : "");
}

struct wire_text
adapter_pinned(const char *digest)
{
	StoredAdapter stored;

	if (!open_by_digest(&stored, digest))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the adapter asked for is not in this database any more"),
				 errdetail("Its digest is %s.", digest),
				 errhint("Another one may have been put under its name.")));
	make_ready(&stored);
	adapter_close_stored(&stored);
	return wire_text(pstrdup(digest));
}

/* ------------------------------------------------------------------
 *	Requests
 * ------------------------------------------------------------------
 */

void
adapter_of_request(const EngineRequest *request, char digest[ADAPTER_DIGEST + 1])
{
	const unsigned char *header = (const unsigned char *) request->frame.data;
	struct wire_frame frame;
	struct wire_terms terms;

	digest[0] = '\0';
	if (request->frame.size < WIRE_FRAME_HEADER)
		return;
	/* as core/wire/wire_frame.h has it: little-endian, behind the size */
	frame = (struct wire_frame)
	{
		.type = header[4] | header[5] << 8,
		.payload = request->frame.data + WIRE_FRAME_HEADER,
		.size = request->frame.size - WIRE_FRAME_HEADER
	};
	if (wire_get_terms(&frame, &terms) == DSR1_OK && terms.adapter.size == ADAPTER_DIGEST)
	{
		memcpy(digest, terms.adapter.data, ADAPTER_DIGEST);
		digest[ADAPTER_DIGEST] = '\0';
	}
}

bool
adapter_came_back(const EngineRequest *request)
{
	struct wire_frame answer = engine_request_answer(request);
	struct wire_error error;
	char		digest[ADAPTER_DIGEST + 1];

	if (answer.type != WIRE_ERROR || wire_get_error(&answer, &error) < 0 ||
		(error.status != DSR1_ERR_ARGUMENT && error.status != DSR1_ERR_IO))
		return false;
	adapter_of_request(request, digest);
	if (digest[0] == '\0' || adapter_file_ready(digest, -1))
		return false;
	(void) adapter_pinned(digest);
	return true;
}

void
adapter_raise_unfit(const char *message, const char *name, int sqlstate)
{
	char	   *reason = adapter_file_unpath(message, name);

	if (reason)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("the model that is served cannot use this adapter"),
				 errdetail("%s.", reason),
				 errhint("An adapter is a GGUF file with a LoRA that was trained on this model; see dsr1_adapters and dsr1_models.")));
}
