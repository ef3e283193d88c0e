/*-------------------------------------------------------------------------
 *
 * grpo_folder.c
 *	  the files of a run of GRPO, below the data directory
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "grpo_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "compat.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#define ALL_FOLDERS	"dsr1_grpo"

char *
grpo_folder_path(int64 job, const char *token)
{
	return psprintf("%s/%u-" INT64_FORMAT "-%s", ALL_FOLDERS, MyDatabaseId, job, token);
}

char *
grpo_folder_token(void)
{
	unsigned char bytes[8];
	char	   *token = palloc(2 * sizeof(bytes) + 1);

	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	for (int i = 0; i < sizeof(bytes); i++)
		sprintf(token + 2 * i, "%02x", bytes[i]);
	return token;
}

static void
make_folder(const char *folder)
{
	if (MakePGDirectory(folder) < 0 && errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", folder)));
}

void
grpo_folder_create(const char *folder)
{
	make_folder(ALL_FOLDERS);
	make_folder(folder);
}

void
grpo_folder_write(const char *folder, const char *name, const char *bytes, size_t size)
{
	char	   *path = psprintf("%s/%s", folder, name);
	int			fd = OpenTransientFile(path, O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY);

	while (fd >= 0 && size > 0)
	{
		ssize_t		n = write(fd, bytes, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		bytes += n;
		size -= n;
	}
	if (fd < 0 || size > 0 || CloseTransientFile(fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", path)));
}

bytea *
grpo_folder_read(const char *folder, const char *name)
{
	char	   *path = psprintf("%s/%s", folder, name);
	int			fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	struct stat st;
	bytea	   *bytes;
	size_t		done = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", path)));
	if (!AllocSizeIsValid(st.st_size + VARHDRSZ))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("file \"%s\" is too large for a value", path)));
	bytes = palloc(st.st_size + VARHDRSZ);
	SET_VARSIZE(bytes, st.st_size + VARHDRSZ);
	while (done < st.st_size)
	{
		ssize_t		n = read(fd, VARDATA(bytes) + done, st.st_size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read file \"%s\": %m", path)));
		done += n;
	}
	CloseTransientFile(fd);
	return bytes;
}

bool
grpo_folder_has(const char *folder, const char *name)
{
	char	   *path = psprintf("%s/%s", folder, name);

	return access(path, F_OK) == 0;
}

void
grpo_folder_unlink(const char *folder, const char *name)
{
	char	   *path = psprintf("%s/%s", folder, name);

	if (unlink(path) < 0 && errno != ENOENT)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", path)));
}

void
grpo_folder_remove(const char *folder)
{
	struct stat st;

	if (stat(folder, &st) == 0 && !rmtree(folder, true))
		ereport(LOG, (errmsg("could not remove directory \"%s\"", folder)));
}

void
grpo_folder_clean(void)
{
	DIR		   *all = AllocateDir(ALL_FOLDERS);
	struct dirent *entry;
	Oid			database;

	/* where no run ever was there is none to read */
	while (all && (entry = ReadDirExtended(all, ALL_FOLDERS, LOG)) != NULL)
		if (sscanf(entry->d_name, "%u-", &database) == 1 &&
			!SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)))
			grpo_folder_remove(psprintf("%s/%s", ALL_FOLDERS, entry->d_name));
	if (all)
		FreeDir(all);
}
