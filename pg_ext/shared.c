/*-------------------------------------------------------------------------
 *
 * shared.c
 *	  what dsr1's processes know of each other
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "shared.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

/* Without preloading, all of it is below 60 kB, of the 100 kB that are spare. */
#define SMALL_USAGES	128
#define SMALL_REQUESTS	160
#define LARGE_USAGES	1024
#define LARGE_REQUESTS	4096

static bool reserved = false;
static Shared *block = NULL;

static Size
size_for(int n_usages, int n_requests)
{
	return MAXALIGN(sizeof(Shared)) +
		MAXALIGN(n_usages * sizeof(SharedUsage)) +
		n_requests * sizeof(SharedRequest);
}

#if PG_VERSION_NUM >= 150000
static shmem_request_hook_type previous_request_hook = NULL;

static void
request_room(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(size_for(LARGE_USAGES, LARGE_REQUESTS));
}
#endif

/* Children inherit by fork that the room is there. */
void
shared_reserve(void)
{
#if PG_VERSION_NUM >= 150000
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_room;
#else
	RequestAddinShmemSpace(size_for(LARGE_USAGES, LARGE_REQUESTS));
#endif
	reserved = true;
}

static void
fill(Shared *made, int n_usages, int n_requests)
{
	memset(made, 0, size_for(n_usages, n_requests));
	LWLockInitialize(&made->lock, LWLockNewTrancheId());
	made->n_usages = n_usages;
	made->n_requests = n_requests;
	made->usages = (SharedUsage *) ((char *) made + MAXALIGN(sizeof(Shared)));
	made->requests = (SharedRequest *)
		((char *) made->usages + MAXALIGN(n_usages * sizeof(SharedUsage)));
	made->stats_reset = GetCurrentTimestamp();
}

Shared *
shared(void)
{
	int			n_usages = reserved ? LARGE_USAGES : SMALL_USAGES;
	int			n_requests = reserved ? LARGE_REQUESTS : SMALL_REQUESTS;
	bool		found;

	if (block)
		return block;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	block = ShmemInitStruct("dsr1", size_for(n_usages, n_requests), &found);
	if (!found)
		fill(block, n_usages, n_requests);
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(block->lock.tranche, "dsr1");
	return block;
}
