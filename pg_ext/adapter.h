/*-------------------------------------------------------------------------
 *
 * adapter.h
 *	  which adapter a request is answered with
 *
 * A request names an adapter by its digest, so that what it is asked with is
 * settled when it is asked: an adapter that is put under the same name later is
 * another one.  Within a statement a name keeps the digest that it had first.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef ADAPTER_H
#define ADAPTER_H

#include "adapter_file.h"
#include "access/htup.h"
#include "engine_client.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/*
 * In: the adapter's name, or no data for the session's (dsr1.adapter), or ""
 * for none.  Out: its digest, with the file ready for the engine, or "".
 * Raises 42704 if there is none of that name.
 */
extern void adapter_resolve(struct wire_terms *terms);

/* The same by digest; raises 55000 if this database has none with it. */
extern struct wire_text adapter_pinned(const char *digest);

/* The adapter that a request names, or "". */
extern void adapter_of_request(const EngineRequest *request, char digest[ADAPTER_DIGEST + 1]);

/*
 * Was a request refused because the file of its adapter has gone meanwhile?
 * If so, it is there again: ask once more.
 */
extern bool adapter_came_back(const EngineRequest *request);

/* For this session's own changes: names are looked up again. */
extern void adapter_unpin(void);

/* Raises an error of the engine that is about an adapter's file; else returns. */
extern void adapter_raise_unfit(const char *message, const char *name, int sqlstate);

/* Stores an adapter, as dsr1_adapter_put() does. */
extern void adapter_put(const char *name, Datum bytes, const char *comment, char digest[ADAPTER_DIGEST + 1]);

/* Raises 42501 if an adapter of this name belongs to a role that this one is no member of. */
extern void adapter_check_mine(const char *name);

/* A stored one's bytes, as they lie in the table; false: there is none.  Close it in any case. */
typedef struct StoredAdapter
{
	Relation	table;
	Snapshot	snapshot;
	HeapTuple	tuple;
	char		digest[ADAPTER_DIGEST + 1];
	Oid			owner;
	Datum		bytes;
} StoredAdapter;

extern bool adapter_open_stored(StoredAdapter *stored, const char *name);
extern void adapter_close_stored(StoredAdapter *stored);

#endif							/* ADAPTER_H */
