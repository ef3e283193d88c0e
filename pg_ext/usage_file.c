/*-------------------------------------------------------------------------
 *
 * usage_file.c
 *	  what roles have used, kept over restarts
 *
 * A quota that a restart gives back is none.  The supervisor writes the figures
 * when it ends and about once a minute, so that a crash loses a minute at most.
 * The file lies where the server keeps its own statistics.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "pgstat.h"
#include "shared.h"
#include "storage/fd.h"
#include "usage_file.h"
#include "utils/memutils.h"

#define USAGE_FILE	"pg_stat/dsr1.usage"
#define USAGE_MAGIC	0x64737501	/* changes with the struct */

typedef struct Header
{
	uint32		magic;
	uint32		size;			/* of a SharedUsage */
	TimestampTz stats_reset;
} Header;

static SharedUsage *written = NULL; /* as many as the block has */

static bool
read_usages(FILE *file, Shared *block)
{
	Header		header;
	SharedUsage usage;
	int			n = 0;

	if (fread(&header, sizeof(header), 1, file) != 1 ||
		header.magic != USAGE_MAGIC || header.size != sizeof(SharedUsage))
		return false;
	LWLockAcquire(&block->lock, LW_EXCLUSIVE);
	block->stats_reset = header.stats_reset;
	while (n < block->n_usages && fread(&usage, sizeof(usage), 1, file) == 1)
		if (!OidIsValid(block->usages[n].login))
			block->usages[n++] = usage;
		else
			break;				/* somebody was faster: leave it at that */
	LWLockRelease(&block->lock);
	return true;
}

void
usage_file_load(void)
{
	Shared	   *block = shared();
	FILE	   *file;

	if (OidIsValid(block->usages[0].login))
		return;					/* only this supervisor is new */
	file = AllocateFile(USAGE_FILE, PG_BINARY_R);
	if (file == NULL)
		return;
	if (!read_usages(file, block))
		ereport(LOG, (errmsg("file \"%s\" is of another version and is left alone", USAGE_FILE)));
	FreeFile(file);
}

static bool
write_usages(const SharedUsage *usages, int n, TimestampTz stats_reset)
{
	Header		header = {.magic = USAGE_MAGIC, .size = sizeof(SharedUsage), .stats_reset = stats_reset};
	FILE	   *file = AllocateFile(USAGE_FILE ".tmp", PG_BINARY_W);
	bool		good;

	if (file == NULL)
		return false;
	good = fwrite(&header, sizeof(header), 1, file) == 1;
	for (int i = 0; i < n && good; i++)
		if (OidIsValid(usages[i].login))
			good = fwrite(&usages[i], sizeof(SharedUsage), 1, file) == 1;
	if (FreeFile(file) != 0)
		good = false;
	return good && rename(USAGE_FILE ".tmp", USAGE_FILE) == 0;
}

void
usage_file_save(void)
{
	Shared	   *block = shared();
	Size		size = block->n_usages * sizeof(SharedUsage);
	SharedUsage *now = palloc(size);
	TimestampTz stats_reset;

	LWLockAcquire(&block->lock, LW_SHARED);
	memcpy(now, block->usages, size);
	stats_reset = block->stats_reset;
	LWLockRelease(&block->lock);
	if (written == NULL)
		written = MemoryContextAllocZero(TopMemoryContext, size);
	if (memcmp(written, now, size) != 0)
	{
		if (!write_usages(now, block->n_usages, stats_reset))
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not write file \"%s\": %m", USAGE_FILE)));
		memcpy(written, now, size);
	}
	pfree(now);
}
