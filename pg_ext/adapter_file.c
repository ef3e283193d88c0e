/*-------------------------------------------------------------------------
 *
 * adapter_file.c
 *	  adapters as files, where the engine reads them
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "access/detoast.h"
#include "adapter_file.h"
#include "common/cryptohash.h"
#include "common/file_perm.h"
#include "common/sha2.h"
#include "compat.h"
#include "miscadmin.h"
#include "storage/fd.h"

#define PIECE		(1024 * 1024)	/* bytes written at once */
#define UNUSED		(24 * 60 * 60)	/* seconds after which a file is no longer kept */

static void
path_of(const char *digest, char *path)
{
	snprintf(path, MAXPGPATH, "%s/%s.gguf", ADAPTER_FOLDER, digest);
}

/* ------------------------------------------------------------------
 *	Reading what is stored
 * ------------------------------------------------------------------
 */

int64
adapter_file_size_of(Datum bytes)
{
	return (int64) toast_raw_datum_size(bytes) - VARHDRSZ;
}

/* Stored as the table says, it can be fetched in pieces; otherwise it is fetched whole. */
static struct varlena *
fetchable(Datum bytes)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(bytes);
	struct varatt_external pointer;

	if (VARATT_IS_EXTERNAL_ONDISK(value))
	{
		VARATT_EXTERNAL_GET_POINTER(pointer, value);
		if (!VARATT_EXTERNAL_IS_COMPRESSED(pointer))
			return value;
	}
	return pg_detoast_datum_packed(value);
}

/* ------------------------------------------------------------------
 *	Writing
 * ------------------------------------------------------------------
 */

static void
make_folder(void)
{
	if (MakePGDirectory(ADAPTER_FOLDER) < 0 && errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", ADAPTER_FOLDER)));
}

static void
write_piece(int fd, const char *path, const char *bytes, size_t size)
{
	while (size > 0)
	{
		ssize_t		n;

		errno = 0;
		n = write(fd, bytes, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			/* if write didn't set errno, assume problem is no disk space */
			if (errno == 0)
				errno = ENOSPC;
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not write file \"%s\": %m", path)));
		}
		bytes += n;
		size -= n;
	}
}

static void
write_all(int fd, const char *path, Datum bytes, pg_cryptohash_ctx *hash)
{
	struct varlena *value = fetchable(bytes);
	int64		size = adapter_file_size_of(PointerGetDatum(value));

	for (int64 at = 0; at < size; at += PIECE)
	{
		int32		n = (int32) Min(PIECE, size - at);
		struct varlena *piece = value;
		const char *data;

		CHECK_FOR_INTERRUPTS();
		if (VARATT_IS_EXTERNAL(value))
			piece = pg_detoast_datum_slice(value, (int32) at, n);
		data = VARDATA_ANY(piece) + (piece == value ? at : 0);
		if (pg_cryptohash_update(hash, (const uint8 *) data, n) < 0)
			elog(ERROR, "could not compute SHA-256");
		write_piece(fd, path, data, n);
		if (piece != value)
			pfree(piece);
	}
}

static void
write_file(const char *path, Datum bytes, char digest[ADAPTER_DIGEST + 1])
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	uint8		sum[PG_SHA256_DIGEST_LENGTH];
	int			fd;

	if (hash == NULL || pg_cryptohash_init(hash) < 0)
		elog(ERROR, "could not compute SHA-256");
	PG_TRY();
	{
		fd = OpenTransientFile(path, O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY);
		if (fd < 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not create file \"%s\": %m", path)));
		write_all(fd, path, bytes, hash);
		if (CloseTransientFile(fd) != 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not close file \"%s\": %m", path)));
		if (pg_cryptohash_final(hash, sum, sizeof(sum)) < 0)
			elog(ERROR, "could not compute SHA-256");
	}
	PG_FINALLY();
	{
		pg_cryptohash_free(hash);
	}
	PG_END_TRY();
	for (int i = 0; i < PG_SHA256_DIGEST_LENGTH; i++)
		sprintf(digest + 2 * i, "%02x", sum[i]);
}

void
adapter_file_write(Datum bytes, const char *expected, char digest[ADAPTER_DIGEST + 1])
{
	char		temporary[MAXPGPATH];
	char		path[MAXPGPATH];

	make_folder();
	snprintf(temporary, sizeof(temporary), "%s/%d.tmp", ADAPTER_FOLDER, MyProcPid);
	PG_TRY();
	{
		write_file(temporary, bytes, digest);
		if (expected && strcmp(expected, digest) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("adapter is damaged"),
					 errdetail("Its bytes have the SHA-256 %s, not %s.", digest, expected)));
		path_of(digest, path);
		/* the engine never sees half a file, nor does a crash leave one */
		if (adapter_file_ready(digest, adapter_file_size_of(bytes)))
			(void) unlink(temporary);
		else
			(void) durable_rename(temporary, path, ERROR);
	}
	PG_CATCH();
	{
		(void) unlink(temporary);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* ------------------------------------------------------------------
 *	Keeping
 * ------------------------------------------------------------------
 */

/*
 * The time of the last access tells how long nobody has wanted it.  That of the
 * last change stays: by it the engine knows that it has this file already.
 */
bool
adapter_file_ready(const char *digest, int64 size)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
	char		path[MAXPGPATH];
	struct stat st;

	path_of(digest, path);
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || (size >= 0 && st.st_size != size))
		return false;
	(void) utimensat(AT_FDCWD, path, times, 0);
	return true;
}

bool
adapter_file_there(const char *digest)
{
	char		path[MAXPGPATH];
	struct stat st;

	path_of(digest, path);
	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

void
adapter_file_remove(const char *digest)
{
	char		path[MAXPGPATH];

	path_of(digest, path);
	if (unlink(path) < 0 && errno != ENOENT)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", path)));
}

void
adapter_file_prune(void)
{
	DIR		   *folder = AllocateDir(ADAPTER_FOLDER);
	struct dirent *entry;
	struct stat st;
	time_t		now = time(NULL);

	if (folder == NULL)
		return;
	while ((entry = ReadDirExtended(folder, ADAPTER_FOLDER, LOG)) != NULL)
	{
		char		path[MAXPGPATH];

		snprintf(path, sizeof(path), "%s/%s", ADAPTER_FOLDER, entry->d_name);
		if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || now - st.st_atime < UNUSED)
			continue;
		if (unlink(path) == 0)
			ereport(DEBUG1, (errmsg_internal("removed adapter file \"%s\"", path)));
	}
	FreeDir(folder);
}

char *
adapter_file_unpath(const char *message, const char *name)
{
	const char *begin = strstr(message, ADAPTER_FOLDER "/");
	const char *end;

	if (begin == NULL)
		return NULL;
	end = begin + strlen(ADAPTER_FOLDER "/");
	if (name == NULL)
		name = psprintf("\"%.12s...\"", end);
	while (*end && *end != ' ' && *end != ':')
		end++;
	return psprintf("%.*s%s%s", (int) (begin - message), message, name, end);
}
